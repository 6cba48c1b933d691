/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ledger.h"

#include <errno.h>

#include "test.h"

static struct ledger two_cpus(void)
{
	struct cpu_set_mask cpus = {};
	cpu_set_mask_add(&cpus, 0);
	cpu_set_mask_add(&cpus, 1);
	struct ledger ledger;
	ledger_init(&ledger, &cpus, 4 * GIB);
	return ledger;
}

static void promises_until_it_is_full(void)
{
	struct ledger ledger = two_cpus();
	ledger.ratios.cpu_percent = 200;
	struct resources one = { .cpu_milli = 1000, .memory_bytes = GIB };
	for (int i = 0; i < 4; i++)
		expect_equal(ledger_reserve(&ledger, &one, NULL), 0);
	struct error e = {};
	expect_equal(ledger_reserve(&ledger, &one, &e), -EBUSY);
	expect_contains(e.text, "config.limits.cpu: ");
	struct resources memory = { .memory_bytes = 1 };
	e = (struct error){};
	expect_equal(ledger_reserve(&ledger, &memory, &e), -EBUSY);
	expect_contains(e.text, "config.limits.memory: ");
	expect_contains(e.text, "1.00:1");
	ledger_release(&ledger, &one);
	expect_equal(ledger_reserve(&ledger, &memory, NULL), 0);
	struct resources nothing = {};
	expect_equal(ledger_reserve(&ledger, &nothing, NULL), 0);
}

static void refuses_more_than_the_host(void)
{
	struct ledger ledger = two_cpus();
	struct resources cpus = { .cpu_milli = 2001 };
	struct resources memory = { .memory_bytes = 4 * GIB + 1 };
	struct error e = {};
	expect_equal(ledger_check(&ledger, &cpus, &e), -EBUSY);
	expect_contains(e.text, "2.001 CPUs were asked for, the host has 2");
	expect_equal(ledger_check(&ledger, &memory, &e), -EBUSY);
	expect_equal(ledger_reserve(&ledger, &memory, &e), -EBUSY);
	expect_equal(ledger.promised_memory_bytes, 0);
}

static void a_lowered_ratio_refuses_more(void)
{
	struct ledger ledger = two_cpus();
	struct resources two = { .cpu_milli = 2000, .memory_bytes = 2 * GIB };
	expect_equal(ledger_reserve(&ledger, &two, NULL), 0);
	ledger.ratios.cpu_percent = 50;
	struct resources more = { .cpu_milli = 1 };
	expect_equal(ledger_reserve(&ledger, &more, NULL), -EBUSY);
	ledger.ratios.memory_percent = 10;
	struct resources memory = { .memory_bytes = 1 };
	expect_equal(ledger_reserve(&ledger, &memory, NULL), -EBUSY);
}

static void pools(void)
{
	struct ledger ledger = two_cpus();
	struct error e = {};
	ledger_set_pool(&ledger, "a", 10 * GIB);
	expect_equal(ledger_reserve_storage(&ledger, "a", 10 * GIB, NULL), 0);
	expect_equal(ledger_reserve_storage(&ledger, "a", 10 * GIB, NULL), 0);
	expect_equal(ledger_reserve_storage(&ledger, "a", 1, &e), -EBUSY);
	expect_contains(e.text, "storage pool a");
	expect_equal(ledger_reserve_storage(&ledger, "a", 0, NULL), 0);
	ledger_release_storage(&ledger, "a", 10 * GIB);
	expect_equal(ledger_reserve_storage(&ledger, "a", 11 * GIB, NULL), -EBUSY);
	expect_equal(ledger_reserve_storage(&ledger, "unknown", 100 * GIB, NULL), 0);
	ledger_done(&ledger);
}

static void spreads_over_cpus(void)
{
	struct ledger ledger = two_cpus();
	struct cpu_limit one = { .milli = 500 }, both = { .milli = 2000 }, none = {};
	struct cpu_set_mask a, b, all;
	expect_equal(ledger_take_cpus(&ledger, &one, &a, NULL), 0);
	expect_equal(ledger_take_cpus(&ledger, &one, &b, NULL), 0);
	expect_equal(cpu_set_mask_count(&a), 1);
	expect_equal(cpu_set_mask_count(&b), 1);
	expect(cpu_set_mask_has(&a, 0) && cpu_set_mask_has(&b, 1));
	expect_equal(ledger_take_cpus(&ledger, &both, &all, NULL), 0);
	expect_equal(cpu_set_mask_count(&all), 0);
	expect_equal(ledger_take_cpus(&ledger, &none, &all, NULL), 0);
	expect_equal(cpu_set_mask_count(&all), 0);
	ledger_release_cpus(&ledger, &a);
	expect_equal(ledger.uses[0], 0);
	expect_equal(ledger.uses[1], 1);
}

static void a_set_must_be_there(void)
{
	struct ledger ledger = two_cpus();
	struct cpu_limit limit;
	struct cpu_set_mask got;
	struct error e = {};
	expect_equal(resources_read_cpus("1-1", &limit, NULL), 0);
	expect_equal(ledger_take_cpus(&ledger, &limit, &got, NULL), 0);
	expect(cpu_set_mask_has(&got, 1) && !cpu_set_mask_has(&got, 0));
	expect_equal(resources_read_cpus("0-2", &limit, NULL), 0);
	expect_equal(ledger_take_cpus(&ledger, &limit, &got, &e), -EBUSY);
	expect_contains(e.text, "no CPU 2");
}

static void ratios(void)
{
	static const struct {
		const char *text;
		uint32_t percent;
	} good[] = { { "4", 400 }, { "4:1", 400 }, { "1.5", 150 }, { "0.25:1", 25 },
		{ "1000", 100000 } };
	static const char *const bad[] = { "", "0", "0.00", "4:2", "x", "1.", "1.234", "-1", "1001",
		"4:1:1", ":1" };
	uint32_t percent;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		expect_equal(ledger_read_ratio(good[i].text, &percent, NULL), 0);
		expect_equal(percent, good[i].percent);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_equal(ledger_read_ratio(bad[i], &percent, NULL), -EINVAL);
}

static const struct test tests[] = {
	{ "CPUs and memory are promised until none are free", promises_until_it_is_full },
	{ "more than the host has is refused at once", refuses_more_than_the_host },
	{ "a lowered ratio refuses what comes after", a_lowered_ratio_refuses_more },
	{ "storage is promised by pool", pools },
	{ "instances are spread over the CPUs", spreads_over_cpus },
	{ "a set of CPUs must be there", a_set_must_be_there },
	{ "ratios are read strictly", ratios },
};
TEST_MAIN(tests)
