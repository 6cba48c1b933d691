/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_cache.c - finds an unpacked kernel or has it made.
 */
#include "vmm/kernel_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/text.h"
#include "host/process.h"

#define NAME_SIZE 160

static int name_of(const struct image *kernel, char name[NAME_SIZE], struct error *e)
{
	struct stat status;
	if (fstat(kernel->fd, &status) < 0)
		return error_errno(e, "%s", kernel->name);
	snprintf(name, NAME_SIZE, "program-%jx-%jx-%jx-%jx.%lx-%jx.%lx", (uintmax_t)status.st_dev,
		(uintmax_t)status.st_ino, (uintmax_t)status.st_size,
		(uintmax_t)status.st_mtim.tv_sec, (unsigned long)status.st_mtim.tv_nsec,
		(uintmax_t)status.st_ctim.tv_sec, (unsigned long)status.st_ctim.tv_nsec);
	return 0;
}

/* Runs berth-unpack from `kernel` into `out`; its sentence becomes ours. */
static int run_unpack(const struct kernel_cache *cache, const struct image *kernel, uint64_t offset,
	uint64_t bytes, int out, struct error *e)
{
	char offset_text[24], bytes_text[24], sentence[256] = "";
	int said[2], status;
	snprintf(offset_text, sizeof(offset_text), "%ju", (uintmax_t)offset);
	snprintf(bytes_text, sizeof(bytes_text), "%ju", (uintmax_t)bytes);
	if (pipe2(said, O_CLOEXEC) < 0)
		return error_errno(e, "pipe");
	cleanup(close) int said_read = said[0], said_write = said[1];
	const char *const args[] = { cache->program, offset_text, bytes_text, NULL };
	const struct process_options options = {
		.program = cache->program,
		.args = args,
		.stdin_fd = kernel->fd,
		.stdout_fd = out,
		.stderr_fd = said_write,
		.die_with_us = true,
	};
	struct process process;
	int r = process_spawn(&options, &process, e);
	if (r < 0)
		return r;
	close(TAKE_FD(said_write));
	ssize_t n = read(said_read, sentence, sizeof(sentence) - 1);
	r = process_wait(process.pidfd, &status);
	close(process.pidfd);
	if (r < 0)
		return error_code(e, r, "wait for %s", cache->program);
	if (status == 0)
		return 0;
	if (n > 0)
		return error_set(e, -EINVAL, "%s: %s", kernel->name, sentence);
	return error_set(e, -EINVAL, "%s: unpacking it ended with wait status 0x%x", kernel->name,
		(unsigned)status);
}

static int open_output(const struct kernel_cache *cache, const char *temporary, struct error *e)
{
	int fd = cache->dir < 0
		? memfd_create("kernel", MFD_CLOEXEC)
		: openat(cache->dir, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
			  0600);
	if (fd < 0)
		return error_errno(e, "create the unpacked kernel");
	return fd;
}

int kernel_cache_unpack(void *data, const struct image *kernel, uint64_t offset, uint64_t bytes,
	int *ret_fd, struct error *e)
{
	const struct kernel_cache *cache = data;
	char name[NAME_SIZE], temporary[NAME_SIZE + TEXT_UUID_SIZE + 1], unique[TEXT_UUID_SIZE];
	int r = name_of(kernel, name, e);
	if (r < 0)
		return r;
	if (cache->dir >= 0) {
		int fd = openat(cache->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0) {
			*ret_fd = fd;
			return 0;
		}
	}
	text_random_uuid(unique);
	snprintf(temporary, sizeof(temporary), "%s.%s", name, unique);
	cleanup(close) int out = open_output(cache, temporary, e);
	if (out < 0)
		return out;
	r = run_unpack(cache, kernel, offset, bytes, out, e);
	if (cache->dir >= 0) {
		if (r == 0 && renameat(cache->dir, temporary, cache->dir, name) < 0)
			r = error_errno(e, "keep the unpacked kernel");
		if (r < 0)
			unlinkat(cache->dir, temporary, 0);
	}
	if (r == 0)
		*ret_fd = TAKE_FD(out);
	return r;
}
