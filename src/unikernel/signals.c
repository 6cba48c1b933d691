/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals.c - what a program does with signals, and how one reaches it.
 *
 * Theory of operation. A signal is a bit in the thread's set or the program's. It is delivered where a call ends:
 * a frame as Linux makes it (registers, vector state, siginfo) goes onto the program's stack, and the registers
 * to the handler; rt_sigreturn takes it back. A call that a signal cut short and that is to be repeated goes on at
 * its own beginning: at its `syscall` if it trapped, else at unikernel_entry, the trampoline's return address
 * still standing below its stack pointer.
 */
#include "unikernel/signals.h"

#include <sys/ucontext.h>

#include "unikernel/exit.h"
#include "unikernel/heap.h"

#define RED_ZONE     128u
#define VECTOR_ALIGN 64u
#define SIGNALS      64
#define BIT(signal)  (UINT64_C(1) << ((signal)-1))
#define RESTORER     0x04000000u

#define IGNORED_BY_DEFAULT \
	(BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGCONT) | BIT(SIGTSTP) | BIT(SIGTTIN) | \
		BIT(SIGTTOU))
#define UNBLOCKABLE (BIT(SIGKILL) | BIT(SIGSTOP))

struct action {
	uint64_t handler;
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

struct frame {
	uint64_t restorer;
	ucontext_t context;
	siginfo_t info;
};

static struct action actions[SIGNALS + 1];

static uint64_t call_entry;

/* The signal whose frame is being written, or ANY_FRAME while one is read; 0 otherwise. */
static int framing;
#define ANY_FRAME -1

void signals_set_entry(uint64_t address)
{
	call_entry = address;
}

static bool is_ignored(const struct action *of, int signal)
{
	uint64_t handler = of[signal].handler;
	return handler == (uint64_t)(uintptr_t)SIG_IGN ||
		(handler == (uint64_t)(uintptr_t)SIG_DFL && (IGNORED_BY_DEFAULT & BIT(signal)));
}

static bool is_blocked_by_any(uint32_t group, int signal)
{
	for (const struct thread *thread = all_threads; thread; thread = thread->next)
		if (thread->group == group && (thread->blocked & BIT(signal)))
			return true;
	return false;
}

static void wake_one(uint32_t group, int signal)
{
	for (struct thread *thread = all_threads; thread; thread = thread->next)
		if (thread->group == group && !(thread->blocked & BIT(signal))) {
			if (thread->is_waiting)
				thread_ready(thread);
			return;
		}
}

void signals_send(struct thread *thread, int signal, const siginfo_t *info)
{
	uint64_t *pending = thread ? &thread->pending : &thread_pending_process;
	siginfo_t **infos = thread ? thread->pending_info : thread_pending_process_info;
	uint32_t group = thread ? thread->group : thread_group();
	bool is_waited = is_blocked_by_any(group, signal);
	if ((is_ignored(actions, signal) && !is_waited) || (*pending & BIT(signal)))
		return;
	*pending |= BIT(signal);
	unikernel_must_look = true;
	siginfo_t *copy = heap_alloc(sizeof(*copy));
	if (copy)
		*copy = *info;
	infos[signal] = copy;
	if (!thread)
		wake_one(group, signal);
	else if (!(thread->blocked & BIT(signal)) && thread->is_waiting)
		thread_ready(thread);
}

void signals_raise(struct thread *thread, int signal)
{
	siginfo_t info = { .si_signo = signal, .si_code = SI_USER };
	info.si_pid = 1;
	signals_send(thread, signal, &info);
}

static void (*suspend)(void);
static int suspend_signal;

void signals_set_suspend(int signal, void (*to)(void))
{
	suspend_signal = signal;
	suspend = to;
}

static void (*outside)(int signal);

void signals_set_outside(void (*to)(int signal))
{
	outside = to;
}

void signals_take_outside(void)
{
	uint64_t bits = __atomic_exchange_n(&platform_signals, 0, __ATOMIC_RELAXED);
	if (suspend && (bits & BIT(suspend_signal))) {
		bits &= ~BIT(suspend_signal);
		suspend();
	}
	if (bits & BIT(BOOT_TICK))
		thread_has_ticked = true;
	bits &= ~BIT(BOOT_TICK);
	for (; bits; bits &= bits - 1)
		if (outside)
			outside(__builtin_ctzll(bits) + 1);
}

/* Takes the lowest signal of `wanted` that waits; 0 if none. */
static int take(uint64_t wanted, siginfo_t *ret)
{
	struct thread *self = current_thread;
	uint64_t ready = (self->pending | thread_pending_process) & wanted;
	if (!ready)
		return 0;
	/* Faults and their kind first, as Linux does. */
	uint64_t urgent =
		ready & (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGTRAP) | BIT(SIGFPE));
	int signal = __builtin_ctzll(urgent ? urgent : ready) + 1;
	bool is_own = (self->pending & BIT(signal)) != 0;
	uint64_t *pending = is_own ? &self->pending : &thread_pending_process;
	siginfo_t **info =
		is_own ? &self->pending_info[signal] : &thread_pending_process_info[signal];
	*pending &= ~BIT(signal);
	*ret = (siginfo_t){ .si_signo = signal };
	if (*info)
		*ret = **info;
	heap_free(*info);
	*info = NULL;
	return signal;
}

