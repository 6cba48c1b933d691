/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_process.c - who the program is and what it may use; signals.
 */
#include <asm/prctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "unikernel/answers.h"
#include "unikernel/descriptors.h"
#include "unikernel/devices.h"
#include "unikernel/net/net.h"
#include "unikernel/process.h"
#include "unikernel/signals.h"

#define STACK_LIMIT (8u << 20)

static int64_t serve_getpgid(struct registers *r)
{
	return process_team(r->number == SYS_getpgrp ? 0 : (int32_t)r->rdi, false);
}

static int64_t serve_getsid(struct registers *r)
{
	return process_team((int32_t)r->rdi, true);
}

static int64_t serve_setpgid(struct registers *r)
{
	return process_set_team((int32_t)r->rdi, (int32_t)r->rsi);
}

static int64_t serve_setsid(struct registers *r)
{
	(void)r;
	return process_new_session();
}

/* All three ids are root's. */
static int64_t serve_three_ids(struct registers *r)
{
	*(uint32_t *)at(r->rdi) = *(uint32_t *)at(r->rsi) = *(uint32_t *)at(r->rdx) = 0;
	return 0;
}

static int64_t serve_arch_prctl(struct registers *r)
{
	if (r->rdi == ARCH_GET_FS) {
		*(uint64_t *)at(r->rsi) = thread_fs();
		return 0;
	}
	if (r->rdi != ARCH_SET_FS)
		return -EINVAL;
	if (r->rsi >= UINT64_C(1) << 47)
		return -EPERM;
	thread_set_fs(r->rsi);
	return 0;
}

static int64_t serve_uname(struct registers *r)
{
	struct utsname names = { "Linux", "", "6.1.0-berth", "#1 berth", "x86_64", "(none)" };
	memcpy(names.nodename, net_host_name(), strlen(net_host_name()));
	memcpy(at(r->rdi), &names, sizeof(names));
	return 0;
}

/* The call says 20 for what is 0. */
static int64_t serve_getpriority(struct registers *r)
{
	return r->rdi > PRIO_USER ? -EINVAL : 20 - *process_nice();
}

static int64_t serve_setpriority(struct registers *r)
{
	int64_t nice = (int32_t)r->rdx;
	if (r->rdi > PRIO_USER)
		return -EINVAL;
	*process_nice() = (int8_t)(nice < -20 ? -20 : nice > 19 ? 19 : nice);
	return 0;
}

static int64_t serve_sysinfo(struct registers *r)
{
	*(struct sysinfo *)at(r->rdi) = (struct sysinfo){
		.uptime = (long)(platform_clock_monotonic() / 1000000000),
		.totalram = memory_total(),
		.freeram = memory_left(),
		.procs = 1,
		.mem_unit = 1,
	};
	return 0;
}

static int64_t get_limit(uint64_t what, struct rlimit *ret)
{
	*ret = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	switch (what) {
	case RLIMIT_NOFILE:
		*ret = (struct rlimit){ descriptor_limit(), DESCRIPTORS_MAX };
		return 0;
	case RLIMIT_STACK:
		ret->rlim_cur = STACK_LIMIT;
		return 0;
	case RLIMIT_CORE:
		*ret = (struct rlimit){ 0, 0 };
		return 0;
	default:
		return what < RLIM_NLIMITS ? 0 : -EINVAL;
	}
}

static int64_t limits(uint64_t what, const struct rlimit *set, struct rlimit *old)
{
	struct rlimit now;
	int64_t e = get_limit(what, &now);
	if (e < 0)
		return e;
	if (set) {
		if (set->rlim_cur > set->rlim_max)
			return -EINVAL;
		if (set->rlim_max > now.rlim_max)
			return -EPERM;
		if (what == RLIMIT_NOFILE)
			descriptor_set_limit(set->rlim_cur);
	}
	if (old)
		*old = now;
	return 0;
}

static int64_t serve_prlimit(struct registers *r)
{
	if (r->rdi > 1)
		return -ESRCH;
	return limits(r->rsi, at(r->rdx), at(r->r10));
}

static int64_t serve_getrlimit(struct registers *r)
{
	return limits(r->rdi, NULL, at(r->rsi));
}

static int64_t serve_setrlimit(struct registers *r)
{
	return limits(r->rdi, at(r->rsi), NULL);
}

static int64_t serve_getrusage(struct registers *r)
{
	*(struct rusage *)at(r->rsi) = (struct rusage){
		.ru_maxrss = (long)((memory_total() - memory_left()) / 1024),
	};
	return 0;
}

static int64_t serve_getrandom(struct registers *r)
{
	if (r->rdx & ~UINT64_C(7))
		return -EINVAL;
	devices_random(at(r->rdi), r->rsi);
	return (int64_t)r->rsi;
}

static int64_t serve_prctl(struct registers *r)
{
	switch (r->rdi) {
	case PR_SET_NAME: {
		const char *name = at(r->rsi);
		size_t length = strlen(name);
		memset(current_thread->name, 0, sizeof(current_thread->name));
		memcpy(current_thread->name, name, length < 15 ? length : 15);
		return 0;
	}
	case PR_GET_NAME:
		memcpy(at(r->rsi), current_thread->name, sizeof(current_thread->name));
		return 0;
	case PR_SET_PDEATHSIG:
	case PR_SET_DUMPABLE:
	case PR_SET_KEEPCAPS:
	case PR_SET_NO_NEW_PRIVS:
	case PR_SET_THP_DISABLE:
	case PR_SET_TIMERSLACK:
		return 0;
	case PR_GET_DUMPABLE:
		return 1;
	default:
		return -EINVAL;
	}
}

