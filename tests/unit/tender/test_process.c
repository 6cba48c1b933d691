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
static int run(const char *options, const char *words, char *output, size_t size)
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	cleanup(free) void *rewritten = NULL;
	size_t length, rewritten_length;
	struct rewrite_count count;
	expect_equal(file_read(AT_FDCWD, getenv("PROGRAM"), 64 * MIB, &data, &length, &e), 0);
	expect_equal(rewrite_program(data, length, &(struct rewrite_options){}, &rewritten,
			     &rewritten_length, &count, &e),
		0);
	char path[] = "/tmp/berth-test-process-XXXXXX";
	cleanup(close) int fd = mkstemp(path);
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

static const struct test tests[] = {
	{ "a static program runs alone; a hidden system call traps and is served",
		static_program_runs_alone },
	{ "too little memory is said", too_little_memory_is_said },
};
TEST_MAIN(tests)
