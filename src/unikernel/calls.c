/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c - the table of system calls.
 */
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>

#include "unikernel/kernel.h"

#define CALLS_MAX    512
#define CONSOLE_LAST 2 /* descriptors 0, 1 and 2 are the console */

typedef int64_t serve(struct registers *r);

static void *at(uint64_t address)
{
	return (void *)(uintptr_t)address;
}

static int64_t serve_write(struct registers *r)
{
	if (r->rdi > CONSOLE_LAST)
		return -EBADF;
	return platform_console_write(at(r->rsi), r->rdx);
}

static int64_t serve_writev(struct registers *r)
{
	const struct iovec *vector = at(r->rsi);
	int64_t total = 0;
	if (r->rdi > CONSOLE_LAST)
		return -EBADF;
	if (r->rdx > 1024)
		return -EINVAL;
	for (uint64_t i = 0; i < r->rdx; i++) {
		int64_t put = platform_console_write(vector[i].iov_base, vector[i].iov_len);
		if (put < 0)
			return total ? total : put;
		total += put;
		if ((uint64_t)put < vector[i].iov_len)
			break;
	}
	return total;
}

static int64_t serve_read(struct registers *r)
{
	if (r->rdi != 0)
		return -EBADF;
	for (;;) {
		int64_t got = platform_console_read(at(r->rsi), r->rdx);
		if (got != -EAGAIN)
			return got;
		platform_wait(UINT64_MAX);
	}
}

static int64_t serve_brk(struct registers *r)
{
	return memory_brk(r->rdi);
}

static int64_t serve_mmap(struct registers *r)
{
	if (!(r->r10 & 0x20)) /* MAP_ANONYMOUS: there are no files yet to map */
		return -ENODEV;
	return memory_map(r->rdi, r->rsi, r->rdx, r->r10);
}

static int64_t serve_munmap(struct registers *r)
{
	return memory_unmap(r->rdi, r->rsi);
}

static int64_t serve_mprotect(struct registers *r)
{
	return memory_protect(r->rdi, r->rsi, r->rdx);
}

static int64_t serve_madvise(struct registers *r)
{
	return memory_advise(r->rdi, r->rsi, r->rdx);
}

static int64_t serve_arch_prctl(struct registers *r)
{
	if (r->rdi == ARCH_GET_FS) {
		*(uint64_t *)at(r->rsi) = current_thread->fs;
		return 0;
	}
	if (r->rdi != ARCH_SET_FS)
		return -EINVAL;
	if (r->rsi >= UINT64_C(1) << 47)
		return -EPERM;
	current_thread->fs = r->rsi;
	platform_set_fs(r->rsi);
	return 0;
}

static int64_t serve_set_tid_address(struct registers *r)
{
	current_thread->clear_child_tid = r->rdi;
	return current_thread->id;
}

static int64_t serve_exit(struct registers *r)
{
	platform_exit((int)r->rdi & 0xff);
}

static int64_t serve_pid(struct registers *r)
{
	(void)r;
	return 1;
}

static int64_t serve_zero(struct registers *r)
{
	(void)r;
	return 0;
}

static int64_t serve_gettid(struct registers *r)
{
	(void)r;
	return current_thread->id;
}

static int64_t serve_clock_gettime(struct registers *r)
{
	uint64_t ns;
	struct timespec *to = at(r->rsi);
	switch (r->rdi) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		ns = platform_clock_realtime();
		break;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
		ns = platform_clock_monotonic();
		break;
	default:
		return -EINVAL;
	}
	to->tv_sec = (time_t)(ns / 1000000000);
	to->tv_nsec = (long)(ns % 1000000000);
	return 0;
}

static int64_t serve_uname(struct registers *r)
{
	static const struct utsname names = { "Linux", "unikernel", "6.1.0-berth", "berth",
		"x86_64", "(none)" };
	memcpy(at(r->rdi), &names, sizeof(names));
	return 0;
}

static const struct {
	const char *name;
	serve *serve;
} calls[CALLS_MAX] = {
	[SYS_read] = { "read", serve_read },
	[SYS_write] = { "write", serve_write },
	[SYS_writev] = { "writev", serve_writev },
	[SYS_brk] = { "brk", serve_brk },
	[SYS_mmap] = { "mmap", serve_mmap },
	[SYS_munmap] = { "munmap", serve_munmap },
	[SYS_mprotect] = { "mprotect", serve_mprotect },
	[SYS_madvise] = { "madvise", serve_madvise },
	[SYS_arch_prctl] = { "arch_prctl", serve_arch_prctl },
	[SYS_set_tid_address] = { "set_tid_address", serve_set_tid_address },
	[SYS_exit] = { "exit", serve_exit },
	[SYS_exit_group] = { "exit_group", serve_exit },
	[SYS_getpid] = { "getpid", serve_pid },
	[SYS_getppid] = { "getppid", serve_zero },
	[SYS_gettid] = { "gettid", serve_gettid },
	[SYS_getuid] = { "getuid", serve_zero },
	[SYS_geteuid] = { "geteuid", serve_zero },
	[SYS_getgid] = { "getgid", serve_zero },
	[SYS_getegid] = { "getegid", serve_zero },
	[SYS_clock_gettime] = { "clock_gettime", serve_clock_gettime },
	[SYS_uname] = { "uname", serve_uname },
};

void unikernel_call(struct registers *r)
{
	if (r->number < CALLS_MAX && calls[r->number].serve)
		r->rax = (uint64_t)calls[r->number].serve(r);
	else
		r->rax = (uint64_t)-ENOSYS;
}