void signals_take_back(int signal)
{
	siginfo_t info;
	if (current_thread->pending & BIT(signal))
		(void)take(BIT(signal), &info);
}

static bool is_on_other_stack(const struct thread *thread, uint64_t sp)
{
	return !(thread->other_stack.ss_flags & SS_DISABLE) && thread->other_stack.ss_size &&
		sp - address_of(thread->other_stack.ss_sp) < thread->other_stack.ss_size;
}

static void save_registers(greg_t *g, const struct registers *r)
{
	const uint64_t values[] = { r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15,
		r->rdi, r->rsi, r->rbp, r->rbx, r->rdx, r->rax, r->rcx, r->rsp, r->rip, r->rflags };
	memcpy(g, values, sizeof(values));
	g[REG_CSGSFS] = (greg_t)(r->cs | r->ss << 48);
}

static void restore_registers(const greg_t *g, struct registers *r)
{
	const uint64_t *v = (const uint64_t *)g;
	*r = (struct registers){ .r8 = v[0],
		.r9 = v[1],
		.r10 = v[2],
		.r11 = v[3],
		.r12 = v[4],
		.r13 = v[5],
		.r14 = v[6],
		.r15 = v[7],
		.rdi = v[8],
		.rsi = v[9],
		.rbp = v[10],
		.rbx = v[11],
		.rdx = v[12],
		.rax = v[13],
		.rcx = v[14],
		.rsp = v[15],
		.rip = v[16],
		.cs = r->cs,
		.ss = r->ss,
		.rflags = (v[17] & 0xdd5) | 0x202 };
}

