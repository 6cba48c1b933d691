/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_unpack.c - any bytes as an archive, unpacked into a directory: whatever they are, the directory beside it
 * stays as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "job/unpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The room has `root` for the archive and `outside` with one file. */
static bool is_as_before(int room)
{
	struct stat status;
	return fstatat(room, "outside/file", &status, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(status.st_mode) && status.st_size == 4 && status.st_nlink == 1 &&
		(status.st_mode & 07777) == 0640;
}

static void run(int room, const uint8_t *data, size_t size)
{
	struct error e = {};
	cleanup(close) int archive = memfd_create("archive", MFD_CLOEXEC);
	cleanup(close) int root = openat(room, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (archive < 0 || root < 0 || file_write_all(archive, data, size) < 0 ||
		lseek(archive, 0, SEEK_SET) < 0)
		abort();
	struct unpack_options options = {
		.with_whiteouts = size & 1, .bytes_max = MIB, .entries_max = 1000
	};
	struct unpack_result result;
	if (unpack_archive(archive, root, &options, NULL, &result, &e) < 0 && e.text[0] == '\0')
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[] = "/tmp/berth-fuzz-unpack-XXXXXX";
	struct error e = {};
	if (!mkdtemp(path))
		abort();
	cleanup(close) int room = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (room < 0 || mkdirat(room, "root", 0700) < 0 || mkdirat(room, "outside", 0700) < 0 ||
		file_replace(room, "outside/file", "kept", 4, 0640, &e) < 0 ||
		fchmodat(room, "outside/file", 0640, 0) < 0)
		abort();
	run(room, data, size);
	if (!is_as_before(room) || file_remove_tree(AT_FDCWD, path) < 0)
		abort();
	return 0;
}
