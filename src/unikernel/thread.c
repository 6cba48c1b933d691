/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.c - the program's threads, which of them runs, and how they wait.
 *
 * Theory of operation. Threads that can run stand in one queue. thread_wait() takes the next of them; when
 * there is none it asks the platform to wait for a device or the earliest timer. A thread that is made ready
 * before anybody else ran goes on without a switch, so its vector state is never saved. Who computes for a while is
 * interrupted by the platform, if that can, and goes to the end of the queue.
 */
#include "unikernel/thread.h"

#include <sys/syscall.h>

#include "unikernel/answers.h"
#include "unikernel/exit.h"
#include "unikernel/heap.h"

struct thread *all_threads;
uint64_t thread_pending_process;
siginfo_t *thread_pending_process_info[65];
bool thread_has_ticked;

static struct thread first_thread;
static struct thread *ready_first, *ready_last;
static struct thread *dead; /* ended; its stack can be freed once another one runs */
static struct timer *timers;
static void (*device_poll)(bool takes_frames);
static bool (*wants_console)(void);
static void (*has_console)(void);
static uint64_t last_look;
static bool looks_on; /* the last sleep was short: it was not worth it */
static uint32_t running_group;
static bool (*switch_group)(uint32_t group);
static bool is_turn_over;
static uint64_t turn_began;
static bool uses_fsgsbase;
static int32_t last_id = 1;
static uint64_t vector_size;
static uint32_t vector_low, vector_high; /* the components of it */

void thread_switch(uint64_t *save_sp, uint64_t sp);

#define VECTOR_ALIGN 64u
#define VECTOR_LEAST 576u   /* what was there before there were components, and the header */
#define LOOK_CYCLES  30000u /* some ten microseconds */
#define LOOK_OTHERS  200000u
#define LOOK_SELDOM  2000000u
#define LOOK_ON      15000u /* no longer than it costs to sleep and be woken, on both sides */
#define SLEEP_SHORT  60000u
#define TURN         40000000u /* of a process that computes */

static void ask_cpuid(uint32_t part, uint32_t *a, uint32_t *b, uint32_t *d)
{
	uint32_t c = part;
	*a = 0xd;
	__asm__ volatile("cpuid" : "+a"(*a), "=b"(*b), "+c"(c), "=d"(*d));
}

/* Of what is enabled only that which the processor names: some hosts of virtual machines enable more than they say. */
static void find_vector(void)
{
	uint32_t low, high, a, b, d;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	ask_cpuid(0, &a, &b, &d);
	vector_low = low & a;
	vector_high = high & d;
	vector_size = low == a && high == d ? b : VECTOR_LEAST;
	if (vector_size > VECTOR_LEAST)
		return;
	for (uint32_t part = 2; part < 63; part++) {
		if (!((part < 32 ? vector_low >> part : vector_high >> (part - 32)) & 1))
			continue;
		ask_cpuid(part, &a, &b, &d);
		if (a && b + a > vector_size)
			vector_size = b + a;
	}
}

uint64_t vector_bytes(void)
{
	if (!vector_size)
		find_vector();
	return vector_size;
}

void vector_save(void *area)
{
	__asm__ volatile("xsave64 (%0)"
			 :
			 : "r"(area), "a"(vector_low), "d"(vector_high)
			 : "memory");
}

void vector_restore(const void *area)
{
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(area), "a"(vector_low), "d"(vector_high)
			 : "memory");
}

static void *vector_of(const struct thread *thread)
{
	return at((address_of(thread->vector_state) + VECTOR_ALIGN - 1) &
		~(uint64_t)(VECTOR_ALIGN - 1));
}

static void wake_by_timer(struct timer *timer)
{
	struct thread *thread =
		(struct thread *)((uint8_t *)timer - offsetof(struct thread, timer));
	thread->has_timed_out = true;
	thread_ready(thread);
}

/* What was known of the thread before is not of this one. */
static void set_current(struct thread *thread)
{
	current_thread = thread;
	current_registers = at(thread->kernel_sp - sizeof(struct registers));
	answers[SYS_gettid] = thread->id;
	unikernel_must_look = true;
}