static void push_frame(
	struct registers *r, int signal, const struct action *action, const siginfo_t *info)
{
	struct thread *self = current_thread;
	uint64_t sp = r->rsp - RED_ZONE;
	framing = signal;
	bool was_on_other = is_on_other_stack(self, r->rsp);
	if ((action->flags & SA_ONSTACK) && !was_on_other && self->other_stack.ss_size &&
		!(self->other_stack.ss_flags & SS_DISABLE))
		sp = address_of(self->other_stack.ss_sp) + self->other_stack.ss_size;
	uint64_t vector = (sp - vector_bytes()) & ~(uint64_t)(VECTOR_ALIGN - 1);
	memset(at(vector), 0, vector_bytes());
	vector_save(at(vector));
	struct frame *frame = at(((vector - sizeof(*frame)) & ~UINT64_C(15)) - 8);
	*frame = (struct frame){ .restorer = action->restorer, .info = *info };
	frame->context.uc_stack = self->other_stack;
	if (was_on_other)
		frame->context.uc_stack.ss_flags |= SS_ONSTACK;
	save_registers(frame->context.uc_mcontext.gregs, r);
	frame->context.uc_mcontext.gregs[REG_CR2] = (greg_t)address_of(info->si_addr);
	frame->context.uc_mcontext.fpregs = at(vector);
	uint64_t mask = self->has_blocked_before ? self->blocked_before : self->blocked;
	self->has_blocked_before = false;
	memcpy(&frame->context.uc_sigmask, &mask, sizeof(mask));
	framing = 0;
	self->blocked |= action->mask | (action->flags & SA_NODEFER ? 0 : BIT(signal));
	self->blocked &= ~UNBLOCKABLE;
	r->rdi = (uint64_t)signal;
	r->rsi = address_of(&frame->info);
	r->rdx = address_of(&frame->context);
	r->rax = 0;
	r->rsp = address_of(frame);
	r->rip = action->handler;
	r->rflags &= ~UINT64_C(0x500); /* direction and trap */
}

/* The shell's status of a program that a signal ended; the platform has no other word for it. */
static void (*end_process)(int signal);

void signals_set_end(void (*end)(int signal))
{
	end_process = end;
}

struct signals_copy {
	struct action actions[SIGNALS + 1];
	uint64_t pending;
	siginfo_t *info[SIGNALS + 1];
};

struct signals_copy *signals_copy(void)
{
	struct signals_copy *copy = heap_alloc(sizeof(*copy));
	if (!copy)
		return NULL;
	memcpy(copy->actions, actions, sizeof(actions));
	copy->pending = thread_pending_process;
	memcpy(copy->info, thread_pending_process_info, sizeof(copy->info));
	thread_pending_process = 0;
	memset(thread_pending_process_info, 0, sizeof(copy->info));
	return copy;
}

void signals_put_back(struct signals_copy *copy)
{
	memcpy(actions, copy->actions, sizeof(actions));
	for (int i = 1; i <= SIGNALS; i++)
		heap_free(thread_pending_process_info[i]);
	thread_pending_process = copy->pending;
	unikernel_must_look = true;
	memcpy(thread_pending_process_info, copy->info, sizeof(copy->info));
	heap_free(copy);
}

void signals_send_aside(
	struct signals_copy *copy, uint32_t group, int signal, const siginfo_t *info)
{
	bool is_waited = is_blocked_by_any(group, signal);
	if ((is_ignored(copy->actions, signal) && !is_waited) || (copy->pending & BIT(signal)))
		return;
	copy->pending |= BIT(signal);
	copy->info[signal] = heap_alloc(sizeof(*info));
	if (copy->info[signal])
		*copy->info[signal] = *info;
	wake_one(group, signal);
}

bool signals_want_children(const struct signals_copy *copy)
{
	const struct action *action = copy ? &copy->actions[SIGCHLD] : &actions[SIGCHLD];
	return action->handler != (uint64_t)(uintptr_t)SIG_IGN && !(action->flags & SA_NOCLDWAIT);
}

void signals_reset(void)
{
	for (int i = 1; i <= SIGNALS; i++)
		if (actions[i].handler != (uint64_t)(uintptr_t)SIG_IGN)
			actions[i] = (struct action){};
}

static void end_by(int signal)
{
	if (current_thread->is_gone)
		thread_exit();
	kernel_has_no_caller = true;
	if (end_process)
		end_process(signal);
	kernel_exit(128 + signal);
}

static bool can_restart(uint64_t number)
{
	switch (number) {
	case 7:   /* poll */
	case 23:  /* select */
	case 34:  /* pause */
	case 35:  /* nanosleep */
	case 128: /* rt_sigtimedwait */
	case 130: /* rt_sigsuspend */
	case 230: /* clock_nanosleep */
	case 232: /* epoll_wait */
	case 270: /* pselect6 */
	case 271: /* ppoll */
	case 281: /* epoll_pwait */
		return false;
	default:
		return true;
	}
}

