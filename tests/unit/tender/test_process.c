/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "rewrite/rewrite.h"
#include "test.h"

/* Rewrites $PROGRAM into a temporary file and runs `berth-tender OPTIONS FILE WORDS`. */
static int run_program(
	const char *program, const char *options, const char *words, char *output, size_t size)
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	cleanup(free) void *rewritten = NULL;
	size_t length, rewritten_length;
	struct rewrite_count count;
	expect_equal(file_read(AT_FDCWD, getenv(program), 64 * MIB, &data, &length, &e), 0);
	expect_equal(rewrite_program(data, length, &(struct rewrite_options){}, &rewritten,
			     &rewritten_length, &count, &e),
		0);
	char path[] = "/tmp/berth-test-process-XXXXXX";
	cleanup(close) int fd = mkstemp(path);
	test_removes_at_end(path);
	expect_equal(file_write_all(fd, rewritten, rewritten_length), 0);
	cleanup(free) char *command = alloc_printf(
		"HOME=/root %s %s %s %s 2>&1", getenv("BERTH_TENDER"), options, path, words);
	FILE *pipe = popen(command, "r");
	expect(pipe != NULL);
	size_t got = fread(output, 1, size - 1, pipe);
	output[got] = '\0';
	int status = pclose(pipe);
	unlink(path);
	return status;
}

static int run(const char *options, const char *words, char *output, size_t size)
{
	return run_program("PROGRAM", options, words, output, size);
}

static void static_program_runs_alone(void)
{
	char output[4096];
	int status = run("--mem=64", "one two", output, sizeof(output));
	expect_text(output,
		"3 words, the last is two, HOME is /root\n"
		"pid 1, parent 0, by a real call 0\n"
		"byte 7, a third 0.333\n"
		"executable memory: Permission denied\n"
		"no such call: Function not implemented\n");
	expect_equal(WEXITSTATUS(status), 41);
}

static void too_little_memory_is_said(void)
{
	char output[4096];
	int status = run("--mem=2", "", output, sizeof(output));
	expect(WIFEXITED(status));
	expect(WEXITSTATUS(status) != 0);
	expect_equal(run("--mem=1", "", output, sizeof(output)) != 0, 1);
	expect_contains(output, "--mem=1: from 2");
}

/* By the one instruction that the filter knows: 16 + 31 is what a shell says of SIGSYS. */
static void every_other_call_dies(void)
{
	/* mmap and mprotect (9, 10) are asked to make memory executable. */
	static const int calls[] = { 2, 9, 10, 13, 16, 32, 41, 46, 56, 57, 59, 62, 101, 157, 160,
		165, 257, 311, 317, 319, 321, 322, 323, 425, 434, 435, 437 };
	char output[4096];
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		cleanup(free) char *words = alloc_printf("%d", calls[i]);
		int status = run_program("BREAKOUT", "--mem=16", words, output, sizeof(output));
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 128 + SIGSYS)
			test_fail("call %d: status %d, %s", calls[i], status, output);
	}
}

static const struct test tests[] = {
	{ "a static program runs alone; a hidden system call traps and is served",
		static_program_runs_alone },
	{ "every call that is not listed dies, from the instruction that may call, too",
		every_other_call_dies },
	{ "too little memory is said", too_little_memory_is_said },
};
TEST_MAIN(tests)
