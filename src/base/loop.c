/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - the event loop on epoll.
 *
 * Theory of operation. Every source is one heap object. Those with a descriptor are registered with
 * epoll, their address in the event. Timers stand in a binary heap by time; the nearest one bounds the
 * wait. A source that is released while a batch of events is being delivered may still stand in that
 * batch, so it is only marked dead and put on a list that is emptied between batches.
 */
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#define LOOP_BATCH  64
#define NOT_IN_HEAP SIZE_MAX

enum source_type {
	SOURCE_FD,
	SOURCE_TIMER,
	SOURCE_SIGNAL,
	SOURCE_CHILD,
	SOURCE_WAKE,
	SOURCE_DEFER
};

struct source {
	struct loop *loop;
	enum source_type type;
	bool is_dead;
	int fd; /* what epoll watches, or -1 */
	void *data;
	struct source *next; /* of the dead or of the deferred */
	union {
		loop_fd_call *call_fd;
		loop_call *call;
		loop_signal_call *call_signal;
		loop_child_call *call_child;
	};
	uint64_t at_ns;    /* timers */
	size_t heap_index; /* timers */
	pid_t pid;         /* children */
};

struct loop {
	int epoll_fd;
	bool is_stopped;
	int code;
	struct source **heap;
	size_t heap_count;
	size_t heap_size;
	struct source *dead;
	struct source *deferred;
	struct source **deferred_end;
};

uint64_t loop_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t loop_wall_clock(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

int loop_new(struct loop **ret, struct error *e)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "epoll_create");
	struct loop *loop = alloc(struct loop);
	loop->epoll_fd = fd;
	loop->deferred_end = &loop->deferred;
	*ret = loop;
	return 0;
}

static void bury(struct loop *loop)
{
	while (loop->dead) {
		struct source *source = loop->dead;
		loop->dead = source->next;
		free(source);
	}
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->deferred) {
		struct source *source = loop->deferred;
		loop->deferred = source->next;
		free(source);
	}
	bury(loop);
	free(loop->heap);
	close(loop->epoll_fd);
	free(loop);
}

static void heap_put(struct loop *loop, size_t index, struct source *source)
{
	loop->heap[index] = source;
	source->heap_index = index;
}

static void heap_sift(struct loop *loop, size_t index)
{
	struct source *source = loop->heap[index];
	while (index > 0 && loop->heap[(index - 1) / 2]->at_ns > source->at_ns) {
		heap_put(loop, index, loop->heap[(index - 1) / 2]);
		index = (index - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * index + 1;
		if (child >= loop->heap_count)
			break;
		if (child + 1 < loop->heap_count &&
			loop->heap[child + 1]->at_ns < loop->heap[child]->at_ns)
			child++;
		if (loop->heap[child]->at_ns >= source->at_ns)
			break;
		heap_put(loop, index, loop->heap[child]);
		index = child;
	}
	heap_put(loop, index, source);
}

void timer_stop(struct source *timer)
{
	struct loop *loop = timer->loop;
	size_t index = timer->heap_index;
	if (index == NOT_IN_HEAP)
		return;
	timer->heap_index = NOT_IN_HEAP;
	struct source *last = loop->heap[--loop->heap_count];
	if (last != timer) {
		heap_put(loop, index, last);
		heap_sift(loop, index);
	}
}

void timer_set(struct source *timer, uint64_t at_ns)
{
	struct loop *loop = timer->loop;
	timer_stop(timer);
	if (loop->heap_count == loop->heap_size) {
		loop->heap_size = loop->heap_size ? 2 * loop->heap_size : 16;
		loop->heap = alloc_resize(loop->heap, loop->heap_size, sizeof(loop->heap[0]));
	}
	timer->at_ns = at_ns;
	heap_put(loop, loop->heap_count++, timer);
	heap_sift(loop, loop->heap_count - 1);
}

void timer_set_after(struct source *timer, uint64_t delay_ns)
{
	timer_set(timer, loop_now() + delay_ns);
}

static struct source *source_new(struct loop *loop, enum source_type type, int fd, void *data)
{
	struct source *source = alloc(struct source);
	source->loop = loop;
	source->type = type;
	source->fd = fd;
	source->data = data;
	source->heap_index = NOT_IN_HEAP;
	return source;
}

static int source_watch(struct source *source, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };
	if (epoll_ctl(source->loop->epoll_fd, operation, source->fd, &event) < 0)
		return -errno;
	return 0;
}

/* Registers `source` or frees it. */
static int source_start(struct source *source, uint32_t events, struct source **ret)
{
	int r = source_watch(source, EPOLL_CTL_ADD, events);
	if (r < 0) {
		free(source);
		return r;
	}
	*ret = source;
	return 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_call *call, void *data,
	struct source **ret)
{
	struct source *source = source_new(loop, SOURCE_FD, fd, data);
	source->call_fd = call;
	return source_start(source, events, ret);
}

int source_set_events(struct source *source, uint32_t events)
{
	return source_watch(source, EPOLL_CTL_MOD, events);
}

