/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_memory.c - brk, mmap and their kind.
 *
 * A mapping of a file shows the image's own pages or is a copy of its bytes; shared.c takes those back that were written to be shared.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "unikernel/answers.h"
#include "unikernel/descriptors.h"
#include "unikernel/map.h"
#include "unikernel/missed.h"
#include "unikernel/shared.h"
#include "unikernel/wide.h"

static int64_t serve_brk(struct registers *r)
{
	return memory_brk(r->rdi);
}

static int64_t map_descriptor(struct registers *r)
{
	struct file *file = descriptor_file(r->r8);
	if (!file)
		return -EBADF;
	if ((file->flags & O_ACCMODE) == O_WRONLY)
		return -EACCES;
	if (!file->node || !S_ISREG(file->node->mode) || file->node->generate)
		return -ENODEV;
	bool is_shared = (r->r10 & MAP_TYPE) != MAP_PRIVATE && (r->rdx & PROT_WRITE);
	if (is_shared && (file->flags & O_ACCMODE) != O_RDWR)
		return -EACCES;
	if (r->r9 % KERNEL_PAGE)
		return -EINVAL;
	if (r->r10 & MAP_FIXED)
		shared_end(r->rdi, r->rsi);
	/* What is to be written back must be the mapping's own. */
	if (is_shared && (r->rdx & PROT_EXEC))
		return -EACCES;
	int64_t address = is_shared ? memory_map(r->rdi, r->rsi, PROT_READ | PROT_WRITE, r->r10)
				    : map_file(r->rdi, r->rsi, r->rdx, r->r10, file->node, r->r9);
	if (address < 0 || !is_shared)
		return address;
	int64_t got = node_read(file->node, at((uint64_t)address), r->rsi, r->r9);
	if (got >= 0)
		got = shared_add((uint64_t)address, r->rsi, file->node, r->r9);
	return got < 0 ? got : address;
}

/* Who generates code is told so by Linux's own answer where that is forbidden; its owner by the list of what it missed. */
static int64_t note_code(const struct registers *r, int64_t result)
{
	if (result == -EACCES && (r->rdx & PROT_EXEC))
		missed_count(REPORT_CODE);
	return result;
}

static int64_t serve_mmap(struct registers *r)
{
	bool is_fixed = (r->r10 & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
	if (!(r->r10 & MAP_ANONYMOUS))
		return note_code(r, map_descriptor(r));
	if (!is_fixed && r->rdx == PROT_NONE && r->rsi >= WIDE_LEAST)
		return wide_reserve(r->rdi, r->rsi);
	if ((r->r10 & MAP_FIXED) && wide_is(r->rdi)) {
		int e = r->rdi % KERNEL_PAGE ? -EINVAL : wide_renew(r->rdi, r->rsi, r->rdx);
		return note_code(r, e < 0 ? e : (int64_t)r->rdi);
	}
	return note_code(r, memory_map(r->rdi, r->rsi, r->rdx, r->r10));
}

static int64_t serve_munmap(struct registers *r)
{
	if (wide_is(r->rdi) && r->rdi % KERNEL_PAGE == 0 && r->rsi)
		return wide_unmap(r->rdi, r->rsi);
	shared_end(r->rdi, r->rsi);
	return memory_unmap(r->rdi, r->rsi);
}

static int64_t serve_mprotect(struct registers *r)
{
	uint64_t mask = KERNEL_PAGE - 1;
	if (wide_is(r->rdi))
		return note_code(r, wide_protect(r->rdi, r->rsi, r->rdx));
	int64_t result = memory_protect(r->rdi, r->rsi, r->rdx);
	/* What is not in the region may be a program's at a fixed address. */
	if (result == -ENOMEM)
		result = memory_protect_segments(r->rdi, (r->rsi + mask) & ~mask, r->rdx);
	return note_code(r, result);
}

static int64_t serve_madvise(struct registers *r)
{
	if (wide_is(r->rdi))
		return r->rdi % KERNEL_PAGE       ? -EINVAL
			: r->rdx == MADV_DONTNEED ? wide_empty(r->rdi, r->rsi)
						  : 0;
	return memory_advise(r->rdi, r->rsi, r->rdx);
}

static int64_t serve_mremap(struct registers *r)
{
	shared_end(r->rdi, r->rsi);
	return memory_move(r->rdi, r->rsi, r->rdx, r->r10, r->r8);
}

static int64_t serve_msync(struct registers *r)
{
	shared_sync(r->rdi, r->rsi);
	return 0;
}

const struct call calls_of_memory[] = {
	{ SYS_brk, "brk", serve_brk },
	{ SYS_mmap, "mmap", serve_mmap },
	{ SYS_munmap, "munmap", serve_munmap },
	{ SYS_mprotect, "mprotect", serve_mprotect },
	{ SYS_madvise, "madvise", serve_madvise },
	{ SYS_mremap, "mremap", serve_mremap },
	{ SYS_mlock, "mlock", answers_serve }, /* nothing is ever swapped out */
	{ SYS_munlock, "munlock", answers_serve },
	{ SYS_mlockall, "mlockall", answers_serve },
	{ SYS_munlockall, "munlockall", answers_serve },
	{ SYS_msync, "msync", serve_msync },
	{ 0, NULL, NULL },
};
