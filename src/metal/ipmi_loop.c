/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_loop.c - OpenIPMI nested in our event loop.
 */
#include "metal/ipmi_loop.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/time.h>

#include "base/log.h"

struct os_hnd_fd_id_s {
	struct source *source;
	os_data_ready_t ready;
	os_fd_data_freed_t freed;
	void *data;
	int fd;
};

struct os_hnd_timer_id_s {
	struct source *timer;
	os_timed_out_t call;
	void *data;
	bool is_running;
};

static void *take_memory(int size)
{
	return alloc_zeroed(1, (size_t)size);
}

static void fd_ready(void *data, int fd, uint32_t events)
{
	os_hnd_fd_id_t *id = data;
	(void)events;
	id->ready(fd, id->data, id);
}

static int add_fd(os_handler_t *handler, int fd, os_data_ready_t ready, void *data,
	os_fd_data_freed_t freed, os_hnd_fd_id_t **ret)
{
	os_hnd_fd_id_t *id = alloc(os_hnd_fd_id_t);
	*id = (os_hnd_fd_id_t){ .ready = ready, .freed = freed, .data = data, .fd = fd };
	int r = loop_add_fd(handler->user_data, fd, EPOLLIN, fd_ready, id, &id->source);
	if (r < 0) {
		free(id);
		return -r;
	}
	*ret = id;
	return 0;
}

static int remove_fd(os_handler_t *handler, os_hnd_fd_id_t *id)
{
	(void)handler;
	source_free(id->source);
	if (id->freed)
		id->freed(id->fd, id->data);
	free(id);
	return 0;
}

static void timed_out(void *data)
{
	os_hnd_timer_id_t *id = data;
	id->is_running = false;
	id->call(id->data, id);
}

static int new_timer(os_handler_t *handler, os_hnd_timer_id_t **ret)
{
	os_hnd_timer_id_t *id = alloc(os_hnd_timer_id_t);
	id->timer = loop_add_timer(handler->user_data, timed_out, id);
	*ret = id;
	return 0;
}

static int free_timer(os_handler_t *handler, os_hnd_timer_id_t *id)
{
	(void)handler;
	source_free(id->timer);
	free(id);
	return 0;
}

static int start_timer(os_handler_t *handler, os_hnd_timer_id_t *id, struct timeval *delay,
	os_timed_out_t call, void *data)
{
	(void)handler;
	if (id->is_running)
		return EBUSY;
	id->call = call;
	id->data = data;
	id->is_running = true;
	timer_set_after(
		id->timer, (uint64_t)delay->tv_sec * NS_PER_SEC + (uint64_t)delay->tv_usec * 1000);
	return 0;
}

static int stop_timer(os_handler_t *handler, os_hnd_timer_id_t *id)
{
	(void)handler;
	if (!id->is_running)
		return ESRCH;
	id->is_running = false;
	timer_stop(id->timer);
	return 0;
}

static int random_bytes(os_handler_t *handler, void *data, unsigned int length)
{
	(void)handler;
	return getrandom(data, length, 0) == (ssize_t)length ? 0 : EIO;
}

/* The library's own tale is for its debuggers. */
static void tell(os_handler_t *handler, enum ipmi_log_type_e type, const char *format, va_list list)
	__attribute__((__format__(__printf__, 3, 0)));
static void tell(os_handler_t *handler, enum ipmi_log_type_e type, const char *format, va_list list)
{
	char line[256];
	(void)handler;
	(void)type;
	vsnprintf(line, sizeof(line), format, list);
	log_debug("openipmi: %s", line);
}

static void tell_f(os_handler_t *handler, enum ipmi_log_type_e type, const char *format, ...)
	printf_like(3, 4);
static void tell_f(os_handler_t *handler, enum ipmi_log_type_e type, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	tell(handler, type, format, list);
	va_end(list);
}

static void as_time(uint64_t ns, struct timeval *ret)
{
	ret->tv_sec = (time_t)(ns / NS_PER_SEC);
	ret->tv_usec = (suseconds_t)(ns % NS_PER_SEC / 1000);
}

static int steady_time(os_handler_t *handler, struct timeval *ret)
{
	(void)handler;
	as_time(loop_now(), ret);
	return 0;
}

static int wall_time(os_handler_t *handler, struct timeval *ret)
{
	(void)handler;
	as_time(loop_wall_clock(), ret);
	return 0;
}

os_handler_t *ipmi_loop_new(struct loop *loop)
{
	/* The library's own allocator needs a handler before it can make one. */
	os_handler_t *handler = alloc(os_handler_t);
	handler->mem_alloc = take_memory;
	handler->mem_free = free;
	handler->add_fd_to_wait_for = add_fd;
	handler->remove_fd_to_wait_for = remove_fd;
	handler->alloc_timer = new_timer;
	handler->free_timer = free_timer;
	handler->start_timer = start_timer;
	handler->stop_timer = stop_timer;
	handler->get_random = random_bytes;
	handler->log = tell_f;
	handler->vlog = tell;
	handler->get_monotonic_time = steady_time;
	handler->get_real_time = wall_time;
	handler->user_data = loop;
	return handler;
}
