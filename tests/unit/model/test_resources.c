/* SPDX-License-Identifier: Apache-2.0 */
#include "model/resources.h"

#include <errno.h>

#include "test.h"

static void counts_of_cpus(void)
{
	static const struct {
		const char *text;
		uint64_t milli;
	} cases[] = { { "1", 1000 }, { "2", 2000 }, { "0.5", 500 }, { "1.25", 1250 },
		{ "0.001", 1 }, { "1024", 1024000 } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_limit limit;
		expect_equal(resources_read_cpus(cases[i].text, &limit, NULL), 0);
		expect_equal(limit.milli, cases[i].milli);
		expect_equal(cpu_set_mask_count(&limit.set), 0);
	}
}

static void sets_of_cpus(void)
{
	static const char *const cases[][2] = { { "0-0", "0" }, { "0-3", "0-3" }, { "1,3", "1,3" },
		{ "3,1,2", "1-3" }, { "63-65,1023", "63-65,1023" }, { "0,0", "0" } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_limit limit;
		expect_equal(resources_read_cpus(cases[i][0], &limit, NULL), 0);
		expect_equal(limit.milli, 0);
		cleanup(free) char *text = cpu_set_mask_text(&limit.set);
		expect_text(text, cases[i][1]);
	}
}

static void refuses_other_cpus(void)
{
	static const char *const cases[] = { "", "0", "0.0", "-1", "1-", "2-1", "a", "1,", ",1",
		"1.2345", "1.", ".5", " 1", "1 ", "1025", "0-1024", "1-2-3", "+1",
		"99999999999999999999999", "1.5,2" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cpu_limit limit;
		struct error e = {};
		expect_equal(resources_read_cpus(cases[i], &limit, &e), -EINVAL);
		expect(e.text[0] != '\0');
	}
}

static void empty_set_is_empty_text(void)
{
	struct cpu_set_mask set = {};
	cleanup(free) char *text = cpu_set_mask_text(&set);
	expect_text(text, "");
	expect(!cpu_set_mask_has(&set, RESOURCES_CPUS_MAX));
}

static void allowances(void)
{
	struct cpu_allowance allowance;
	expect_equal(resources_read_allowance("50%", &allowance, NULL), 0);
	expect_equal(allowance.percent, 50);
	expect_equal(allowance.quota_us, 0);
	expect_equal(resources_read_allowance("25ms/100ms", &allowance, NULL), 0);
	expect_equal(allowance.percent, 0);
	expect_equal(allowance.quota_us, 25000);
	expect_equal(allowance.period_us, 100000);
	static const char *const wrong[] = { "", "0%", "101%", "50", "25ms", "25ms/", "/100ms",
		"0ms/100ms", "25ms/1001ms", "25s/100ms", "%", "-1%" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_equal(resources_read_allowance(wrong[i], &allowance, NULL), -EINVAL);
}

static void memory(void)
{
	uint64_t bytes;
	expect_equal(resources_read_memory("1GiB", 0, &bytes, NULL), 0);
	expect_equal(bytes, GIB);
	expect_equal(resources_read_memory("50%", 8 * GIB, &bytes, NULL), 0);
	expect_equal(bytes, 8 * GIB / 100 * 50);
	expect_equal(resources_read_memory("512MB", 0, &bytes, NULL), 0);
	expect_equal(bytes, 512000000);
	static const char *const wrong[] = { "", "0", "0%", "101%", "-1", "1XiB", "GiB", "5%%",
		"50%", "99999999999EB" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error e = {};
		expect_equal(resources_read_memory(wrong[i], 0, &bytes, &e), -EINVAL);
		expect(e.text[0] != '\0');
	}
}

static void disk_rates(void)
{
	struct disk_rate rate;
	expect_equal(resources_read_disk_rate("10MiB", &rate, NULL), 0);
	expect_equal(rate.bytes, 10 * MIB);
	expect_equal(rate.operations, 0);
	expect_equal(resources_read_disk_rate("200iops", &rate, NULL), 0);
	expect_equal(rate.bytes, 0);
	expect_equal(rate.operations, 200);
	static const char *const wrong[] = { "", "0", "0iops", "iops", "-1iops", "10MiB/s", "x" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		expect_equal(resources_read_disk_rate(wrong[i], &rate, NULL), -EINVAL);
}

static void booleans(void)
{
	static const char *const yes[] = { "true", "TRUE", "1", "yes", "on" };
	static const char *const no[] = { "false", "0", "no", "off", "", "False" };
	bool is;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		expect_equal(resources_read_bool(yes[i], &is, NULL), 0);
		expect(is);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
		expect_equal(resources_read_bool(no[i], &is, NULL), 0);
		expect(!is);
	}
	expect_equal(resources_read_bool("maybe", &is, NULL), -EINVAL);
	expect_equal(resources_read_bool("true ", &is, NULL), -EINVAL);
}

static const struct test tests[] = {
	{ "a count of CPUs is read in thousandths", counts_of_cpus },
	{ "a set of CPUs is read and written as the kernel does", sets_of_cpus },
	{ "what is neither a count nor a set is refused", refuses_other_cpus },
	{ "an empty set is an empty text", empty_set_is_empty_text },
	{ "an allowance is a percentage or a quota", allowances },
	{ "memory is bytes or a part of the host's", memory },
	{ "a disk's rate is bytes or operations", disk_rates },
	{ "booleans are what LXD takes", booleans },
};
TEST_MAIN(tests)
