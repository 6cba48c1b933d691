/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.h - the program's threads, which of them runs, and how they wait.
 *
 * One thread runs until it blocks: nothing here is interrupted. Who waits hangs a wait_entry on a
 * wait_queue; who changes what is waited for calls wait_notify(). A timer calls its function once the
 * monotonic clock has passed it, at the next time that a thread blocks.
 */
#pragma once

#include <signal.h>

#include "unikernel/kernel.h"

#define FOREVER UINT64_MAX

struct wait_entry {
	struct wait_entry *next;
	struct wait_entry **link; /* what points to this one; NULL while it hangs nowhere */
	void (*notify)(struct wait_entry *entry);
};

struct wait_queue {
	struct wait_entry *first;
};

struct timer {
	struct timer *next;
	uint64_t deadline_ns;
	bool is_set;
	void (*expire)(struct timer *timer);
};

struct thread {
	uint64_t kernel_sp; /* entry.S: where struct registers ends, 8 below a multiple of 16 */
	int32_t id;
	uint32_t shape; /* of its last call: see THREAD_ */
	uint64_t fs;
	uint64_t clear_child_tid;
	uint64_t robust_list;

	/* While it does not run. */
	uint64_t switch_sp;
	void *vector_state;
	struct thread *next_ready;
	uint32_t group; /* of the process it belongs to; only one group runs */
	bool is_ready;
	bool is_gone;    /* its process ends: it unwinds and exits */
	bool is_waiting; /* in thread_wait() */
	bool has_timed_out;
	struct timer timer;

	/* Signals: what is blocked, what waits, and the other stack. */
	uint64_t blocked;
	uint64_t blocked_before; /* what sigsuspend and its kind restore */
	bool has_blocked_before;
	uint64_t pending;
	siginfo_t *pending_info[65];
	stack_t other_stack;

	void *stack;
	struct thread *next; /* all threads */
	char name[16];
};

/* Hidden, so that looking at it is one instruction (current.S has them). */
extern struct thread *current_thread __attribute__((__visibility__("hidden")));
extern struct registers *current_registers
	__attribute__((__visibility__("hidden"))); /* of its call */
extern struct thread *all_threads;
extern uint64_t thread_pending_process
	__attribute__((__visibility__("hidden"))); /* signals for whichever thread takes them */
extern siginfo_t *thread_pending_process_info[65];

/* Makes the first thread the one that runs. `has_fsgsbase`: the base of FS can be read and set by instructions. */
void thread_init(void *kernel_stack, bool has_fsgsbase);

/* A new thread that will go on with `registers`; NULL without memory. It is not ready yet. */
struct thread *thread_new(const struct registers *registers);

/* One that was never ready. */
void thread_drop(struct thread *thread);

/* Ends the current thread; another one goes on. If it is the last, the caller has to exit instead. */
void thread_exit(void) __attribute__((__noreturn__));

void thread_set_fs(uint64_t address);
uint64_t thread_fs(void);

void thread_ready(struct thread *thread);
bool thread_has_signal(const struct thread *thread);

/* From now on threads of this group run, and no others. Returns the group before. */
uint32_t thread_set_group(uint32_t group);
uint32_t thread_group(void);

#define GROUP_NONE UINT32_MAX

/* Where no thread of the running group can run, `to` is asked to make another group the one that runs. */
void thread_set_switch(bool (*to)(uint32_t group));

/* Ends all threads of the running group but the current one. */
void thread_end_others(void);

/* Waits although the own group does not run: until somebody makes this thread ready and its group run. */
int thread_wait_frozen(void);

/* Lets the others run. */
void thread_yield(void);

/* The program has computed for a while (BOOT_TICK): devices, timers and other threads have their turn. */
extern bool thread_has_ticked;
void thread_tick(void);

/*
 * Waits until somebody calls thread_ready() for this thread. 0, or -ETIMEDOUT when the clock has passed
 * `deadline_ns`, or -EINTR when a signal came that it does not block.
 */
int thread_wait(uint64_t deadline_ns);

/* Hangs the current thread on the queue and waits once. */
int wait_on(struct wait_queue *queue, uint64_t deadline_ns);

void wait_add(struct wait_queue *queue, struct wait_entry *entry);
void wait_remove(struct wait_entry *entry);
void wait_notify(struct wait_queue *queue);

/* Tells of these events of poll only; `wait_events` says so to whom it concerns. */
void wait_notify_of(struct wait_queue *queue, uint32_t events);
extern uint32_t wait_events;

void timer_set(struct timer *timer, uint64_t deadline_ns);
void timer_cancel(struct timer *timer);

/* When the earliest timer runs out, or FOREVER; and lets those that have run out do what they do. */
uint64_t timer_first(void);
void timer_run(void);

/*
 * What looks whether devices have something: the network's function whenever a thread waits and now and then while
 * others run, the console's when the platform says that there is something and `wants_console` said yes.
 */
void thread_set_device_poll(void (*poll)(bool takes_frames));
void thread_set_console(bool (*wants_console)(void), void (*has_console)(void));

/* Lets devices be looked at without waiting, for calls that only look; the card each ten microseconds at most. */
void thread_look(void);

/* For calls that found what they wanted at once: so that who always does keeps the network moving, too. */
void thread_look_at_times(void);

/* The function that hands on signals from outside, called when a wait ended by one. */
void thread_set_outside(void (*take)(void));

/* Saves and restores the vector state of the processor; `area` is aligned to 64 and vector_bytes() large. */
uint64_t vector_bytes(void);
void vector_save(void *area);
void vector_restore(const void *area);
