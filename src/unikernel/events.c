/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c - files that count (eventfd) and files that tell the time (timerfd).
 */
#include "unikernel/events.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "unikernel/heap.h"

struct counter {
	uint64_t value;
	bool is_semaphore;
};

static int64_t counter_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	struct counter *counter = file->object;
	uint64_t value = counter->is_semaphore ? 1 : counter->value;
	(void)position;
	if (size < sizeof(value))
		return -EINVAL;
	if (counter->value == 0)
		return -EAGAIN;
	counter->value -= value;
	memcpy(to, &value, sizeof(value));
	wait_notify(file->queue);
	return sizeof(value);
}

static int64_t counter_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	struct counter *counter = file->object;
	uint64_t value;
	(void)position;
	if (size < sizeof(value))
		return -EINVAL;
	memcpy(&value, from, sizeof(value));
	if (value == UINT64_MAX)
		return -EINVAL;
	if (value > UINT64_MAX - 1 - counter->value)
		return -EAGAIN;
	counter->value += value;
	wait_notify(file->queue);
	return sizeof(value);
}

static uint32_t counter_poll(struct file *file)
{
	const struct counter *counter = file->object;
	return (counter->value > 0 ? POLLIN : 0u) |
		(counter->value < UINT64_MAX - 1 ? POLLOUT : 0u);
}

static void object_close(struct file *file)
{
	heap_free(file->object);
}

static const struct file_operations counter_operations = {
	.read = counter_read,
	.write = counter_write,
	.seek = file_no_seek,
	.stat = file_stat_anonymous,
	.ioctl = file_no_ioctl,
	.poll = counter_poll,
	.close = object_close,
};

int64_t events_new_counter(uint64_t first, uint32_t flags, struct file **ret)
{
	struct counter *counter = heap_alloc(sizeof(*counter));
	struct file *file = counter ? file_new(&counter_operations, O_RDWR | (flags & O_NONBLOCK),
					      "anon_inode:[eventfd]")
				    : NULL;
	if (!file) {
		heap_free(counter);
		return -ENOMEM;
	}
	counter->value = first;
	counter->is_semaphore = (flags & EFD_SEMAPHORE) != 0;
	file->object = counter;
	*ret = file;
	return 0;
}

struct timer_file {
	struct timer timer;
	struct file *file;
	uint64_t interval_ns, expirations;
	bool is_realtime;
};

static void expire(struct timer *timer)
{
	struct timer_file *self = (struct timer_file *)timer;
	self->expirations++;
	if (self->interval_ns) {
		uint64_t now = platform_clock_monotonic(), next = timer->deadline_ns;
		next += self->interval_ns;
		while (next <= now) {
			next += self->interval_ns;
			self->expirations++;
		}
		timer_set(timer, next);
	}
	wait_notify(self->file->queue);
}

/* Nobody may have waited since the timer ran out. */
static void catch_up(struct timer_file *self)
{
	if (self->timer.is_set && self->timer.deadline_ns <= platform_clock_monotonic()) {
		timer_cancel(&self->timer);
		expire(&self->timer);
	}
}

static int64_t timer_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	struct timer_file *self = file->object;
	(void)position;
	if (size < sizeof(uint64_t))
		return -EINVAL;
	catch_up(self);
	if (!self->expirations)
		return -EAGAIN;
	memcpy(to, &self->expirations, sizeof(uint64_t));
	self->expirations = 0;
	return sizeof(uint64_t);
}

static uint32_t timer_poll(struct file *file)
{
	struct timer_file *self = file->object;
	catch_up(self);
	return self->expirations ? POLLIN : 0;
}

static void timer_close(struct file *file)
{
	timer_cancel(&((struct timer_file *)file->object)->timer);
	heap_free(file->object);
}

static const struct file_operations timer_operations = {
	.read = timer_read,
	.write = file_no_write,
	.seek = file_no_seek,
	.stat = file_stat_anonymous,
	.ioctl = file_no_ioctl,
	.poll = timer_poll,
	.close = timer_close,
};

int64_t events_new_timer(uint64_t clock, uint32_t flags, struct file **ret)
{
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
		return -EINVAL;
	struct timer_file *self = heap_alloc(sizeof(*self));
	struct file *file = self
		? file_new(&timer_operations, O_RDWR | (flags & O_NONBLOCK), "anon_inode:[timerfd]")
		: NULL;
	if (!file) {
		heap_free(self);
		return -ENOMEM;
	}
	self->timer.expire = expire;
	self->file = file;
	self->is_realtime = clock == CLOCK_REALTIME;
	file->object = self;
	*ret = file;
	return 0;
}

bool events_is_timer(const struct file *file)
{
	return file->operations == &timer_operations;
}

void events_get_timer(const struct file *file, struct itimerspec *ret)
{
	const struct timer_file *self = file->object;
	uint64_t now = platform_clock_monotonic(), left = 0;
	if (self->timer.is_set && self->timer.deadline_ns > now)
		left = self->timer.deadline_ns - now;
	*ret = (struct itimerspec){ timespec_of(self->interval_ns), timespec_of(left) };
}

int64_t events_set_timer(
	struct file *file, uint64_t flags, const struct itimerspec *set, struct itimerspec *old)
{
	struct timer_file *self = file->object;
	if ((uint64_t)set->it_value.tv_nsec > 999999999 ||
		(uint64_t)set->it_interval.tv_nsec > 999999999)
		return -EINVAL;
	if (old)
		events_get_timer(file, old);
	timer_cancel(&self->timer);
	self->expirations = 0;
	self->interval_ns = ns_of(&set->it_interval);
	uint64_t value = ns_of(&set->it_value), now = platform_clock_monotonic();
	if (value == 0)
		return 0;
	if (!(flags & TFD_TIMER_ABSTIME)) {
		value += now;
	} else if (self->is_realtime) {
		uint64_t today = platform_clock_realtime();
		value = value > today ? now + (value - today) : now;
	}
	timer_set(&self->timer, value);
	return 0;
}
