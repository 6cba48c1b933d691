/* SPDX-License-Identifier: Apache-2.0 */
#include "host/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
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

static uint64_t network_of_us(void)
{
	struct stat now;
	expect_equal(stat("/proc/thread-self/ns/net", &now), 0);
	return now.st_ino;
}

static void many_share_an_empty_network(void)
{
	uint64_t ours = network_of_us();
	struct error e = {};
	int network;
	if (jail_empty_network(&network, &e) < 0)
		test_skip("this machine gives no network namespace: %.150s", e.text);
	expect_equal(network_of_us(), ours);
	struct stat made;
	expect_equal(fstat(network, &made), 0);
	expect((uint64_t)made.st_ino != ours);
	pid_t pid = fork();
	if (pid == 0) {
		const struct jail jail = { .empty_namespaces = CLONE_NEWNET, .network = network };
		struct stat now;
		_exit(jail_enter(&jail, &e) < 0 || stat("/proc/self/ns/net", &now) < 0 ||
			now.st_ino != made.st_ino);
	}
	int status = -1;
	expect_equal(waitpid(pid, &status, 0), pid);
	expect_equal(status, 0);
	close(network);
}

static const struct test tests[] = {
	{ "system calls that are listed work, all others kill", allows_what_is_listed },
	{ "many processes share one empty network", many_share_an_empty_network },
};
TEST_MAIN(tests)
