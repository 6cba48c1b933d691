/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the event loop of every program: descriptors, timers, children, signals.
 *
 * One thread owns a loop; only loop_wake() may be called by another. A callback may release any source,
 * its own too; a released source is never called again. Sources do not own the descriptors they watch.
 * Time is CLOCK_MONOTONIC in ns.
 */
#pragma once

#include <sys/epoll.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

struct loop;
struct source;

int loop_new(struct loop **ret, struct error *e) must_use;
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free);

/* Runs until loop_stop(); returns its code. -errno if the kernel's part breaks. */
int loop_run(struct loop *loop) must_use;
void loop_stop(struct loop *loop, int code);

/* Waits at most `timeout_ns` (UINT64_MAX: no limit) and calls what is ready, once. */
int loop_step(struct loop *loop, uint64_t timeout_ns) must_use;

/* Wakes the loop from any thread or signal handler; it calls the source made by loop_add_wake(). */
void loop_wake(struct source *wake);

uint64_t loop_now(void);        /* CLOCK_MONOTONIC, ns */
uint64_t loop_wall_clock(void); /* CLOCK_REALTIME, ns since the epoch */

/* Each adds a source and returns it in *ret; release it with source_free(). */

typedef void loop_fd_call(void *data, int fd, uint32_t events);
/* `events` are EPOLLIN, EPOLLOUT, ...; EPOLLERR and EPOLLHUP are always reported. */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_call *call, void *data,
	struct source **ret) must_use;
int source_set_events(struct source *source, uint32_t events) must_use;

typedef void loop_call(void *data);
/* A timer, not armed until timer_set(). */
struct source *loop_add_timer(struct loop *loop, loop_call *call, void *data) must_use;
void timer_set(struct source *timer, uint64_t at_ns);
void timer_set_after(struct source *timer, uint64_t delay_ns);
void timer_stop(struct source *timer);

/* Called once, before the loop waits again. Released by itself. */
void loop_defer(struct loop *loop, loop_call *call, void *data);

typedef void loop_signal_call(void *data, int signal);
/* Blocks `signal` for the process and calls for each one that comes. */
int loop_add_signal(struct loop *loop, int signal, loop_signal_call *call, void *data,
	struct source **ret) must_use;

typedef void loop_child_call(void *data, pid_t pid, int wait_status);
/*
 * Calls once when the child has ended, with its wait status; it is reaped then. `pidfd` is borrowed and
 * must stay open until then.
 */
int loop_add_child(struct loop *loop, pid_t pid, int pidfd, loop_child_call *call, void *data,
	struct source **ret) must_use;

int loop_add_wake(struct loop *loop, loop_call *call, void *data, struct source **ret) must_use;

void source_free(struct source *source);
DEFINE_CLEANUP(struct source *, source_free);
