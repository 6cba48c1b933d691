/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c - the table of system calls, and how one is served.
 */
#include "unikernel/calls.h"

#include <signal.h>
#include <sys/syscall.h>

#include "unikernel/exit.h"
#include "unikernel/missed.h"
#include "unikernel/signals.h"

static_assert(CALLS_MAX == CALLS_IN_TABLE, "entry.S");

serve *calls_table[CALLS_MAX];

static int64_t serve_missing(struct registers *r)
{
	missed_count(r->number);
	return -ENOSYS;
}

void calls_init(void)
{
	static const struct call *const lists[] = { calls_of_files, calls_of_sockets, calls_of_tree,
		calls_of_memory, calls_of_process, calls_of_threads, calls_of_time };
	for (size_t i = 0; i < CALLS_MAX; i++)
		calls_table[i] = serve_missing;
	for (size_t i = 0; i < COUNT(lists); i++)
		for (const struct call *call = lists[i]; call->serve; call++)
			calls_table[call->number] = call->serve;
}

static bool has_signal(const struct thread *self)
{
	return ((self->pending | thread_pending_process) & ~self->blocked) ||
		self->has_blocked_before;
}

void unikernel_after(struct registers *r)
{
	unikernel_must_look = false; /* first: what comes in between sets it again */
	if (platform_signals)
		signals_take_outside();
	if (thread_has_ticked)
		thread_tick();
	if (has_signal(current_thread) && signals_deliver(r))
		unikernel_continue(r);
	if (r->number == UINT64_MAX) /* rt_sigreturn has set every register */
		unikernel_continue(r);
}

void unikernel_call(struct registers *r)
{
	r->number = (uint32_t)r->number; /* Linux looks at no more of it */
	r->rax = (uint64_t)(r->number < CALLS_MAX ? calls_table[r->number](r) : serve_missing(r));
	if (unikernel_must_look)
		unikernel_after(r);
}

#define NO_CALL 34 /* pause, which is never repeated: rax is the program's own */

void unikernel_interrupt(struct registers *r)
{
	r->number = NO_CALL;
	signals_take_outside();
	if (thread_has_ticked)
		thread_tick();
	(void)signals_deliver(r);
	unikernel_continue(r);
}

/* With it iretq fails, whatever it goes back to; no program keeps it on purpose. */
#define FLAG_NESTED 0x4000u

static const char own_fault[] = "a fault of the library OS itself";

static bool is_resuming(uint64_t rip)
{
	return rip >= address_of((void *)(uintptr_t)unikernel_resume) &&
		rip < address_of(unikernel_resume_end);
}

/* A fault of ours while the registers stand where a call has them; they are what the program goes on with. */
static void fault_in_call(struct registers *r, const struct registers *ours)
{
	if (is_resuming(ours->rip)) {
		/* What they say cannot be gone back to: as on Linux the program's fault. Without the flag it is tried once more. */
		if (!(ours->rflags & FLAG_NESTED))
			signals_fault(r, SIGSEGV, SI_KERNEL, 0);
	} else if (!signals_frame_failed(r)) { /* the call ends with EFAULT, as on Linux */
		if (r->number == NO_CALL || r->number >= CALLS_MAX)
			kernel_panic(own_fault);
		if (r->number == SYS_exit) /* of one of several threads, which nobody is told */
			thread_exit();
		r->rax = (uint64_t)-EFAULT;
		unikernel_after(r);
		unikernel_continue(r);
	}
}

void unikernel_fault(const struct fault *fault)
{
	struct registers *r = current_registers;
	struct fault copy = *fault;
	if (kernel_has_no_caller)
		kernel_panic(own_fault);
	if (copy.is_in_call) {
		fault_in_call(r, &copy.registers);
	} else {
		*r = copy.registers;
		r->number = NO_CALL;
		signals_fault(r, copy.signal, copy.code, copy.address);
	}
	/* Who faults for ever is still to be ended from outside. */
	r->number = NO_CALL;
	unikernel_after(r);
	unikernel_continue(r);
}