struct source *loop_add_timer(struct loop *loop, loop_call *call, void *data)
{
	struct source *source = source_new(loop, SOURCE_TIMER, -1, data);
	source->call = call;
	return source;
}

void loop_defer(struct loop *loop, loop_call *call, void *data)
{
	struct source *source = source_new(loop, SOURCE_DEFER, -1, data);
	source->call = call;
	*loop->deferred_end = source;
	loop->deferred_end = &source->next;
}

int loop_add_signal(
	struct loop *loop, int signal, loop_signal_call *call, void *data, struct source **ret)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	int r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (r != 0)
		return -r;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	struct source *source = source_new(loop, SOURCE_SIGNAL, fd, data);
	source->call_signal = call;
	r = source_start(source, EPOLLIN, ret);
	if (r < 0)
		close(fd);
	return r;
}

int loop_add_child(struct loop *loop, pid_t pid, int pidfd, loop_child_call *call, void *data,
	struct source **ret)
{
	struct source *source = source_new(loop, SOURCE_CHILD, pidfd, data);
	source->call_child = call;
	source->pid = pid;
	return source_start(source, EPOLLIN, ret);
}

int loop_add_wake(struct loop *loop, loop_call *call, void *data, struct source **ret)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	struct source *source = source_new(loop, SOURCE_WAKE, fd, data);
	source->call = call;
	int r = source_start(source, EPOLLIN, ret);
	if (r < 0)
		close(fd);
	return r;
}

void loop_wake(struct source *wake)
{
	uint64_t one = 1;
	(void)!write(wake->fd, &one, sizeof(one));
}

void source_free(struct source *source)
{
	if (!source || source->is_dead)
		return;
	source->is_dead = true;
	if (source->type == SOURCE_TIMER)
		timer_stop(source);
	if (source->fd >= 0)
		epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->type == SOURCE_SIGNAL || source->type == SOURCE_WAKE)
		close(source->fd);
	source->next = source->loop->dead;
	source->loop->dead = source;
}

static void deliver_signals(struct source *source)
{
	struct signalfd_siginfo info;
	while (!source->is_dead && read(source->fd, &info, sizeof(info)) == sizeof(info))
		source->call_signal(source->data, (int)info.ssi_signo);
}

static void deliver_child(struct source *source)
{
	int status;
	pid_t got = waitpid(source->pid, &status, WNOHANG);
	if (got != source->pid)
		return;
	loop_child_call *call = source->call_child;
	void *data = source->data;
	source_free(source);
	call(data, got, status);
}

static void deliver(struct source *source, uint32_t events)
{
	uint64_t count;
	switch (source->type) {
	case SOURCE_FD:
		source->call_fd(source->data, source->fd, events);
		break;
	case SOURCE_SIGNAL:
		deliver_signals(source);
		break;
	case SOURCE_CHILD:
		deliver_child(source);
		break;
	case SOURCE_WAKE:
		if (read(source->fd, &count, sizeof(count)) == sizeof(count))
			source->call(source->data);
		break;
	case SOURCE_TIMER:
	case SOURCE_DEFER:
		source->call(source->data);
		break;
	}
}

static void deliver_timers(struct loop *loop)
{
	uint64_t now = loop_now();
	while (loop->heap_count > 0 && loop->heap[0]->at_ns <= now) {
		struct source *timer = loop->heap[0];
		timer_stop(timer);
		deliver(timer, 0);
	}
}

static void deliver_deferred(struct loop *loop)
{
	struct source *source = loop->deferred;
	loop->deferred = NULL;
	loop->deferred_end = &loop->deferred;
	while (source) {
		struct source *next = source->next;
		deliver(source, 0);
		free(source);
		source = next;
	}
}

static uint64_t wait_at_most(struct loop *loop, uint64_t timeout_ns)
{
	if (loop->deferred)
		return 0;
	if (loop->heap_count == 0)
		return timeout_ns;
	uint64_t now = loop_now();
	uint64_t left = loop->heap[0]->at_ns > now ? loop->heap[0]->at_ns - now : 0;
	return left < timeout_ns ? left : timeout_ns;
}

int loop_step(struct loop *loop, uint64_t timeout_ns)
{
	uint64_t wait_ns = wait_at_most(loop, timeout_ns);
	int wait_ms = -1;
	if (wait_ns != UINT64_MAX) {
		uint64_t ms = wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0);
		wait_ms = ms > INT_MAX ? INT_MAX : (int)ms;
	}
	struct epoll_event events[LOOP_BATCH];
	int count = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, wait_ms);
	if (count < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < count; i++) {
		struct source *source = events[i].data.ptr;
		if (!source->is_dead)
			deliver(source, events[i].events);
	}
	deliver_timers(loop);
	deliver_deferred(loop);
	bury(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->is_stopped = false;
	while (!loop->is_stopped) {
		int r = loop_step(loop, UINT64_MAX);
		if (r < 0)
			return r;
	}
	return loop->code;
}

void loop_stop(struct loop *loop, int code)
{
	loop->is_stopped = true;
	loop->code = code;
}
