/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

/* Numbers that no kernel knows: whoever may call one sees ENOSYS. */
#define FIRST 700

/* How a process ends that is left only with `calls` and makes the call `number`. */
static int status_of(const uint16_t *calls, size_t count, uint16_t number)
{
	pid_t pid = fork();
	if (pid == 0) {
		const struct jail jail = { .system_calls = calls, .system_call_count = count };
		struct error e;
		if (jail_enter(&jail, &e) < 0)
			_exit(2);
		/* Not _exit(), before which a sanitizer has calls of its own to make. */
		syscall(SYS_exit_group, syscall(number) < 0 && errno == ENOSYS ? 0 : 1);
	}
	int status = -1;
	expect_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void allows_what_is_listed(void)
{
	static const size_t counts[] = { 2, 6, 7, 13, 64, 200 };
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		/* Every other number from FIRST on, in no order. */
		uint16_t calls[200] = { SYS_exit_group };
		size_t count = counts[i];
		for (size_t j = 1; j < count; j++)
			calls[j] = (uint16_t)(FIRST + 2 * ((j * 11 + 3) % count));
		for (size_t step = count / 16 + 1, j = 1; j < count; j += step) {
			expect_equal(status_of(calls, count, calls[j]), 0);
			int status = status_of(calls, count, (uint16_t)(calls[j] + 1));
			expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
		}
		int status = status_of(calls, count, FIRST - 1);
		expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
}

/* How a process ends that calls FIRST + `step` with `first` and `second`. */
static int status_with(uint16_t step, uint64_t first, uint64_t second)
{
	static const uint16_t calls[] = { SYS_exit_group, FIRST + 2 };
	static const uint32_t values[] = { 0, 7, UINT32_MAX };
	static const struct jail_argument arguments[] = { { FIRST, 0, values, 3 },
		{ FIRST + 1, 1, values + 1, 1 } };
	pid_t pid = fork();
	if (pid == 0) {
		const struct jail jail = { .system_calls = calls,
			.system_call_count = ARRAY_SIZE(calls),
			.arguments = arguments,
			.argument_count = ARRAY_SIZE(arguments) };
		struct error e;
		if (jail_enter(&jail, &e) < 0)
			_exit(2);
		syscall(SYS_exit_group,
			syscall(FIRST + step, first, second) < 0 && errno == ENOSYS ? 0 : 1);
	}
	int status = -1;
	expect_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void looks_at_arguments(void)
{
	static const struct {
		uint16_t step;
		uint64_t first, second;
		bool is_allowed;
	} cases[] = {
		{ 0, 0, 1, true },
		{ 0, 7, 1, true },
		{ 0, UINT32_MAX, 1, true },
		{ 0, 1, 7, false },
		{ 0, UINT64_MAX, 7, false },
		{ 0, (UINT64_C(1) << 32) + 7, 7, false },
		{ 1, 0, 7, true },
		{ 1, 7, 0, false },
		{ 2, 1, 1, true },
		{ 3, 7, 7, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = status_with(cases[i].step, cases[i].first, cases[i].second);
		expect_equal(status == 0, cases[i].is_allowed);
		expect(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS));
	}
}

static const char *const files[JAIL_ROOMS] = { "net", "mnt", "ipc", "uts" };

/* `proc` is a descriptor of /proc, which a process with an empty root no longer sees. */
static uint64_t room_of_us(int proc, size_t room)
{
	char path[32];
	struct stat now;
	snprintf(path, sizeof(path), "self/ns/%s", files[room]);
	return fstatat(proc, path, &now, 0) < 0 ? 0 : now.st_ino;
}

/* Whether this process is in these and nowhere else, and its root has nothing in it, for good. */
static bool is_in(int proc, const struct jail_rooms *rooms)
{
	for (size_t i = 0; i < JAIL_ROOMS; i++) {
		struct stat made;
		if (fstat(rooms->fd[i], &made) < 0 || room_of_us(proc, i) != made.st_ino)
			return false;
	}
	int root = open("/", O_RDONLY | O_DIRECTORY);
	DIR *dir = fdopendir(root);
	size_t count = 0;
	while (dir && readdir(dir))
		count++;
	return count == 2 && mkdir("/new", 0700) < 0 && errno == EROFS && access("..", F_OK) == 0;
}

static void many_share_what_is_empty(void)
{
	struct error e = {};
	struct jail_rooms rooms;
	int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	uint64_t ours[JAIL_ROOMS];
	for (size_t i = 0; i < JAIL_ROOMS; i++)
		ours[i] = room_of_us(proc, i);
	if (jail_rooms_make(&rooms, &e) < 0)
		test_skip("this machine gives no namespaces: %.150s", e.text);
	for (size_t i = 0; i < JAIL_ROOMS; i++)
		expect_equal(room_of_us(proc, i), ours[i]);
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct jail jail = {
				.empty_namespaces =
					CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS,
				.rooms = rooms,
			};
			_exit(jail_enter(&jail, &e) < 0 || !is_in(proc, &rooms));
		}
		int status = -1;
		expect_equal(waitpid(pid, &status, 0), pid);
		expect_equal(status, 0);
	}
	jail_rooms_close(&rooms);
	close(proc);
}

/* For good: not even the ids that it had are kept anywhere. */
static bool is_nobody(void)
{
	uid_t user[3];
	gid_t group[3];
	return getresuid(&user[0], &user[1], &user[2]) == 0 &&
		getresgid(&group[0], &group[1], &group[2]) == 0 && user[0] == 65534 &&
		user[1] == user[0] && user[2] == user[0] && group[0] == 65534 &&
		group[1] == group[0] && group[2] == group[0] && getgroups(0, NULL) == 0 &&
		setuid(0) < 0 && errno == EPERM;
}

static void becomes_nobody(void)
{
	static const gid_t more[] = { 1, 2 };
	if (getuid() != 0)
		test_skip("only root becomes another user");
	pid_t pid = fork();
	if (pid == 0) {
		const struct jail jail = { .become_nobody = true, .drop_capabilities = true };
		struct error e;
		_exit(setgroups(2, more) < 0 || jail_enter(&jail, &e) < 0 || !is_nobody() ||
			prctl(PR_GET_DUMPABLE) != 0);
	}
	int status = -1;
	expect_equal(waitpid(pid, &status, 0), pid);
	expect_equal(status, 0);
}

static const struct test tests[] = {
	{ "system calls that are listed work, all others kill", allows_what_is_listed },
	{ "a call can be allowed with some values of one argument", looks_at_arguments },
	{ "root becomes nobody, with no other group and no way back", becomes_nobody },
	{ "many processes share namespaces with nothing in them", many_share_what_is_empty },
};
TEST_MAIN(tests)
