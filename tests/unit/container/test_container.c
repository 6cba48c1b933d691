/* SPDX-License-Identifier: Apache-2.0 */
#include "container/container.h"

#include <signal.h>
#include <sys/resource.h>

#include "container/caps.h"
#include "test.h"

static void knows_signals(void)
{
	expect_equal(container_signal_number("TERM"), SIGTERM);
	expect_equal(container_signal_number("SIGKILL"), SIGKILL);
	expect_equal(container_signal_number("sigusr1"), SIGUSR1);
	expect_equal(container_signal_number("15"), 15);
	expect_equal(container_signal_number("SIGRTMIN+3"), SIGRTMIN + 3);
	expect_equal(container_signal_number("RTMAX-1"), SIGRTMAX - 1);
	expect_equal(container_signal_number("RTMIN"), SIGRTMIN);
	static const char *const bad[] = { "", "0", "65", "-9", "9 ", "SIG", "NOSUCH", "RTMIN+31",
		"RTMIN-1", "RTMIN+x" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_equal(container_signal_number(bad[i]), -1);
}

static void knows_limits_and_capabilities(void)
{
	expect_equal(container_limit_number("nofile"), RLIMIT_NOFILE);
	expect_equal(container_limit_number("RLIMIT_CORE"), RLIMIT_CORE);
	expect_equal(container_limit_number("files"), -1);
	expect_equal(caps_bit("CAP_CHOWN"), 1);
	expect_equal(caps_bit("sys_admin"), 1 << 21);
	expect_equal(caps_bit("CAP_"), 0);
	expect_text(caps_name(21), "CAP_SYS_ADMIN");
	expect(!(caps_application & caps_bit("SYS_ADMIN")));
	expect(!(caps_system & caps_bit("SYS_MODULE")));
}

static void gives_no_inheritable_capability(void)
{
	struct container_caps caps = caps_sets(CAP_ALL);
	expect_equal(caps.inheritable, 0);
	expect_equal(caps.ambient, 0);
}

static void maps_ids(void)
{
	static const struct id_range ranges[] = { { 0, 100000, 1000 }, { 5000, 7, 1 } };
	expect_equal(container_host_id(ranges, 2, 0), 100000);
	expect_equal(container_host_id(ranges, 2, 999), 100999);
	expect_equal(container_host_id(ranges, 2, 1000), UINT32_MAX);
	expect_equal(container_host_id(ranges, 2, 5000), 7);
	expect_equal(container_host_id(NULL, 0, 12), 12);
}

static const struct test tests[] = {
	{ "signals are known by name, number and place", knows_signals },
	{ "limits and capabilities are known by name", knows_limits_and_capabilities },
	{ "no capability is inheritable or ambient unless asked", gives_no_inheritable_capability },
	{ "ids are mapped, and only those that are", maps_ids },
};

TEST_MAIN(tests)
