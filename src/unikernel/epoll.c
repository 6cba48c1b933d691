/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll.c - waiting for many files.
 *
 * Theory of operation. Every watched file has an item, which hangs on the file's wait queue. A notification puts
 * the item on the list of those to look at; epoll_wait looks only at these. A level-triggered item that was
 * reported goes back onto the list. The item does not hold the file: closing its last descriptor must close it,
 * so its end takes the item away.
 */
#include <fcntl.h>

#include "unikernel/descriptors.h"
#include "unikernel/heap.h"
#include "unikernel/poll.h"

struct item {
	struct wait_entry entry;
	struct epoll *epoll;
	struct item *next;
	struct item *next_ready;
	struct file *file;
	int number;
	bool is_listed;
	bool is_off; /* EPOLLONESHOT has been used up */
	struct epoll_event event;
};

struct epoll {
	struct epoll *next;
	struct wait_queue *queue;
	struct item *items;
	struct item *ready_first, *ready_last;
};

static void list_item(struct item *item)
{
	struct epoll *epoll = item->epoll;
	if (item->is_listed)
		return;
	item->is_listed = true;
	item->next_ready = NULL;
	if (epoll->ready_first)
		epoll->ready_last->next_ready = item;
	else
		epoll->ready_first = item;
	epoll->ready_last = item;
}

static struct item *unlist_first(struct epoll *epoll)
{
	struct item *item = epoll->ready_first;
	epoll->ready_first = item->next_ready;
	item->is_listed = false;
	return item;
}

static void on_notify(struct wait_entry *entry)
{
	struct item *item = (struct item *)entry;
	if (!(wait_events & (item->event.events | EPOLLERR | EPOLLHUP)))
		return;
	list_item(item);
	wait_notify_of(item->epoll->queue, EPOLLIN | EPOLLRDNORM);
}

static void drop_item(struct item *item)
{
	struct epoll *epoll = item->epoll;
	struct item *before = NULL;
	if (item->is_listed) {
		for (struct item *other = epoll->ready_first; other != item;
			other = other->next_ready)
			before = other;
		if (before)
			before->next_ready = item->next_ready;
		else
			epoll->ready_first = item->next_ready;
		if (epoll->ready_last == item)
			epoll->ready_last = before;
	}
	wait_remove(&item->entry);
	for (struct item **link = &epoll->items; *link; link = &(*link)->next)
		if (*link == item) {
			*link = item->next;
			break;
		}
	heap_free(item);
}

static struct epoll *epolls;

static void on_gone(struct file *file)
{
	struct item *next;
	for (struct epoll *epoll = epolls; epoll; epoll = epoll->next)
		for (struct item *item = epoll->items; item; item = next) {
			next = item->next;
			if (item->file == file)
				drop_item(item);
		}
}

static uint32_t events_of(struct item *item)
{
	if (item->is_off)
		return 0;
	return item->file->operations->poll(item->file) &
		(item->event.events | EPOLLERR | EPOLLHUP);
}

/* One pass over the list: what is ready goes to `events`, what is level-triggered back to the list. */
static int64_t collect(struct epoll *epoll, struct epoll_event *events, int count)
{
	struct item *last = epoll->ready_first ? epoll->ready_last : NULL;
	int64_t found = 0;
	bool is_end = !last;
	while (!is_end && found < count) {
		struct item *item = unlist_first(epoll);
		is_end = item == last;
		uint32_t ready = events_of(item);
		if (!ready)
			continue;
		events[found].events = ready;
		events[found++].data = item->event.data;
		if (item->event.events & EPOLLONESHOT)
			item->is_off = true;
		else if (!(item->event.events & EPOLLET))
			list_item(item);
	}
	return found;
}

int64_t epoll_wait_for(
	struct file *file, struct epoll_event *events, int count, uint64_t deadline_ns)
{
	struct epoll *epoll = file->object;
	if (count <= 0)
		return -EINVAL;
	for (;;) {
		int64_t found = collect(epoll, events, count);
		if (found) {
			thread_look_at_times();
			return found;
		}
		if (deadline_ns == 0) {
			thread_look();
			return collect(epoll, events, count);
		}
		int r = file_wait(file, deadline_ns);
		if (r < 0) {
			found = collect(epoll, events, count);
			return found ? found : r == -ETIMEDOUT ? 0 : r;
		}
	}
}

static struct item *find_item(struct epoll *epoll, const struct file *file, int number)
{
	struct item *item = epoll->items;
	while (item && (item->number != number || item->file != file))
		item = item->next;
	return item;
}

static int64_t add_item(
	struct epoll *epoll, struct file *file, int number, const struct epoll_event *event)
{
	if (file->operations->poll == file_poll_always)
		return -EPERM;
	struct item *item = heap_alloc(sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->entry.notify = on_notify;
	item->epoll = epoll;
	item->file = file;
	item->number = number;
	item->event = *event;
	item->next = epoll->items;
	epoll->items = item;
	file->is_watched = true;
	wait_add(file->queue, &item->entry);
	list_item(item);
	wait_notify(epoll->queue);
	return 0;
}

int64_t epoll_control(struct file *self, int operation, int number, const struct epoll_event *event)
{
	struct epoll *epoll = self->object;
	struct file *file = descriptor_file((uint64_t)number);
	if (!file)
		return -EBADF;
	if (file == self)
		return -EINVAL;
	struct item *item = find_item(epoll, file, number);
	switch (operation) {
	case EPOLL_CTL_ADD:
		return item ? -EEXIST : add_item(epoll, file, number, event);
	case EPOLL_CTL_MOD:
		if (!item)
			return -ENOENT;
		item->event = *event;
		item->is_off = false;
		list_item(item);
		wait_notify(epoll->queue);
		return 0;
	case EPOLL_CTL_DEL:
		if (!item)
			return -ENOENT;
		drop_item(item);
		return 0;
	default:
		return -EINVAL;
	}
}

static uint32_t epoll_poll(struct file *file)
{
	const struct epoll *epoll = file->object;
	for (struct item *item = epoll->ready_first; item; item = item->next_ready)
		if (events_of(item))
			return POLLIN;
	return 0;
}

static void epoll_close(struct file *file)
{
	struct epoll *epoll = file->object;
	while (epoll->items)
		drop_item(epoll->items);
	for (struct epoll **link = &epolls; *link; link = &(*link)->next)
		if (*link == epoll) {
			*link = epoll->next;
			break;
		}
	heap_free(epoll);
}

static const struct file_operations epoll_operations = {
	.read = file_no_read,
	.write = file_no_write,
	.seek = file_no_seek,
	.stat = file_stat_anonymous,
	.ioctl = file_no_ioctl,
	.poll = epoll_poll,
	.close = epoll_close,
};

int64_t epoll_new(uint32_t flags, struct file **ret)
{
	struct epoll *epoll = heap_alloc(sizeof(*epoll));
	struct file *file = epoll
		? file_new(&epoll_operations, O_RDWR | flags, "anon_inode:[eventpoll]")
		: NULL;
	if (!file) {
		heap_free(epoll);
		return -ENOMEM;
	}
	epoll->queue = file->queue;
	epoll->next = epolls;
	epolls = epoll;
	file_set_gone(on_gone);
	file->object = epoll;
	*ret = file;
	return 0;
}

bool epoll_is(const struct file *file)
{
	return file->operations == &epoll_operations;
}
