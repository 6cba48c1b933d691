/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test.h - a test is a sentence and a function: TAP on standard output, the first failed claim ends it.
 *
 *	static void opens_and_reports_size(void) { ... expect_equal(disk->size_bytes, 1024); }
 *	static const struct test tests[] = { { "a disk opens and reports its size", opens_... } };
 *	TEST_MAIN(tests)
 */
#pragma once

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

struct test {
	const char *sentence;
	void (*run)(void);
};

static jmp_buf test_end;
static char test_skipped[256];
static bool test_failed;

#define test_fail(...) \
	do { \
		printf("# %s:%d: ", __FILE__, __LINE__); \
		printf(__VA_ARGS__); \
		printf("\n"); \
		test_failed = true; \
		longjmp(test_end, 1); \
	} while (0)

/* Only for hardware or rights that the machine lacks. */
#define test_skip(...) \
	do { \
		snprintf(test_skipped, sizeof(test_skipped), __VA_ARGS__); \
		longjmp(test_end, 1); \
	} while (0)

#define expect(claim) \
	do { \
		if (!(claim)) \
			test_fail("not so: %s", #claim); \
	} while (0)

#define expect_equal(got, wanted) \
	do { \
		int64_t expect_got = (int64_t)(got), expect_wanted = (int64_t)(wanted); \
		if (expect_got != expect_wanted) \
			test_fail("%s is %" PRId64 " (0x%" PRIx64 "), wanted %" PRId64 \
				  " (0x%" PRIx64 ")", \
				#got, expect_got, (uint64_t)expect_got, expect_wanted, \
				(uint64_t)expect_wanted); \
	} while (0)

#define expect_text(got, wanted) \
	do { \
		const char *expect_got = (got), *expect_wanted = (wanted); \
		if (!expect_got || strcmp(expect_got, expect_wanted) != 0) \
			test_fail("%s is \"%s\", wanted \"%s\"", #got, \
				expect_got ? expect_got : "(none)", expect_wanted); \
	} while (0)

#define expect_contains(got, part) \
	do { \
		const char *expect_got = (got), *expect_part = (part); \
		if (!expect_got || !strstr(expect_got, expect_part)) \
			test_fail("%s is \"%s\", without \"%s\"", #got, \
				expect_got ? expect_got : "(none)", expect_part); \
	} while (0)

static int test_tidier = -1;

/*
 * Removes what it is told of when this program has ended, however it did: a failed claim leaves a test in the middle, and
 * a time limit kills. It is no child of ours, and stands outside of the namespaces that tests make.
 */
static inline void test_start_tidier(void)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	pid_t child = fork();
	if (child == 0) {
		int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (setsid() < 0 || fork() != 0)
			_exit(0);
		if (dup2(ends[0], 0) == 0 && dup2(nothing, 1) == 1 && dup2(nothing, 2) == 2)
			execlp("xargs", "xargs", "-rd", "\n", "rm", "-rf", "--", NULL);
		_exit(1);
	}
	if (child > 0)
		(void)waitpid(child, NULL, 0);
	/* The numbers that tests count with stay free. */
	test_tidier = fcntl(ends[1], F_DUPFD_CLOEXEC, 500);
	close(ends[0]);
	close(ends[1]);
}

/* A file or directory, by its whole path. */
static inline void test_removes_at_end(const char *path)
{
	dprintf(test_tidier, "%s\n", path);
}

static inline int test_main(const struct test *tests, size_t count)
{
	volatile int failures = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_start_tidier();
	printf("1..%zu\n", count);
	for (volatile size_t i = 0; i < count; i++) {
		test_skipped[0] = '\0';
		test_failed = false;
		if (setjmp(test_end) == 0)
			tests[i].run();
		if (test_skipped[0])
			printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].sentence, test_skipped);
		else
			printf("%s %zu - %s\n", test_failed ? "not ok" : "ok", i + 1,
				tests[i].sentence);
		failures += test_failed;
	}
	return failures ? 1 : 0;
}

#define TEST_MAIN(tests) \
	int main(void) \
	{ \
		return test_main(tests, ARRAY_SIZE(tests)); \
	}
