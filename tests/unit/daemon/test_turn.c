/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/instance/turn.h"

#include <errno.h>

#include "base/text.h"
#include "test.h"

#define SOON_NS (20 * NS_PER_MS)

/* An instance that is nothing but held or not. */
struct bench {
	struct loop *loop;
	struct service service;
	struct instance instance;
	char name[3];
	struct text said; /* "a b": whose turns came, in their order */
	struct error error;
	int code;
};

struct waiter {
	struct bench *bench;
	const char *name;
	bool claims;
};

static void bench_begin(struct bench *bench)
{
	*bench = (struct bench){ .name = "c1" };
	expect_equal(loop_new(&bench->loop, NULL), 0);
	bench->service.loop = bench->loop;
	bench->instance.service = &bench->service;
	bench->instance.name = bench->name;
}

static void bench_end(struct bench *bench)
{
	expect(bench->instance.first_turn == NULL);
	text_done(&bench->said);
	loop_free(bench->loop);
}

static void my_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	struct waiter *waiter = data;
	struct bench *bench = waiter->bench;
	text_printf(&bench->said, "%s%s", bench->said.length ? " " : "", waiter->name);
	bench->code = code;
	if (code < 0) {
		expect(instance == NULL);
		bench->error = *e;
		return;
	}
	expect(instance == &bench->instance);
	if (waiter->claims)
		expect_equal(instance_claim(instance, waiter->name, NULL), 0);
}

static struct turn *waits(struct waiter *waiter, uint64_t limit_ns, bool is_alone)
{
	return turn_wait(&waiter->bench->instance,
		&(struct turn_options){ limit_ns, is_alone, my_turn, waiter });
}

/* All that is due now. */
static void steps(struct bench *bench)
{
	for (int i = 0; i < 8; i++)
		expect(loop_step(bench->loop, 0) >= 0);
}

static void first_come_first_served(void)
{
	struct bench bench;
	bench_begin(&bench);
	struct waiter a = { &bench, "a", true }, b = { &bench, "b", true }, c = { &bench, "c" },
		      d = { &bench, "d" };
	expect(!turn_is_needed(&bench.instance));
	expect_equal(instance_claim(&bench.instance, "copying", NULL), 0);
	waits(&a, TURN_LIMIT_NS, false);
	waits(&b, 0, false);
	waits(&c, 0, false);
	waits(&d, 0, false);
	steps(&bench);
	expect_text(text_str(&bench.said), "");
	instance_release(&bench.instance);
	expect_text(text_str(&bench.said), ""); /* not within the release */
	steps(&bench);
	expect_text(text_str(&bench.said), "a");
	instance_release(&bench.instance);
	steps(&bench);
	expect_text(text_str(&bench.said), "a b");
	instance_release(&bench.instance);
	steps(&bench);
	expect_text(text_str(&bench.said), "a b c d"); /* who claims nothing holds up nobody */
	bench_end(&bench);
}

static void who_releases_may_claim_again(void)
{
	struct bench bench;
	bench_begin(&bench);
	struct waiter a = { &bench, "a", false };
	expect_equal(instance_claim(&bench.instance, "stopping", NULL), 0);
	waits(&a, 0, false);
	instance_release(&bench.instance);
	expect(turn_is_needed(&bench.instance)); /* a newcomer is not before it */
	expect_equal(instance_claim(&bench.instance, "starting", NULL), 0);
	steps(&bench);
	expect_text(text_str(&bench.said), "");
	instance_release(&bench.instance);
	steps(&bench);
	expect_text(text_str(&bench.said), "a");
	bench_end(&bench);
}

static void there_is_a_limit(void)
{
	struct bench bench;
	bench_begin(&bench);
	struct waiter a = { &bench, "a", false }, b = { &bench, "b", false };
	expect_equal(instance_claim(&bench.instance, "exporting", NULL), 0);
	waits(&a, 0, false);
	waits(&b, SOON_NS, false);
	while (!bench.said.length)
		expect(loop_step(bench.loop, NS_PER_SEC) >= 0);
	expect_text(text_str(&bench.said), "b");
	expect_equal(bench.code, -EBUSY);
	expect_text(bench.error.text, "Instance \"c1\" is still busy exporting after 0 seconds");
	instance_release(&bench.instance);
	steps(&bench);
	expect_text(text_str(&bench.said), "b a");
	bench_end(&bench);
}

static void who_leaves_holds_up_nobody(void)
{
	struct bench bench;
	bench_begin(&bench);
	struct waiter a = { &bench, "a", false }, b = { &bench, "b", false };
	expect_equal(instance_claim(&bench.instance, "lending its files", NULL), 0);
	struct turn *first = waits(&a, 0, false);
	waits(&b, 0, false);
	expect(turn_is_waiting(&bench.instance, my_turn));
	instance_release(&bench.instance);
	turn_leave(first);
	turn_leave(NULL);
	steps(&bench);
	expect_text(text_str(&bench.said), "b");
	expect(!turn_is_waiting(&bench.instance, my_turn));
	bench_end(&bench);
}

static void one_waits_for_exports(void)
{
	struct bench bench;
	bench_begin(&bench);
	struct waiter a = { &bench, "a", false };
	bench.instance.exports = 2;
	waits(&a, 0, true);
	steps(&bench);
	instance_export_ended(&bench.instance);
	steps(&bench);
	expect_text(text_str(&bench.said), "");
	instance_export_ended(&bench.instance);
	steps(&bench);
	expect_text(text_str(&bench.said), "a");
	bench_end(&bench);
}

static void a_removed_instance_has_no_turns(void)
{
	struct bench bench;
	bench_begin(&bench);
	struct waiter a = { &bench, "a", false }, b = { &bench, "b", false };
	expect_equal(instance_claim(&bench.instance, "deleting", NULL), 0);
	waits(&a, 0, false);
	struct turn *second = waits(&b, TURN_LIMIT_NS, false);
	turns_gone(&bench.instance);
	turn_leave(second);
	steps(&bench);
	expect_text(text_str(&bench.said), "a");
	expect_equal(bench.code, -ENOENT);
	bench_end(&bench);
}

static const struct test tests[] = {
	{ "first come, first served", first_come_first_served },
	{ "who releases may claim again before the next", who_releases_may_claim_again },
	{ "there is a limit, and a sentence", there_is_a_limit },
	{ "who leaves the queue holds up nobody", who_leaves_holds_up_nobody },
	{ "one may wait for exports too", one_waits_for_exports },
	{ "a removed instance has no turns", a_removed_instance_has_no_turns },
};
TEST_MAIN(tests)
