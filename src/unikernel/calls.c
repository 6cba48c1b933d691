/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c - the table of system calls, and how one is served.
 */
#include "unikernel/calls.h"

#include "unikernel/missed.h"
#include "unikernel/signals.h"

static serve *table[CALLS_MAX];

void calls_init(void)
{
	static const struct call *const lists[] = { calls_of_files, calls_of_sockets, calls_of_tree,
		calls_of_memory, calls_of_process, calls_of_threads, calls_of_time };
	for (size_t i = 0; i < COUNT(lists); i++)
		for (const struct call *call = lists[i]; call->serve; call++)
			table[call->number] = call->serve;
}

void unikernel_call(struct registers *r)
{
	struct thread *self = current_thread;
	if (r->number < CALLS_MAX && table[r->number]) {
		r->rax = (uint64_t)table[r->number](r);
	} else {
		r->rax = (uint64_t)-ENOSYS;
		missed_count(r->number);
	}
	if (platform_signals)
		signals_take_outside();
	if (((self->pending | thread_pending_process) & ~self->blocked) ||
		self->has_blocked_before) {
		if (signals_deliver(r))
			unikernel_continue(r);
	}
	if (r->number == UINT64_MAX) /* rt_sigreturn has set every register */
		unikernel_continue(r);
}

#define NO_CALL 34 /* pause, which is never repeated: rax is the program's own */

void unikernel_interrupt(struct registers *r)
{
	r->number = NO_CALL;
	signals_take_outside();
	(void)signals_deliver(r);
	unikernel_continue(r);
}

void unikernel_fault(const struct fault *fault)
{
	struct registers *r = at(current_thread->kernel_sp - sizeof(*r));
	if (fault->is_in_call) { /* the call ends with EFAULT, as on Linux */
		r->rax = (uint64_t)-EFAULT;
		signals_end_call();
		unikernel_continue(r);
	}
	struct fault copy = *fault;
	*r = copy.registers;
	signals_fault(r, copy.signal, copy.code, copy.address);
	unikernel_continue(r);
}
