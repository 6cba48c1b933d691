/* SPDX-License-Identifier: Apache-2.0 */
#include "tender/filter.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test.h"

#define LARGE UINT64_C(0x100000005)

/* What the locked child tries, and whether it lives. */
struct attempt {
	const char *what;
	long call;
	uint64_t first, third;
	bool lives;
};

static void build(struct filter *filter)
{
	filter_begin(filter);
	filter_allow(filter, SYS_exit_group, NULL, 0);
	filter_allow(filter, SYS_getppid, NULL, 0);
	filter_allow(filter, SYS_close, (struct filter_condition[]){ { 0, FILTER_EQUAL, 77 } }, 1);
	filter_allow(filter, SYS_close, (struct filter_condition[]){ { 0, FILTER_EQUAL, 78 } }, 1);
	filter_allow(
		filter, SYS_lseek, (struct filter_condition[]){ { 0, FILTER_EQUAL, LARGE } }, 1);
	filter_allow(filter, SYS_madvise,
		(struct filter_condition[]){ { 0, FILTER_AT_MOST, LARGE }, { 2, FILTER_EQUAL, 4 } },
		2);
	expect_equal(filter_end(filter, NULL), 0);
}

static void only_what_is_listed_lives(void)
{
	static const struct attempt attempts[] = {
		{ "a call without conditions", SYS_getppid, 0, 0, true },
		{ "a call that is not listed", SYS_getpid, 0, 0, false },
		{ "the first of two rules of a call", SYS_close, 77, 0, true },
		{ "the second of two rules of a call", SYS_close, 78, 0, true },
		{ "another value", SYS_close, 79, 0, false },
		{ "the value with a bit in the high half", SYS_close, 77 + (UINT64_C(1) << 32), 0,
			false },
		{ "a value of 64 bits", SYS_lseek, LARGE, 0, true },
		{ "only its low half", SYS_lseek, (uint32_t)LARGE, 0, false },
		{ "an upper bound itself", SYS_madvise, LARGE, 4, true },
		{ "less, with a larger low half", SYS_madvise, 0xffffffff, 4, true },
		{ "zero", SYS_madvise, 0, 4, true },
		{ "one more than the bound", SYS_madvise, LARGE + 1, 4, false },
		{ "a larger high half, a smaller low half", SYS_madvise, UINT64_C(0x200000000), 4,
			false },
		{ "the bound but the other argument wrong", SYS_madvise, LARGE, 5, false },
	};
	static struct filter filter;
	build(&filter);
	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		const struct attempt *attempt = &attempts[i];
		pid_t child = fork();
		if (child == 0) {
			prctl(PR_SET_DUMPABLE, 0);
			if (filter_lock(&filter) < 0)
				_exit(1);
			syscall(attempt->call, attempt->first, 0, attempt->third);
			_exit(0);
		}
		int status = 0;
		expect_equal(waitpid(child, &status, 0), child);
		printf("# %s\n", attempt->what);
		if (attempt->lives)
			expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		else
			expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
}

static void other_abi_is_killed(void)
{
	static struct filter filter;
	build(&filter);
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_DUMPABLE, 0);
		if (filter_lock(&filter) < 0)
			_exit(1);
		/* 231 is exit_group here; in the 32-bit table it is another call altogether. */
		long result = SYS_exit_group;
		__asm__ volatile("int $0x80" : "+a"(result) : "b"(0) : "memory");
		_exit(0);
	}
	int status = 0;
	expect_equal(waitpid(child, &status, 0), child);
	expect(WIFSIGNALED(status));
	expect(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
}

static void too_many_rules_are_refused(void)
{
	static struct filter filter;
	struct error e = {};
	filter_begin(&filter);
	for (int i = 0; i < FILTER_LENGTH_MAX; i++)
		filter_allow(&filter, i, NULL, 0);
	expect_equal(filter_end(&filter, &e), -E2BIG);
	expect_contains(e.text, "4096");
}

static const struct test tests[] = {
	{ "only what is listed lives, all 64 bits compared", only_what_is_listed_lives },
	{ "a call of another ABI is killed", other_abi_is_killed },
	{ "more rules than the kernel takes are refused", too_many_rules_are_refused },
};
TEST_MAIN(tests)