static void restart(struct registers *r)
{
	r->rax = r->number;
	if (r->rcx == r->rip) { /* it trapped: a system call leaves its address there */
		r->rip -= 2;
	} else {
		r->rip = call_entry;
		r->rsp -= 8;
	}
}

bool signals_deliver(struct registers *r)
{
	siginfo_t info;
	bool has_any = false;
	for (;;) {
		int signal = take(~current_thread->blocked, &info);
		if (!signal) {
			signals_end_call();
			return has_any;
		}
		struct action action = actions[signal];
		if (is_ignored(actions, signal))
			continue;
		if (action.handler == (uint64_t)(uintptr_t)SIG_DFL)
			end_by(signal);
		if (action.flags & SA_RESETHAND)
			actions[signal].handler = (uint64_t)(uintptr_t)SIG_DFL;
		if (!has_any && r->rax == (uint64_t)-EINTR && (action.flags & SA_RESTART) &&
			can_restart(r->number))
			restart(r);
		push_frame(r, signal, &action, &info);
		has_any = true;
	}
}

void signals_fault(struct registers *r, int signal, int code, uint64_t address)
{
	siginfo_t info = { .si_signo = signal, .si_code = code };
	struct action action = actions[signal];
	info.si_addr = at(address);
	if (action.handler <= (uint64_t)(uintptr_t)SIG_IGN ||
		(current_thread->blocked & BIT(signal)))
		end_by(signal);
	if (action.flags & SA_RESETHAND)
		actions[signal].handler = (uint64_t)(uintptr_t)SIG_DFL;
	push_frame(r, signal, &action, &info);
}

bool signals_frame_failed(struct registers *r)
{
	int signal = framing;
	framing = 0;
	if (signal == SIGSEGV)
		end_by(SIGSEGV);
	if (signal)
		signals_fault(r, SIGSEGV, SI_KERNEL, 0);
	return signal != 0;
}

void signals_block_for_call(uint64_t mask)
{
	current_thread->blocked_before = current_thread->blocked;
	current_thread->has_blocked_before = true;
	current_thread->blocked = mask & ~UNBLOCKABLE;
	unikernel_must_look = true;
}

void signals_end_call(void)
{
	if (!current_thread->has_blocked_before)
		return;
	current_thread->has_blocked_before = false;
	current_thread->blocked = current_thread->blocked_before;
}

int64_t signals_action(struct registers *r)
{
	if (r->rdi == 0 || r->rdi > SIGNALS || r->r10 != sizeof(uint64_t))
		return -EINVAL;
	if (r->rsi && (BIT(r->rdi) & UNBLOCKABLE))
		return -EINVAL;
	struct action old = actions[r->rdi];
	if (r->rsi)
		memcpy(&actions[r->rdi], at(r->rsi), sizeof(struct action));
	if (r->rdx)
		memcpy(at(r->rdx), &old, sizeof(old));
	return 0;
}

int64_t signals_mask(struct registers *r)
{
	uint64_t old = current_thread->blocked, set;
	if (r->r10 != sizeof(uint64_t))
		return -EINVAL;
	if (r->rsi) {
		memcpy(&set, at(r->rsi), sizeof(set));
		if (r->rdi == SIG_BLOCK)
			set |= old;
		else if (r->rdi == SIG_UNBLOCK)
			set = old & ~set;
		else if (r->rdi != SIG_SETMASK)
			return -EINVAL;
		current_thread->blocked = set & ~UNBLOCKABLE;
		unikernel_must_look = true;
	}
	if (r->rdx)
		memcpy(at(r->rdx), &old, sizeof(old));
	return 0;
}

int64_t signals_pending(struct registers *r)
{
	uint64_t set = (current_thread->pending | thread_pending_process) & current_thread->blocked;
	memcpy(at(r->rdi), &set, sizeof(set));
	return 0;
}

