/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/text.h"
#include "host/cgroup_devices.h"
#include "host/cgroup_limits.h"
#include "host/cgroup_usage.h"
#include "host/process.h"
#include "test.h"

#define LINE(root, point, type, options) \
	"36 25 0:31 " root " " point " rw,relatime shared:9 - " type " " type " " options "\n"

static struct cgroups *parse(const char *mountinfo, const char *self, const char *v2)
{
	struct cgroups *cgroups;
	struct error e = {};
	expect_equal(cgroups_parse(mountinfo, self, v2, &cgroups, &e), 0);
	return cgroups;
}

static void finds_pure_v2(void)
{
	cleanup(cgroups_free) struct cgroups *c =
		parse("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" LINE(
			      "/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate"),
			"0::/system.slice/berthd.service\n", "cpuset cpu io memory hugetlb pids");
	expect(cgroups_is_v2(c, CGROUP_MEMORY));
	expect_text(cgroups_home(c, CGROUP_MEMORY), "/sys/fs/cgroup/system.slice/berthd.service");
	expect(cgroups_have(c) & CGROUP_BIT(CGROUP_IO));
	expect(!(cgroups_have(c) & CGROUP_BIT(CGROUP_FREEZER)));
	expect_equal(cgroups_of_dir(c, "/sys/fs/cgroup/a/b") & CGROUP_BIT(CGROUP_PIDS),
		CGROUP_BIT(CGROUP_PIDS));
}