static int64_t serve_getaffinity(struct registers *r)
{
	if (r->rsi < sizeof(uint64_t) || r->rsi % sizeof(uint64_t))
		return -EINVAL;
	*(uint64_t *)at(r->rdx) = 1;
	return sizeof(uint64_t);
}

static int64_t serve_getcpu(struct registers *r)
{
	if (r->rdi)
		*(uint32_t *)at(r->rdi) = 0;
	if (r->rsi)
		*(uint32_t *)at(r->rsi) = 0;
	return 0;
}

static int64_t serve_getparam(struct registers *r)
{
	*(int *)at(r->rsi) = 0;
	return 0;
}

static int64_t serve_wait4(struct registers *r)
{
	int status = 0;
	int64_t id = process_wait((int32_t)r->rdi, (int)r->rdx & WNOHANG, &status);
	if (id > 0 && r->rsi)
		*(int *)at(r->rsi) = status;
	if (id > 0 && r->r10)
		*(struct rusage *)at(r->r10) = (struct rusage){};
	return id;
}

static int64_t serve_waitid(struct registers *r)
{
	int status = 0;
	int32_t wanted = r->rdi == P_PID ? (int32_t)r->rsi
		: r->rdi == P_PGID       ? -(int32_t)r->rsi
					 : -1;
	if (r->rdi > P_PGID)
		return -EINVAL;
	int64_t id = process_wait(wanted, (int)r->r10, &status);
	if (id < 0)
		return id;
	siginfo_t info = { .si_signo = id ? SIGCHLD : 0 };
	if (id) {
		info.si_code = WIFEXITED(status) ? CLD_EXITED : CLD_KILLED;
		info.si_pid = (int32_t)id;
		info.si_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
	}
	if (r->rdx)
		memcpy(at(r->rdx), &info, sizeof(info));
	return 0;
}

static int64_t serve_pause(struct registers *r)
{
	(void)r;
	int e = 0;
	while (e == 0)
		e = thread_wait(FOREVER);
	return -EINTR;
}

const struct call calls_of_process[] = {
	{ SYS_getpid, "getpid", answers_serve },
	{ SYS_getppid, "getppid", answers_serve },
	{ SYS_getpgrp, "getpgrp", serve_getpgid },
	{ SYS_getpgid, "getpgid", serve_getpgid },
	{ SYS_getsid, "getsid", serve_getsid },
	{ SYS_setpgid, "setpgid", serve_setpgid },
	{ SYS_setsid, "setsid", serve_setsid },
	{ SYS_getuid, "getuid", answers_serve },
	{ SYS_geteuid, "geteuid", answers_serve },
	{ SYS_getgid, "getgid", answers_serve },
	{ SYS_getegid, "getegid", answers_serve },
	{ SYS_getresuid, "getresuid", serve_three_ids },
	{ SYS_getresgid, "getresgid", serve_three_ids },
	{ SYS_getgroups, "getgroups", answers_serve },
	{ SYS_setgroups, "setgroups", answers_serve },
	{ SYS_setuid, "setuid", answers_serve },
	{ SYS_setgid, "setgid", answers_serve },
	{ SYS_arch_prctl, "arch_prctl", serve_arch_prctl },
	{ SYS_prctl, "prctl", serve_prctl },
	{ SYS_uname, "uname", serve_uname },
	{ SYS_sysinfo, "sysinfo", serve_sysinfo },
	{ SYS_prlimit64, "prlimit64", serve_prlimit },
	{ SYS_getrlimit, "getrlimit", serve_getrlimit },
	{ SYS_setrlimit, "setrlimit", serve_setrlimit },
	{ SYS_getrusage, "getrusage", serve_getrusage },
	{ SYS_getrandom, "getrandom", serve_getrandom },
	{ SYS_sched_getaffinity, "sched_getaffinity", serve_getaffinity },
	{ SYS_sched_setaffinity, "sched_setaffinity", answers_serve },
	{ SYS_sched_getscheduler, "sched_getscheduler", answers_serve },
	{ SYS_sched_setscheduler, "sched_setscheduler", answers_serve },
	{ SYS_sched_getparam, "sched_getparam", serve_getparam },
	{ SYS_sched_get_priority_max, "sched_get_priority_max", answers_serve },
	{ SYS_sched_get_priority_min, "sched_get_priority_min", answers_serve },
	{ SYS_getpriority, "getpriority", serve_getpriority },
	{ SYS_setpriority, "setpriority", serve_setpriority },
	{ SYS_getcpu, "getcpu", serve_getcpu },
	{ SYS_wait4, "wait4", serve_wait4 },
	{ SYS_waitid, "waitid", serve_waitid },
	{ SYS_pause, "pause", serve_pause },
	{ SYS_rt_sigaction, "rt_sigaction", signals_action },
	{ SYS_rt_sigprocmask, "rt_sigprocmask", signals_mask },
	{ SYS_rt_sigpending, "rt_sigpending", signals_pending },
	{ SYS_rt_sigsuspend, "rt_sigsuspend", signals_suspend },
	{ SYS_rt_sigtimedwait, "rt_sigtimedwait", signals_wait },
	{ SYS_rt_sigreturn, "rt_sigreturn", signals_return },
	{ SYS_sigaltstack, "sigaltstack", signals_stack },
	{ SYS_kill, "kill", signals_kill },
	{ SYS_tkill, "tkill", signals_tgkill },
	{ SYS_tgkill, "tgkill", signals_tgkill },
	{ 0, NULL, NULL },
};
