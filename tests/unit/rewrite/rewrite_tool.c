/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite_tool.c - rewrites a static program so that it runs on Linux as before, every call by trampoline.
 *
 * usage: rewrite_tool PROGRAM RESULT
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/file.h"
#include "rewrite/rewrite.h"

int main(int count, char **words)
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	cleanup(free) void *result = NULL;
	size_t size, result_size;
	struct rewrite_count sites;
	if (count != 3)
		return 2;
	int r = file_read(AT_FDCWD, words[1], 512 * MIB, &data, &size, &e);
	if (r == 0)
		r = rewrite_program(data, size, &(struct rewrite_options){ .forwards = true },
			&result, &result_size, &sites, &e);
	if (r == 0)
		r = file_replace(AT_FDCWD, words[2], result, result_size, 0700, &e);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", words[1], e.text);
		return 1;
	}
	printf("%u sites: %u by number, %u by follower, %u by leader, %u kept, %u left\n",
		sites.sites, sites.by_number, sites.by_follower, sites.by_leader, sites.kept,
		sites.left);
	return 0;
}
