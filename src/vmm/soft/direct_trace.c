/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_trace.c - ptrace.
 *
 * A call of the host's is made by the SYSCALL of the monitor's page with the process resumed by PTRACE_CONT, the only
 * time that it is not PTRACE_SYSEMU. Nothing of the guest's runs then: behind the SYSCALL stands a jump to R12, to a HLT of that
 * page or to code in the pages behind, which belong to nobody else. Registers are written before every resume,
 * with orig_rax = -1, for the kernel must not take a guest's RAX for a call that is to be begun again.
 */
#include "vmm/soft/direct_trace.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define OPTIONS   (PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)
#define FLAGS     0x202u /* IF, and the bit that is always set */
#define STOPS_MAX 64

long direct_trace(struct direct_process *process, int request, void *address, void *data)
{
	return syscall(SYS_ptrace, request, process->pid, address, data);
}

void direct_trace_signal(const struct direct_process *process, int signal)
{
	(void)syscall(SYS_tgkill, process->pid, process->pid, signal);
}

static uint64_t microseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

bool direct_trace_wait(struct direct_process *process, int *ret_status)
{
	struct rusage used = {};
	int got;
	do
		got = (int)syscall(SYS_wait4, process->pid, ret_status, __WALL, &used);
	while (got < 0 && errno == EINTR);
	if (got == process->pid && WIFSTOPPED(*ret_status)) {
		process->used_us = microseconds(&used.ru_utime) + microseconds(&used.ru_stime);
		return true;
	}
	process->is_dead = process->is_reaped = true;
	return false;
}

int direct_trace_attach(struct direct_process *process)
{
	return direct_trace(process, PTRACE_SEIZE, NULL, (void *)(uintptr_t)OPTIONS) < 0 ? -errno
											 : 0;
}

int direct_trace_get(struct direct_process *process, struct user_regs_struct *ret)
{
	return direct_trace(process, PTRACE_GETREGS, NULL, ret) < 0 ? -errno : 0;
}

int direct_trace_set(struct direct_process *process, const struct user_regs_struct *regs)
{
	return direct_trace(process, PTRACE_SETREGS, NULL, (void *)(uintptr_t)regs) < 0 ? -errno
											: 0;
}

struct user_regs_struct direct_trace_at(uint64_t rip)
{
	return (struct user_regs_struct){
		.rip = rip,
		.cs = USER_CS,
		.ss = USER_SS,
		.eflags = FLAGS,
		.orig_rax = UINT64_MAX,
	};
}

/* Until it has faulted; a kick may have come late. */
static int go(struct direct_process *process, struct user_regs_struct *regs)
{
	if (process->is_dead || direct_trace_set(process, regs) < 0)
		goto dead;
	for (int i = 0; i < STOPS_MAX; i++) {
		int status;
		if (direct_trace(process, PTRACE_CONT, NULL, NULL) < 0 ||
			!direct_trace_wait(process, &status))
			goto dead;
		if (WSTOPSIG(status) == SIGSEGV)
			return direct_trace_get(process, regs);
	}
	direct_trace_signal(process, SIGKILL);
dead:
	process->is_dead = true;
	return -ESRCH;
}

static struct user_regs_struct registers_for(
	const struct direct_process *process, const struct direct_call *call)
{
	struct user_regs_struct regs = direct_trace_at(process->page_at + DIRECT_CALL_AT);
	regs.rax = call->number;
	regs.rdi = call->arguments[0];
	regs.rsi = call->arguments[1];
	regs.rdx = call->arguments[2];
	regs.r10 = call->arguments[3];
	regs.r8 = call->arguments[4];
	regs.r9 = call->arguments[5];
	return regs;
}

/* Where it must have come to. */
static int check(struct direct_process *process, const struct user_regs_struct *regs)
{
	if (regs->rip == process->page_at)
		return 0;
	direct_trace_signal(process, SIGKILL);
	process->is_dead = true;
	return -ESRCH;
}

int64_t direct_trace_call(struct direct_process *process, const struct direct_call *call)
{
	struct user_regs_struct regs = registers_for(process, call);
	regs.r12 = process->page_at;
	int r = go(process, &regs);
	if (r == 0)
		r = check(process, &regs);
	return r < 0 ? r : (int64_t)regs.rax;
}

int direct_trace_calls(struct direct_process *process, size_t count)
{
	assert(count < DIRECT_CALLS);
	process->list[count].number = UINT64_MAX;
	const struct direct_call show = { SYS_mmap,
		{ process->page_at + DIRECT_PAGE, (DIRECT_PAGES - 1) * DIRECT_PAGE,
			PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED | MAP_POPULATE,
			DIRECT_PAGES_FD, DIRECT_PAGE } };
	struct user_regs_struct regs = registers_for(process, &show);
	regs.r12 = process->page_at + direct_child_many();
	int r = go(process, &regs);
	if (r == 0 && regs.rip == process->page_at + direct_child_many())
		return -ENOMEM; /* not even our pages */
	if (r == 0)
		r = check(process, &regs);
	if (r == 0 && regs.rax != 0) /* they are still there */
		r = check(process, &(struct user_regs_struct){});
	return r == 0 && (int64_t)regs.r15 < 0 ? -ENOMEM : r;
}
