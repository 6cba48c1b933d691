/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_thread.c - threads: how they begin, wait for each other and end.
 */
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <time.h>

#include "unikernel/answers.h"
#include "unikernel/events.h"
#include "unikernel/exit.h"
#include "unikernel/futex.h"
#include "unikernel/missed.h"
#include "unikernel/net/net.h"
#include "unikernel/process.h"

#define THREAD_FLAGS ((uint64_t)CLONE_VM | CLONE_THREAD)

struct clone_request {
	uint64_t flags, parent_tid, child_tid, stack, fs;
};

/* A child that had the same stack has written over what a trampoline returns by; who trapped (rcx says so) does not need it. */
static int64_t fork_child(struct registers *r, const struct fork_request *request)
{
	int64_t id = process_fork(r, request);
	if (id >= 0 && (request->flags & CLONE_VM) && r->rcx != r->rip)
		*(uint64_t *)at(r->rsp - 8) = r->rip;
	return id;
}

static int64_t clone_thread(struct registers *r, const struct clone_request *request)
{
	if ((request->flags & THREAD_FLAGS) != THREAD_FLAGS)
		return fork_child(r,
			&(struct fork_request){ request->flags, request->stack, request->parent_tid,
				request->child_tid, request->fs });
	struct registers begin = *r;
	begin.rax = 0;
	if (request->stack)
		begin.rsp = request->stack;
	struct thread *thread = thread_new(&begin);
	if (!thread)
		return -EAGAIN;
	thread->fs = request->flags & CLONE_SETTLS ? request->fs : thread_fs();
	thread->blocked = current_thread->blocked;
	memcpy(thread->name, current_thread->name, sizeof(thread->name));
	if (request->flags & CLONE_PARENT_SETTID)
		*(int32_t *)at(request->parent_tid) = thread->id;
	if (request->flags & CLONE_CHILD_SETTID)
		*(int32_t *)at(request->child_tid) = thread->id;
	if (request->flags & CLONE_CHILD_CLEARTID)
		thread->clear_child_tid = request->child_tid;
	thread_ready(thread);
	return thread->id;
}

/*
 * A new thread begins where the call returns. That is behind the `syscall`, or in a trampoline, which goes up past
 * the red zone that it has left: where the number does not show (musl) the site was rewritten like any other.
 */
static uint64_t stack_behind(const struct registers *r, uint64_t stack)
{
	static const uint8_t past[] = { 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0,
		0 }; /* lea 128(%rsp), %rsp */
	bool is_trampoline = memcmp(at(r->rip), past, sizeof(past)) == 0;
	return stack && is_trampoline ? stack - 128 : stack;
}

static int64_t serve_clone(struct registers *r)
{
	return clone_thread(r,
		&(struct clone_request){ r->rdi, r->rdx, r->r10, stack_behind(r, r->rsi), r->r8 });
}

static int64_t serve_fork(struct registers *r)
{
	uint64_t flags = r->number == SYS_vfork ? CLONE_VM | CLONE_VFORK : 0;
	return fork_child(r, &(struct fork_request){ .flags = flags });
}

static int64_t serve_execve(struct registers *r)
{
	return process_execute(r, at(r->rdi), at(r->rsi), at(r->rdx));
}

static int64_t serve_clone3(struct registers *r)
{
	const struct clone_args *args = at(r->rdi);
	if (r->rsi < CLONE_ARGS_SIZE_VER0)
		return -EINVAL;
	return clone_thread(r,
		&(struct clone_request){ args->flags, args->parent_tid, args->child_tid,
			stack_behind(r, args->stack ? args->stack + args->stack_size : 0),
			args->tls });
}

static void end_program(int status) __attribute__((__noreturn__));
static void end_program(int status)
{
	kernel_has_no_caller = true;
	missed_report();
	net_drain();
	kernel_exit(status);
}