static void finds_hybrid(void)
{
	cleanup(cgroups_free) struct cgroups *c =
		parse(LINE("/", "/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
				LINE("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory") LINE("/",
					"/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd")
					LINE("/", "/sys/fs/cgroup/unified", "cgroup2", "rw"),
			"4:memory:/process_api/7f\n2:cpu,cpuacct:/\n1:name=systemd:/x\n0::/\n",
			"hugetlb\n");
	expect(!cgroups_is_v2(c, CGROUP_MEMORY));
	expect(cgroups_is_v2(c, CGROUP_HUGETLB));
	expect_text(cgroups_home(c, CGROUP_MEMORY), "/sys/fs/cgroup/memory/process_api/7f");
	expect_text(cgroups_home(c, CGROUP_CPU), "/sys/fs/cgroup/cpu,cpuacct");
	expect_text(cgroups_home(c, CGROUP_CPUACCT), "/sys/fs/cgroup/cpu,cpuacct");
	expect_text(cgroups_home(c, CGROUP_UNIFIED), "/sys/fs/cgroup/unified");
	expect(cgroups_home(c, CGROUP_PIDS) == NULL);
	expect_equal(cgroups_of_dir(c, "/sys/fs/cgroup/cpu,cpuacct/x"),
		CGROUP_BIT(CGROUP_CPU) | CGROUP_BIT(CGROUP_CPUACCT));
	expect_equal(cgroups_of_dir(c, "/sys/fs/cgroup/memoryx"), 0);
}

static void finds_nested_and_escaped(void)
{
	/* In a container: the mount shows a part of the hierarchy, at a place with a space. */
	cleanup(cgroups_free) struct cgroups *c =
		parse(LINE("/docker/ab", "/cg\\040roups/memory", "cgroup", "rw,memory"),
			"4:memory:/docker/ab/inner\n", "");
	expect_text(cgroups_home(c, CGROUP_MEMORY), "/cg roups/memory/inner");
	/* Our own leaf is no level. */
	cleanup(cgroups_free) struct cgroups *d = parse(
		LINE("/", "/sys/fs/cgroup", "cgroup2", "rw"), "0::/a/" CGROUP_SELF "\n", "memory");
	expect_text(cgroups_home(d, CGROUP_MEMORY), "/sys/fs/cgroup/a");
}

static void refuses_none(void)
{
	struct cgroups *cgroups = NULL;
	struct error e = {};
	expect_equal(cgroups_parse("1 2 3\n\n- - -\n", "", "", &cgroups, &e), -ENODEV);
	expect_contains(e.text, "cgroup");
}

static void says_what_limits_need(void)
{
	expect_equal(cgroup_limits_need(&(struct cgroup_limits){}), 0);
	expect_equal(
		cgroup_limits_need(&(struct cgroup_limits){ .cpu_milli = 500, .processes = 7 }),
		CGROUP_BIT(CGROUP_CPU) | CGROUP_BIT(CGROUP_PIDS));
	expect_equal(cgroup_limits_need(&(struct cgroup_limits){ .cpuset = "0", .io_weight = 5 }),
		CGROUP_BIT(CGROUP_CPUSET) | CGROUP_BIT(CGROUP_IO));
}

/* A group of this test on this host; skips where we may not make one. */
static struct cgroup *make_group(struct cgroups **ret)
{
	if (geteuid() != 0)
		test_skip("needs root");
	struct error e = {};
	if (cgroups_open(ret, &e) < 0)
		test_skip("%.200s", e.text);
	char path[64];
	snprintf(path, sizeof(path), "berth-test-%d/group", getpid());
	struct cgroup *group;
	if (cgroup_make(*ret, path, ~0u, &group, &e) < 0)
		test_skip("%.200s", e.text);
	return group;
}

static pid_t start_sleeper(int *pidfd)
{
	pid_t pid = process_clone(0, -1, pidfd);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	return pid;
}

static void lives_and_goes(void)
{
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	cleanup(cgroup_free) struct cgroup *group = make_group(&cgroups);
	struct error e = {};
	int pidfd;
	pid_t pid = start_sleeper(&pidfd), pids[4];
	expect_equal(cgroup_attach(group, pid, &e), 0);
	expect_equal(cgroup_pids(group, pids, 4), 1);
	expect_equal(pids[0], pid);
	expect_equal(cgroup_remove(group, &e), -EBUSY);
	expect_equal(cgroup_freeze(group, &e), 0);
	expect_equal(cgroup_kill(group, &e), 0);
	int status;
	expect_equal(process_wait(pidfd, &status), 0);
	expect_equal(status, SIGKILL);
	close(pidfd);

	/* As after a restart: from the list alone. */
	cleanup(cgroup_free) struct cgroup *again = NULL;
	expect_equal(cgroup_open(cgroups, group->list, &again, &e), 0);
	expect_equal(again->in_v2, group->in_v2);
	struct cgroup_usage usage;
	expect_equal(cgroup_usage(again, true, &usage, &e), 0);
	expect_equal(usage.processes, 0);
	expect_equal(cgroup_remove(again, &e), 0);
	expect_equal(cgroup_remove(group, &e), 0);
	cleanup(free) char *parent = alloc_printf(
		"%.*s", (int)(strlen(group->list[0]) - strlen("/group")), group->list[0]);
	expect(access(parent, F_OK) < 0);
}

static void takes_limits(void)
{
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	cleanup(cgroup_free) struct cgroup *group = make_group(&cgroups);
	struct error e = {};
	uint32_t have = cgroups_have(cgroups);
	bool is_ok = true;
	if (have & CGROUP_BIT(CGROUP_CPU)) {
		is_ok &= cgroup_limits_set(group,
				 &(struct cgroup_limits){ .cpu_milli = 1500, .cpu_weight = 200 },
				 &e) == 0;
		is_ok &= cgroup_limits_set(group, &(struct cgroup_limits){ .cpu_milli = 5 }, &e) ==
			0;
		is_ok &= cgroup_limits_set(group,
				 &(struct cgroup_limits){ .cpu_milli = CGROUP_NO_LIMIT }, &e) == 0;
	}
	if (have & CGROUP_BIT(CGROUP_MEMORY)) {
		/* Down, up, down: v1 wants another order each time. */
		static const uint64_t sizes[] = { 64 * MIB, 16 * MIB, 128 * MIB, 32 * MIB };
		for (size_t i = 0; i < ARRAY_SIZE(sizes) && is_ok; i++)
			is_ok = cgroup_limits_set(group,
					&(struct cgroup_limits){ .memory_bytes = sizes[i],
						.swap_bytes = i == 1 ? 8 * MIB : CGROUP_NO_SWAP },
					&e) == 0;
		is_ok &= cgroup_limits_set(group,
				 &(struct cgroup_limits){ .memory_bytes = CGROUP_NO_LIMIT,
					 .swap_bytes = CGROUP_NO_LIMIT },
				 &e) == 0;
	}
	if (have & CGROUP_BIT(CGROUP_PIDS))
		is_ok &= cgroup_limits_set(group, &(struct cgroup_limits){ .processes = 5 }, &e) ==
			0;
	if (have & CGROUP_BIT(CGROUP_CPUSET))
		is_ok &= cgroup_limits_set(group, &(struct cgroup_limits){ .cpuset = "0" }, &e) ==
				0 &&
			cgroup_limits_set(group, &(struct cgroup_limits){ .cpuset = "" }, &e) == 0;
	int r = cgroup_limits_set(group, &(struct cgroup_limits){ .cpuset = "4095" }, NULL);
	struct error removed = {};
	expect_equal(cgroup_remove(group, &removed), 0);
	if (!is_ok)
		test_fail("%s", e.text);
	if (have & CGROUP_BIT(CGROUP_CPUSET))
		expect(r < 0);
}

static void refuses_a_limit_without_its_controller(void)
{
	cleanup(cgroups_free) struct cgroups *c =
		parse(LINE("/", "/nonexistent", "cgroup", "rw,freezer"), "4:freezer:/\n", "");
	const char *const dirs[] = { "/nonexistent/x", NULL };
	cleanup(cgroup_free) struct cgroup *group = NULL;
	struct error e = {};
	expect_equal(cgroup_open(c, dirs, &group, &e), 0);
	expect_equal(cgroup_limits_set(group, &(struct cgroup_limits){ .memory_bytes = MIB }, &e),
		-EOPNOTSUPP);
	expect_contains(e.text, "memory");
	const char *const outside[] = { "/etc", NULL };
	expect_equal(cgroup_open(c, outside, &group, &e), -EINVAL);
}

static void refuses_paths_that_leave(void)
{
	cleanup(cgroups_free) struct cgroups *c =
		parse(LINE("/", "/nonexistent", "cgroup", "rw,freezer"), "4:freezer:/\n", "");
	struct cgroup *group = NULL;
	static const char *const paths[] = { "", "/a", "a//b", "../a", "a/../b", "a/", ".x" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		expect_equal(cgroup_make(c, paths[i], 0, &group, NULL), -EINVAL);
}

static bool is_named_group(void *data, const char *name)
{
	(void)data;
	return text_equal(name, "group");
}

static bool is_none(void *data, const char *name)
{
	(void)data;
	(void)name;
	return false;
}

static void sweeps_what_nobody_knows(void)
{
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	cleanup(cgroup_free) struct cgroup *group = make_group(&cgroups), *stray = NULL;
	struct error e = {};
	char top[64], path[80];
	snprintf(top, sizeof(top), "berth-test-%d", getpid());
	snprintf(path, sizeof(path), "%s/stray", top);
	expect_equal(cgroup_make(cgroups, path, ~0u, &stray, &e), 0);
	/* As a daemon leaves it that was killed after the first hierarchy. */
	for (size_t i = 1; stray->list[i]; i++)
		expect_equal(rmdir(stray->list[i]), 0);
	expect_equal(cgroup_sweep(cgroups, top, is_named_group, NULL, &e), 0);
	expect_equal(access(stray->list[0], F_OK), -1);
	for (size_t i = 0; group->list[i]; i++)
		expect_equal(access(group->list[i], F_OK), 0);
	expect_equal(cgroup_sweep(cgroups, top, is_none, NULL, &e), 0);
	cleanup(free) char *home = alloc_printf("%s/%s",
		cgroups_home(cgroups,
			cgroups_is_v2(cgroups, CGROUP_MEMORY) ? CGROUP_UNIFIED : CGROUP_MEMORY),
		top);
	expect_equal(access(home, F_OK), -1);
	expect_equal(cgroup_sweep(cgroups, top, is_none, NULL, &e), 0);
}

static void sees_the_oom_killer(void)
{
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	cleanup(cgroup_free) struct cgroup *group = make_group(&cgroups);
	struct error e = {};
	const char *dir = group->dirs[CGROUP_MEMORY];
	bool is_v2 = group->in_v2 & CGROUP_BIT(CGROUP_MEMORY);
	if (!dir) {
		(void)!cgroup_remove(group, NULL);
		test_skip("no memory controller");
	}
	cleanup(close) int watch = -1;
	uint32_t events;
	int r = cgroup_limits_set(group,
		&(struct cgroup_limits){ .memory_bytes = 4 * MIB, .swap_bytes = CGROUP_NO_SWAP },
		&e);
	if (r == 0)
		r = cgroup_oom_watch(dir, is_v2, &watch, &events, &e);
	int pidfd, go[2], status = 0;
	expect_equal(pipe(go), 0);
	pid_t pid = process_clone(0, -1, &pidfd);
	if (pid == 0) {
		char byte;
		(void)!read(go[0], &byte, 1);
		char *much = mmap(
			NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (size_t i = 0; i < 64 * MIB; i += 4096)
			((volatile char *)much)[i] = 1;
		_exit(0);
	}
	if (r == 0)
		r = cgroup_attach(group, pid, &e);
	(void)!write(go[1], "x", 1);
	(void)!process_wait(pidfd, &status);
	int64_t kills = r == 0 ? cgroup_oom_kills(watch, dir, is_v2) : 0;
	struct error removed = {};
	int gone = cgroup_remove(group, &removed);
	close(pidfd);
	close(go[0]);
	close(go[1]);
	if (r < 0)
		test_fail("%s", e.text);
	expect_equal(status, SIGKILL);
	expect_equal(kills, 1);
	expect_equal(gone, 0);
}

/* Opens /dev/null or /dev/full as the group allows: the exit status has a bit for each that opens. */
static int devices_open_in(struct cgroup *group)
{
	int pidfd, go[2], status = -1;
	expect_equal(pipe(go), 0);
	pid_t pid = process_clone(0, -1, &pidfd);
	if (pid == 0) {
		char byte;
		(void)!read(go[0], &byte, 1);
		_exit((open("/dev/null", 2) >= 0) | (open("/dev/full", 0) >= 0) << 1 |
			(open("/dev/full", 1) >= 0) << 2);
	}
	struct error e = {};
	int r = cgroup_attach(group, pid, &e);
	(void)!write(go[1], "x", 1);
	(void)!process_wait(pidfd, &status);
	close(pidfd);
	close(go[0]);
	close(go[1]);
	expect_equal(r, 0);
	return status >> 8;
}

static void allows_only_devices_of_the_list(void)
{
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	cleanup(cgroup_free) struct cgroup *group = make_group(&cgroups);
	static const struct cgroup_device null_only[] = { { 'c', 1, 3, "rwm" } };
	static const struct cgroup_device full_read[] = { { 'c', 5, -1, "rw" },
		{ 'c', 1, 7, "r" } };
	static const struct cgroup_device all_memory[] = { { 'c', 1, -1, "rwm" } };
	struct error e = {};
	int r = cgroup_devices_allow(group, null_only, 1, &e);
	int first = devices_open_in(group);
	if (r == 0)
		r = cgroup_devices_allow(group, full_read, 2, &e);
	int second = devices_open_in(group);
	/* The same by a program of v2. */
	char *v1 = TAKE_PTR(group->dirs[CGROUP_DEVICES]);
	int third = -1, fourth = -1;
	if (v1 && r == 0) {
		static const struct cgroup_device all[] = { { 'c', -1, -1, "rwm" } };
		group->dirs[CGROUP_DEVICES] = v1;
		r = cgroup_devices_allow(group, all, 1, &e);
		group->dirs[CGROUP_DEVICES] = NULL;
	}
	if (r == 0 && group->dirs[CGROUP_UNIFIED]) {
		r = cgroup_devices_allow(group, full_read, 2, &e);
		third = devices_open_in(group);
		if (r == 0)
			r = cgroup_devices_allow(group, all_memory, 1, &e);
		fourth = devices_open_in(group);
	}
	group->dirs[CGROUP_DEVICES] = v1;
	struct error removed = {};
	expect_equal(cgroup_remove(group, &removed), 0);
	if (r < 0)
		test_fail("%s", e.text);
	expect_equal(first, 1);
	expect_equal(second, 2);
	if (third >= 0) {
		expect_equal(third, 2);
		expect_equal(fourth, 7);
	}
}

static const struct test tests[] = {
	{ "a pure v2 host is understood", finds_pure_v2 },
	{ "on a hybrid host each controller is used where it lives", finds_hybrid },
	{ "a mount that shows a part, and our own leaf, are understood", finds_nested_and_escaped },
	{ "a host without cgroups is refused", refuses_none },
	{ "limits say which controllers they need", says_what_limits_need },
	{ "a limit without its controller is refused by name",
		refuses_a_limit_without_its_controller },
	{ "a path that would leave our group is refused", refuses_paths_that_leave },
	{ "a group is joined, frozen, killed, opened again and removed", lives_and_goes },
	{ "groups that nobody knows are swept away, others stay", sweeps_what_nobody_knows },
	{ "limits are set, raised, lowered and taken away", takes_limits },
	{ "the out-of-memory killer is noticed and counted", sees_the_oom_killer },
	{ "only devices of the list open, on v1 and v2", allows_only_devices_of_the_list },
};

TEST_MAIN(tests)
