/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/reclaim.h"

#include "test.h"

/* A guest of 1 GiB that uses 100 MiB, and a monitor that looks at it. */
struct scene {
	struct reclaim reclaim;
	struct reclaim_view view;
	uint32_t asks, takes, ends;
	bool is_silent;
	uint64_t per_ask_free; /* what is free the next time */
};

static struct scene scene_new(void)
{
	return (struct scene){
		.view = {
			.now_ns = NS_PER_SEC,
			.resident_bytes = 100 * MIB,
			.memory_bytes = 1024 * MIB,
			.free_bytes = 924 * MIB,
			.total_bytes = 1000 * MIB,
			.can_hint = true,
		},
		.per_ask_free = 924 * MIB,
	};
}

/* Looks once; the guest has used `cpu_ns` before. */
static enum reclaim_action look(struct scene *scene, uint64_t cpu_ns)
{
	struct reclaim_view *view = &scene->view;
	view->cpu_ns += cpu_ns;
	struct reclaim_step step = reclaim_look(&scene->reclaim, view);
	view->now_ns += step.after_ns;
	if (step.action == RECLAIM_ASK) {
		scene->asks++;
		view->free_bytes = scene->per_ask_free;
		view->answers += !scene->is_silent;
	}
	scene->takes += step.action == RECLAIM_TAKE;
	scene->ends += step.action == RECLAIM_END;
	if (step.action == RECLAIM_TAKE)
		view->is_hinting = true;
	if (step.action == RECLAIM_END)
		view->is_hinting = false;
	return step.action;
}

static void until(struct scene *scene, enum reclaim_action action, uint64_t cpu_ns)
{
	for (int i = 0; look(scene, cpu_ns) != action; i++)
		expect(i < 100);
}

static void leaves_an_idle_guest_alone(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 900 * MIB;
	until(&scene, RECLAIM_REST, 100000);
	expect_equal(scene.asks, 0);
}

static void takes_what_was_freed_within_half_a_second(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 300 * MIB;
	uint64_t began = scene.view.now_ns;
	expect_equal(look(&scene, 50000000), RECLAIM_ASK);
	until(&scene, RECLAIM_TAKE, 0);
	expect(scene.view.now_ns - began < 500 * NS_PER_MS);
	expect_equal(scene.asks, 2);
	for (int i = 0; i < 10; i++) {
		expect_equal(look(&scene, 0), RECLAIM_NOTHING);
		scene.view.resident_bytes -= 20 * MIB;
		scene.view.hinted_bytes += 20 * MIB;
	}
	expect_equal(look(&scene, 0), RECLAIM_END);
	until(&scene, RECLAIM_REST, 0);
	expect_equal(scene.takes, 1);
}

static void waits_while_more_is_being_freed(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 500 * MIB;
	scene.per_ask_free = 624 * MIB;
	for (int i = 0; i < 10; i++) {
		until(&scene, RECLAIM_ASK, 10000000);
		scene.per_ask_free += 20 * MIB;
	}
	expect_equal(scene.takes, 0);
	until(&scene, RECLAIM_TAKE, 10000000);
}

static void little_is_left_to_the_guest(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 115 * MIB;
	for (int i = 0; i < 40; i++)
		look(&scene, 10000000);
	expect(scene.asks > 0);
	expect_equal(scene.takes, 0);
}

static void a_guest_that_is_short_keeps_its_pages(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 1024 * MIB;
	scene.per_ask_free = 130 * MIB; /* an eighth stays, and 16 MiB */
	for (int i = 0; i < 40; i++)
		look(&scene, 10000000);
	expect_equal(scene.takes, 0);
	scene.per_ask_free = 200 * MIB;
	until(&scene, RECLAIM_TAKE, 10000000);
	scene.view.hinted_bytes = 75 * MIB;
	expect_equal(look(&scene, 0), RECLAIM_END);
}

static void hints_cost_a_tenth_at_most(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 300 * MIB;
	until(&scene, RECLAIM_TAKE, 10000000);
	scene.view.resident_bytes = 100 * MIB;
	expect_equal(look(&scene, 100 * NS_PER_MS), RECLAIM_END);
	until(&scene, RECLAIM_ASK, 0);
	look(&scene, 0);
	uint64_t end = scene.view.now_ns + 900 * NS_PER_MS;
	scene.view.resident_bytes = 300 * MIB;
	while (scene.view.now_ns < end)
		expect(look(&scene, 10000000) != RECLAIM_ASK);
	until(&scene, RECLAIM_TAKE, 10000000);
}

static void what_stays_is_not_asked_for_again(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 300 * MIB;
	until(&scene, RECLAIM_TAKE, 10000000);
	scene.view.is_hinting = false; /* it has no more whole blocks */
	expect_equal(look(&scene, 0), RECLAIM_END);
	for (int i = 0; i < 40; i++)
		look(&scene, 10000000);
	expect_equal(scene.takes, 1);
	scene.view.resident_bytes = 330 * MIB;
	until(&scene, RECLAIM_TAKE, 10000000);
}

static void a_guest_that_does_not_answer_is_asked_seldom(void)
{
	struct scene scene = scene_new();
	scene.is_silent = true;
	scene.view.resident_bytes = 300 * MIB;
	uint64_t end = scene.view.now_ns + 10 * NS_PER_SEC;
	while (scene.view.now_ns < end)
		look(&scene, 10000000);
	expect(scene.asks <= 4);
	scene = scene_new();
	scene.view.can_hint = false;
	until(&scene, RECLAIM_REST, 10000000);
	expect_equal(scene.asks, 0);
}

static void hints_that_do_not_come_end(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 300 * MIB;
	until(&scene, RECLAIM_TAKE, 10000000);
	uint64_t began = scene.view.now_ns;
	until(&scene, RECLAIM_END, 0);
	expect(scene.view.now_ns - began < 1300 * NS_PER_MS);
}

static void numbers_that_cannot_be_are_no_memory(void)
{
	struct scene scene = scene_new();
	scene.view.resident_bytes = 300 * MIB;
	scene.per_ask_free = UINT64_MAX;
	scene.view.held_bytes = 2048 * MIB;
	for (int i = 0; i < 40; i++)
		look(&scene, 10000000);
	expect_equal(scene.takes, 0);
}

static const struct test tests[] = {
	{ "a guest that does nothing is not asked", leaves_an_idle_guest_alone },
	{ "what was freed is asked for within half a second, until it is gone",
		takes_what_was_freed_within_half_a_second },
	{ "while more is being freed, it waits", waits_while_more_is_being_freed },
	{ "less than 16 MiB waits for the guest's own report", little_is_left_to_the_guest },
	{ "an eighth of the guest stays free", a_guest_that_is_short_keeps_its_pages },
	{ "hints cost a tenth of the time at most", hints_cost_a_tenth_at_most },
	{ "what hints could not have is not asked for again", what_stays_is_not_asked_for_again },
	{ "a guest that does not answer is asked seldom, one without hints never",
		a_guest_that_does_not_answer_is_asked_seldom },
	{ "hints that do not come end after a second", hints_that_do_not_come_end },
	{ "numbers that cannot be are no memory", numbers_that_cannot_be_are_no_memory },
};
TEST_MAIN(tests)