static int64_t serve_exit_group(struct registers *r)
{
	process_end(((int)r->rdi & 0xff) << 8);
	end_program((int)r->rdi & 0xff);
}

static bool is_last_of_group(const struct thread *self)
{
	for (const struct thread *other = all_threads; other; other = other->next)
		if (other != self && other->group == self->group)
			return false;
	return true;
}

static int64_t serve_exit(struct registers *r)
{
	struct thread *self = current_thread;
	if (is_last_of_group(self))
		return serve_exit_group(r);
	futex_end_robust(self->robust_list, self->id);
	if (self->clear_child_tid) {
		*(int32_t *)at(self->clear_child_tid) = 0;
		(void)futex_wake(self->clear_child_tid, 1, UINT32_MAX);
	}
	thread_exit();
}

static int64_t serve_set_tid_address(struct registers *r)
{
	current_thread->clear_child_tid = r->rdi;
	return current_thread->id;
}

static int64_t serve_yield(struct registers *r)
{
	(void)r;
	thread_yield();
	return 0;
}

static int64_t serve_set_robust_list(struct registers *r)
{
	if (r->rsi != sizeof(struct robust_list_head))
		return -EINVAL;
	current_thread->robust_list = r->rdi;
	return 0;
}

/* FUTEX_WAIT takes how long, the others until when. */
static uint64_t deadline_of(const struct timespec *time, uint32_t operation)
{
	if (!time)
		return FOREVER;
	uint64_t ns = ns_of(time), now = platform_clock_monotonic();
	if ((operation & FUTEX_CMD_MASK) == FUTEX_WAIT)
		return now + ns;
	if (!(operation & FUTEX_CLOCK_REALTIME))
		return ns;
	uint64_t today = platform_clock_realtime();
	return ns > today ? now + (ns - today) : now;
}

static int64_t serve_futex(struct registers *r)
{
	uint32_t operation = (uint32_t)r->rsi, value = (uint32_t)r->rdx;
	switch (operation & FUTEX_CMD_MASK) {
	case FUTEX_WAIT:
		return futex_wait(r->rdi, value, UINT32_MAX, deadline_of(at(r->r10), operation));
	case FUTEX_WAIT_BITSET:
		return futex_wait(
			r->rdi, value, (uint32_t)r->r9, deadline_of(at(r->r10), operation));
	case FUTEX_WAKE:
		return futex_wake(r->rdi, value, UINT32_MAX);
	case FUTEX_WAKE_BITSET:
		return futex_wake(r->rdi, value, (uint32_t)r->r9);
	case FUTEX_CMP_REQUEUE:
		if (*(volatile uint32_t *)at(r->rdi) != (uint32_t)r->r9)
			return -EAGAIN;
		return futex_requeue(r->rdi, value, (uint32_t)r->r10, r->r8);
	case FUTEX_REQUEUE:
		return futex_requeue(r->rdi, value, (uint32_t)r->r10, r->r8);
	default:
		return -ENOSYS;
	}
}

const struct call calls_of_threads[] = {
	{ SYS_clone, "clone", serve_clone },
	{ SYS_clone3, "clone3", serve_clone3 },
	{ SYS_fork, "fork", serve_fork },
	{ SYS_vfork, "vfork", serve_fork },
	{ SYS_execve, "execve", serve_execve },
	{ SYS_exit, "exit", serve_exit },
	{ SYS_exit_group, "exit_group", serve_exit_group },
	{ SYS_set_tid_address, "set_tid_address", serve_set_tid_address },
	{ SYS_gettid, "gettid", answers_serve },
	{ SYS_sched_yield, "sched_yield", serve_yield },
	{ SYS_set_robust_list, "set_robust_list", serve_set_robust_list },
	{ SYS_futex, "futex", serve_futex },
	{ SYS_membarrier, "membarrier", answers_serve }, /* there is one processor */
	{ SYS_rseq, "rseq", answers_serve },
	{ 0, NULL, NULL },
};