void thread_init(void *kernel_stack, bool has_fsgsbase)
{
	first_thread.id = 1;
	first_thread.stack = kernel_stack;
	first_thread.kernel_sp = address_of(kernel_stack) + KERNEL_STACK - 8;
	first_thread.vector_state = heap_alloc(vector_bytes() + VECTOR_ALIGN);
	first_thread.timer.expire = wake_by_timer;
	all_threads = &first_thread;
	set_current(&first_thread);
	current_registers->cs = USER_CS;
	current_registers->ss = USER_SS;
	uses_fsgsbase = has_fsgsbase;
}

void thread_set_device_poll(void (*poll)(bool takes_frames))
{
	device_poll = poll;
}

void thread_set_console(bool (*wants)(void), void (*has)(void))
{
	wants_console = wants;
	has_console = has;
}

uint64_t thread_fs(void)
{
	uint64_t fs = current_thread->fs;
	if (uses_fsgsbase)
		__asm__ volatile("rdfsbase %0" : "=r"(fs));
	return fs;
}

void thread_set_fs(uint64_t address)
{
	current_thread->fs = address;
	if (uses_fsgsbase)
		__asm__ volatile("wrfsbase %0" : : "r"(address));
	else
		platform_set_fs(address);
}

struct thread *thread_new(const struct registers *registers)
{
	struct thread *thread = heap_alloc(sizeof(*thread));
	void *stack = at(memory_alloc(KERNEL_STACK));
	void *vector = heap_alloc(vector_bytes() + VECTOR_ALIGN);
	if (!thread || !stack || !vector) {
		heap_free(thread);
		heap_free(vector);
		if (stack)
			memory_free(address_of(stack), KERNEL_STACK);
		return NULL;
	}
	thread->id = ++last_id;
	thread->stack = stack;
	thread->vector_state = vector;
	thread->kernel_sp = address_of(stack) + KERNEL_STACK - 8;
	thread->timer.expire = wake_by_timer;
	vector_save(vector_of(thread));
	struct registers *frame = at(thread->kernel_sp - sizeof(*frame));
	*frame = *registers;
	uint64_t *sp = (uint64_t *)frame;
	*--sp = address_of((void *)(uintptr_t)unikernel_resume);
	for (int i = 0; i < 6; i++)
		*--sp = 0;
	thread->switch_sp = address_of(sp);
	thread->group = current_thread->group;
	thread->next = all_threads;
	all_threads = thread;
	return thread;
}

void thread_ready(struct thread *thread)
{
	if (thread->is_ready)
		return;
	thread->is_ready = true;
	thread->next_ready = NULL;
	if (ready_first)
		ready_last->next_ready = thread;
	else
		ready_first = thread;
	ready_last = thread;
}

uint32_t thread_set_group(uint32_t group)
{
	uint32_t before = running_group;
	running_group = group;
	return before;
}

uint32_t thread_group(void)
{
	return running_group;
}

static struct thread *take_ready(void)
{
	struct thread *before = NULL, *thread = ready_first;
	while (thread && thread->group != running_group) {
		before = thread;
		thread = thread->next_ready;
	}
	if (!thread)
		return NULL;
	if (before)
		before->next_ready = thread->next_ready;
	else
		ready_first = thread->next_ready;
	if (ready_last == thread)
		ready_last = before;
	thread->is_ready = false;
	return thread;
}

