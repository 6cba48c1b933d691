/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.c - users, namespaces, Landlock and two lists of system calls.
 */
#include "vmm/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Running CPUs, and the soft engine's memory and timers. */
static const uint16_t cpu_calls[] = {
	SYS_ioctl,
	SYS_read,
	SYS_write,
	SYS_futex,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_brk,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_rt_sigaction,
	SYS_sigaltstack,
	SYS_tgkill,
	SYS_wait4,
	SYS_getpid,
	SYS_gettid,
	SYS_clock_gettime,
	SYS_clock_nanosleep,
	SYS_nanosleep,
	SYS_sched_yield,
	SYS_timerfd_settime,
	SYS_getrandom,
	SYS_restart_syscall,
	SYS_io_uring_enter,
	SYS_pread64,
	SYS_pwrite64,
	SYS_fallocate,
	SYS_fdatasync,
	SYS_epoll_ctl,
	SYS_close,
	SYS_exit,
	SYS_exit_group,
};

/*
 * What direct execution does with the processes that this thread traces since they were made. No other can be attached
 * to; and of those there are only the registers, no memory.
 */
static const uint32_t trace_requests[] = {
	PTRACE_SYSEMU,
	PTRACE_CONT,
	PTRACE_GETREGS,
	PTRACE_SETREGS,
	PTRACE_GETREGSET,
	PTRACE_SETREGSET,
	PTRACE_GETSIGINFO,
};
static const struct jail_argument cpu_arguments[] = {
	{ SYS_ptrace, 0, trace_requests, ARRAY_SIZE(trace_requests) },
};

/* Queues, disks, taps, sockets, the daemon's channel, and the end. */
static const uint16_t io_calls[] = {
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_pread64,
	SYS_pwrite64,
	SYS_preadv,
	SYS_pwritev,
	SYS_lseek,
	SYS_sendfile, /* the kernel, once more, after a reset */
	SYS_ftruncate,
	SYS_fallocate,
	SYS_fdatasync,
	SYS_fsync,
	SYS_io_uring_enter,
	SYS_epoll_wait,
	SYS_epoll_pwait,
	SYS_epoll_pwait2,
	SYS_epoll_ctl,
	SYS_ioctl,
	SYS_fcntl,
	SYS_close,
	SYS_dup,
	SYS_fstat,
	SYS_newfstatat,
	SYS_renameat,
	SYS_unlinkat,
	/* Devices that are plugged in later. */
	SYS_eventfd2,
	SYS_timerfd_create,
	SYS_timerfd_settime,
	SYS_io_uring_setup,
	SYS_io_uring_register,
	SYS_accept4,
	SYS_socketpair,
	SYS_sendto,
	SYS_sendmsg,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_shutdown,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_madvise,
	SYS_brk,
	SYS_futex,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_tgkill,
	SYS_wait4,
	SYS_getpid,
	SYS_gettid,
	SYS_getrandom,
	SYS_clock_gettime,
	SYS_clock_nanosleep,
	SYS_sched_yield,
	SYS_restart_syscall,
	SYS_exit,
	SYS_exit_group,
};

static int change_user(uint32_t uid, struct error *e)
{
	if (uid == 0 || geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return error_errno(e, "become user %u", uid);
	return 0;
}

int confine_process(const struct confine_options *options, struct error *e)
{
	const struct jail_path path = { options->dir,
		LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG };
	const struct jail namespaces = {
		.empty_namespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
		.rooms = options->rooms,
	};
	int r = geteuid() == 0 ? jail_enter(&namespaces, e) : 0;
	if (r == 0)
		r = change_user(options->uid, e);
	const struct jail rights = {
		.drop_capabilities = true,
		.paths = &path,
		.path_count = options->dir < 0 ? 0 : 1,
		.limit_paths = true,
	};
	return r == 0 ? jail_enter(&rights, e) : r;
}

int confine_io_thread(struct error *e)
{
	const struct jail jail = { .system_calls = io_calls,
		.system_call_count = ARRAY_SIZE(io_calls) };
	return jail_enter(&jail, e);
}

int confine_cpu_thread(struct error *e)
{
	const struct jail jail = {
		.system_calls = cpu_calls,
		.system_call_count = ARRAY_SIZE(cpu_calls),
		.arguments = cpu_arguments,
		.argument_count = ARRAY_SIZE(cpu_arguments),
	};
	return jail_enter(&jail, e);
}
