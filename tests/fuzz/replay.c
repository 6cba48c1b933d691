/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c - runs a fuzz target over the files of a corpus: what the fuzzer found once stays found.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	DIR *dir = opendir(argv[1]);
	if (!dir) {
		fprintf(stderr, "%s: can't be opened\n", argv[1]);
		return 2;
	}
	size_t count = 0;
	for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
		cleanup(free) char *data = NULL;
		size_t length;
		if (entry->d_name[0] == '.')
			continue;
		if (file_read(dirfd(dir), entry->d_name, 64 * MIB, &data, &length, NULL) < 0) {
			fprintf(stderr, "%s: can't be read\n", entry->d_name);
			return 1;
		}
		LLVMFuzzerTestOneInput((const uint8_t *)data, length);
		count++;
	}
	closedir(dir);
	printf("%zu files\n", count);
	return count ? 0 : 1;
}