int64_t signals_suspend(struct registers *r)
{
	uint64_t mask;
	memcpy(&mask, at(r->rdi), sizeof(mask));
	signals_block_for_call(mask);
	while (!thread_has_signal(current_thread))
		(void)thread_wait(FOREVER);
	return -EINTR;
}

int64_t signals_wait(struct registers *r)
{
	uint64_t wanted, deadline = FOREVER;
	siginfo_t info;
	memcpy(&wanted, at(r->rdi), sizeof(wanted));
	if (r->rdx) {
		const struct timespec *left = at(r->rdx);
		deadline = platform_clock_monotonic() + (uint64_t)left->tv_sec * 1000000000 +
			(uint64_t)left->tv_nsec;
	}
	uint64_t blocked = current_thread->blocked;
	for (;;) {
		int signal = take(wanted, &info);
		if (signal) {
			if (r->rsi)
				memcpy(at(r->rsi), &info, sizeof(info));
			return signal;
		}
		current_thread->blocked &= ~wanted;
		int result = thread_wait(deadline);
		current_thread->blocked = blocked;
		if (result == -ETIMEDOUT)
			return -EAGAIN;
		if (result == -EINTR &&
			!((current_thread->pending | thread_pending_process) & wanted))
			return -EINTR;
	}
}

int64_t signals_stack(struct registers *r)
{
	struct thread *self = current_thread;
	stack_t old = self->other_stack, set;
	bool is_on = is_on_other_stack(self, r->rsp);
	old.ss_flags = is_on ? SS_ONSTACK : old.ss_size ? 0 : SS_DISABLE;
	if (r->rdi) {
		memcpy(&set, at(r->rdi), sizeof(set));
		if (is_on)
			return -EPERM;
		if (set.ss_flags & SS_DISABLE)
			set = (stack_t){ .ss_flags = SS_DISABLE };
		else if (set.ss_size < 2048)
			return -ENOMEM;
		self->other_stack = set;
	}
	if (r->rsi)
		memcpy(at(r->rsi), &old, sizeof(old));
	return 0;
}

static int64_t (*kill_process)(int32_t wanted, int signal);

void signals_set_kill(int64_t (*to)(int32_t wanted, int signal))
{
	kill_process = to;
}

int64_t signals_kill(struct registers *r)
{
	return r->rsi > SIGNALS ? -EINVAL : kill_process((int32_t)r->rdi, (int)r->rsi);
}

/* tkill has no thread group: its arguments stand one register earlier. */
int64_t signals_tgkill(struct registers *r)
{
	bool has_group = r->number == 234;
	int32_t id = (int32_t)(has_group ? r->rsi : r->rdi);
	uint64_t signal = has_group ? r->rdx : r->rsi;
	if (signal > SIGNALS || id <= 0)
		return -EINVAL;
	for (struct thread *thread = all_threads; thread; thread = thread->next)
		if (thread->id == id && thread->group == thread_group()) {
			siginfo_t info = { .si_signo = (int)signal, .si_code = SI_TKILL };
			info.si_pid = 1;
			if (signal)
				signals_send(thread, (int)signal, &info);
			return 0;
		}
	return kill_process(id, (int)signal);
}

int64_t signals_return(struct registers *r)
{
	const struct frame *frame = at(r->rsp - 8);
	uint64_t mask;
	framing = ANY_FRAME;
	memcpy(&mask, &frame->context.uc_sigmask, sizeof(mask));
	current_thread->blocked = mask & ~UNBLOCKABLE;
	if (frame->context.uc_mcontext.fpregs)
		vector_restore(frame->context.uc_mcontext.fpregs);
	restore_registers(frame->context.uc_mcontext.gregs, r);
	framing = 0;
	r->number = UINT64_MAX;
	unikernel_must_look = true;
	return (int64_t)r->rax;
}
