/* SPDX-License-Identifier: Apache-2.0 */
/*
 * large.c - memory in large pages of the host.
 *
 * MADV_COLLAPSE does not ask whether shared memory or programs have such pages by themselves, which they seldom have. Nothing is
 * lost where it fails.
 */
#include "vmm/large.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void *large_reserve(uint64_t bytes, uint64_t offset)
{
	uint64_t whole = bytes + LARGE_BYTES;
	uint8_t *at =
		mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return MAP_FAILED;
	uint64_t before = (offset - (uintptr_t)at) % LARGE_BYTES;
	if (before)
		munmap(at, before);
	at += before;
	/* mmap() has rounded up. */
	uint64_t end = (bytes + 4095) & ~UINT64_C(4095);
	munmap(at + end, LARGE_BYTES - before);
	return at;
}

void *large_map(uint64_t bytes, uint64_t offset, int access, int fd)
{
	int flags = MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	void *at = large_reserve(bytes, offset);
	if (at == MAP_FAILED || mmap(at, bytes, access, flags, fd, 0) != MAP_FAILED)
		return at;
	int code = errno;
	munmap(at, bytes);
	errno = code;
	return MAP_FAILED;
}

bool large_collapse(void *at)
{
	return madvise(at, LARGE_BYTES, MADV_COLLAPSE) == 0;
}