static uint64_t cycles(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* Another process's: it runs from now on. */
static struct thread *take_other(void)
{
	for (const struct thread *thread = ready_first; thread; thread = thread->next_ready)
		if (thread->group != running_group && switch_group && switch_group(thread->group)) {
			running_group = thread->group;
			turn_began = cycles();
			return take_ready();
		}
	return NULL;
}

static struct thread *take_any(void)
{
	struct thread *next = take_ready();
	return next ? next : take_other();
}

static void free_dead(void)
{
	if (!dead)
		return;
	memory_free(address_of(dead->stack), KERNEL_STACK);
	heap_free(dead->vector_state);
	if (dead != &first_thread)
		heap_free(dead);
	dead = NULL;
}

static void switch_to(struct thread *next)
{
	struct thread *old = current_thread;
	if (next == old)
		return;
	if (old != dead) {
		old->fs = thread_fs();
		vector_save(vector_of(old));
	}
	set_current(next);
	vector_restore(vector_of(next));
	thread_set_fs(next->fs);
	thread_switch(&old->switch_sp, next->switch_sp);
	/* Another thread has switched back to this one. */
	free_dead();
}

uint64_t timer_first(void)
{
	return timers ? timers->deadline_ns : FOREVER;
}

void timer_run(void)
{
	if (!timers)
		return;
	uint64_t now = platform_clock_monotonic();
	while (timers && timers->deadline_ns <= now) {
		struct timer *timer = timers;
		timers = timer->next;
		timer->is_set = false;
		timer->expire(timer);
	}
}

/* Hands on signals from outside. */
static void (*take_outside)(void);

void thread_set_outside(void (*take)(void))
{
	take_outside = take;
}

static void look(bool takes_frames)
{
	if (device_poll)
		device_poll(takes_frames);
	if (takes_frames)
		last_look = cycles();
}

static bool is_old(uint64_t then, uint64_t most)
{
	return cycles() - then > most;
}

static bool is_look_old(uint64_t most)
{
	return is_old(last_look, most);
}

/*
 * Before it sleeps: where frames have just come faster than a sleep takes, the next may be here in a moment. Who is asked once
 * in a while, and whose client needs the same processor, sleeps long and so does not look.
 */
static void look_on(void)
{
	uint64_t began = cycles();
	do
		look(true);
	while (!ready_first && !platform_signals && !is_old(began, LOOK_ON));
}

void thread_look(void)
{
	look(is_look_old(LOOK_CYCLES));
	timer_run();
}

void thread_look_at_times(void)
{
	if (is_look_old(LOOK_SELDOM))
		thread_look();
}

static struct thread *next_thread(void)
{
	timer_run();
	struct thread *next = is_turn_over ? take_other() : NULL;
	is_turn_over = false;
	if (!next)
		next = take_any();
	if (next) {
		/* Threads that never stop must not keep the network from moving. */
		if (is_look_old(LOOK_OTHERS))
			look(true);
		return next;
	}
	for (;;) {
		next = take_any(); /* whom the last wait has made so: what is kept back for an answer waits on */
		if (next)
			return next;
		look(false); /* the wait says whether there are frames */
		if (looks_on)
			look_on();
		next = take_any();
		if (next)
			return next;
		bool wants = wants_console && wants_console();
		uint64_t began = cycles();
		uint32_t ready = platform_wait(timer_first(), wants);
		looks_on = (ready & PLATFORM_NET) && !is_old(began, SLEEP_SHORT);
		if (platform_signals && take_outside)
			take_outside();
		if (wants && (ready & PLATFORM_CONSOLE))
			has_console();
		timer_run();
		look((ready & PLATFORM_NET) != 0);
	}
}

void thread_set_switch(bool (*to)(uint32_t group))
{
	switch_group = to;
}

static void take_out(struct thread *thread)
{
	for (struct thread **link = &all_threads; *link; link = &(*link)->next)
		if (*link == thread) {
			*link = thread->next;
			break;
		}
	timer_cancel(&thread->timer);
}

void thread_drop(struct thread *thread)
{
	take_out(thread);
	memory_free(address_of(thread->stack), KERNEL_STACK);
	heap_free(thread->vector_state);
	heap_free(thread);
}

/* It has not run yet, so nothing of it hangs anywhere but among those that are ready. */
static bool drop_fresh(struct thread *thread)
{
	const uint64_t *sp = at(thread->switch_sp);
	if (!thread->is_ready || sp[6] != address_of((void *)(uintptr_t)unikernel_resume))
		return false;
	struct thread *before = NULL;
	for (struct thread *other = ready_first; other != thread; other = other->next_ready)
		before = other;
	*(before ? &before->next_ready : &ready_first) = thread->next_ready;
	if (ready_last == thread)
		ready_last = before;
	thread_drop(thread);
	return true;
}

/* Each goes on to the end of its call, which gives it no more time, and exits there. */
void thread_end_others(void)
{
	for (struct thread *next, *thread = all_threads; thread; thread = next) {
		next = thread->next;
		if (thread == current_thread || thread->group != running_group ||
			drop_fresh(thread))
			continue;
		thread->is_gone = true;
		thread->pending |= UINT64_C(1) << (SIGKILL - 1);
		if (thread->is_waiting)
			thread_ready(thread);
	}
	for (;;) {
		thread_ready(current_thread);
		struct thread *next = take_ready();
		switch_to(next);
		if (next == current_thread)
			break;
	}
}

int thread_wait_frozen(void)
{
	switch_to(next_thread());
	return 0;
}

void thread_yield(void)
{
	if (!ready_first)
		return;
	thread_ready(current_thread);
	switch_to(next_thread());
}

void thread_tick(void)
{
	thread_has_ticked = false;
	is_turn_over = is_old(turn_began, TURN);
	look(true);
	timer_run();
	thread_yield();
}

bool thread_has_signal(const struct thread *thread)
{
	return ((thread->pending | thread_pending_process) & ~thread->blocked) != 0;
}

int thread_wait(uint64_t deadline_ns)
{
	struct thread *self = current_thread;
	if (thread_has_signal(self) && !self->is_ready)
		return -EINTR;
	self->has_timed_out = false;
	if (deadline_ns != FOREVER)
		timer_set(&self->timer, deadline_ns);
	self->is_waiting = true;
	switch_to(next_thread());
	self->is_waiting = false;
	timer_cancel(&self->timer);
	if (self->has_timed_out)
		return -ETIMEDOUT;
	return thread_has_signal(self) ? -EINTR : 0;
}

void thread_exit(void)
{
	struct thread *self = current_thread;
	kernel_has_no_caller = true;
	take_out(self);
	struct thread *next = next_thread();
	free_dead();
	dead = self;
	kernel_has_no_caller = false;
	switch_to(next);
	__builtin_unreachable();
}

struct thread_entry {
	struct wait_entry entry;
	struct thread *thread;
};

static void wake_thread(struct wait_entry *entry)
{
	thread_ready(((struct thread_entry *)entry)->thread);
}

int wait_on(struct wait_queue *queue, uint64_t deadline_ns)
{
	struct thread_entry waiter = { { NULL, NULL, wake_thread }, current_thread };
	wait_add(queue, &waiter.entry);
	int r = thread_wait(deadline_ns);
	wait_remove(&waiter.entry);
	return r;
}

void wait_add(struct wait_queue *queue, struct wait_entry *entry)
{
	entry->next = queue->first;
	entry->link = &queue->first;
	if (entry->next)
		entry->next->link = &entry->next;
	queue->first = entry;
}

void wait_remove(struct wait_entry *entry)
{
	if (!entry->link)
		return;
	*entry->link = entry->next;
	if (entry->next)
		entry->next->link = entry->link;
	entry->link = NULL;
}

void wait_notify(struct wait_queue *queue)
{
	struct wait_entry *next;
	for (struct wait_entry *entry = queue->first; entry; entry = next) {
		next = entry->next;
		entry->notify(entry);
	}
}

uint32_t wait_events = UINT32_MAX;

void wait_notify_of(struct wait_queue *queue, uint32_t events)
{
	uint32_t before = wait_events; /* epoll tells another one in between */
	wait_events = events;
	wait_notify(queue);
	wait_events = before;
}

void timer_set(struct timer *timer, uint64_t deadline_ns)
{
	timer_cancel(timer);
	struct timer **link = &timers;
	while (*link && (*link)->deadline_ns <= deadline_ns)
		link = &(*link)->next;
	timer->deadline_ns = deadline_ns;
	timer->next = *link;
	timer->is_set = true;
	*link = timer;
}

void timer_cancel(struct timer *timer)
{
	if (!timer->is_set)
		return;
	for (struct timer **link = &timers; *link; link = &(*link)->next)
		if (*link == timer) {
			*link = timer->next;
			break;
		}
	timer->is_set = false;
}
