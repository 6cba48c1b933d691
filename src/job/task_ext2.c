/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_ext2.c - the file system of a unikernel's storage: made on a volume of zeroes, repaired after an end without a
 * goodbye, grown with its volume. e2fsprogs read what the unikernel wrote, in a jail.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/ext2.h"
#include "base/file.h"
#include "base/text.h"
#include "disk/program.h"
#include "job/jail.h"
#include "job/tasks.h"

#define HEAD_BYTES (64 * 1024)

static bool is_zero(const char *bytes, size_t size)
{
	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static int make(char *path, struct error *e)
{
	/* Without what the library OS does not know: a journal, checksums, trees of names. */
	char *const argv[] = { (char[]){ "mke2fs" }, (char[]){ "-q" }, (char[]){ "-F" },
		(char[]){ "-t" }, (char[]){ "ext2" }, (char[]){ "-b" }, (char[]){ "4096" },
		(char[]){ "-I" }, (char[]){ "256" }, (char[]){ "-i" }, (char[]){ "16384" },
		(char[]){ "-m" }, (char[]){ "0" }, (char[]){ "-O" },
		(char[]){ "none,filetype,sparse_super,large_file,ext_attr" }, path, NULL };
	return program_run(argv, -1, e);
}

static int check(char *path, struct error *e)
{
	char *const argv[] = { (char[]){ "e2fsck" }, (char[]){ "-f" }, (char[]){ "-p" }, path,
		NULL };
	/* What was repaired is told by a status of 1: then it is clean the second time. */
	return program_run(argv, -1, NULL) == 0 ? 0 : program_run(argv, -1, e);
}

static int grow(char *path, struct error *e)
{
	char *const argv[] = { (char[]){ "resize2fs" }, path, NULL };
	int r = check(path, e);
	return r < 0 ? r : program_run(argv, -1, e);
}

int task_ext2(struct task *task, json_t **ret, struct error *e)
{
	struct ext2_super super;
	int fd = task_fd(task, 0, e);
	if (fd < 0)
		return fd;
	off_t bytes = lseek(fd, 0, SEEK_END);
	cleanup(free) char *start = alloc_array(HEAD_BYTES, char);
	cleanup(free) char *path = alloc_printf("/proc/self/fd/%d", fd);
	if (bytes < HEAD_BYTES)
		return error_set(e, -EINVAL, "the volume has less than 64 KiB");
	int r = file_read_at(fd, start, HEAD_BYTES, 0);
	if (r < 0)
		return error_code(e, r, "read the volume");
	memcpy(&super, start + EXT2_SUPER_AT, sizeof(super));
	*ret = json_object();
	task->stage = "ext2";
	r = jail_program(&fd, 1, false, e);
	if (r < 0)
		return r;
	if (super.magic != EXT2_SUPER_MAGIC)
		/* What has other bytes is somebody's; the unikernel has it as they stand. */
		return is_zero(start, HEAD_BYTES) ? make(path, e) : 0;
	return (uint64_t)bytes / EXT2_BLOCK > super.blocks ? grow(path, e) : check(path, e);
}
