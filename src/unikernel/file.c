/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - open files: what descriptors point to, and how a call waits for one.
 */
#include "unikernel/file.h"

#include <fcntl.h>
#include <poll.h>

#include "unikernel/heap.h"

static void (*tell_gone)(struct file *file);

void file_set_gone(void (*gone)(struct file *file))
{
	tell_gone = gone;
}

struct file *file_new(const struct file_operations *operations, uint32_t flags, const char *path)
{
	struct file *file = heap_alloc(sizeof(*file));
	if (!file)
		return NULL;
	file->operations = operations;
	file->references = 1;
	file->flags = flags;
	file->queue = &file->own_queue;
	file->path = heap_text(path, strlen(path));
	return file;
}

void file_hold(struct file *file)
{
	file->references++;
}

void file_drop(struct file *file)
{
	if (--file->references > 0)
		return;
	if (file->is_watched)
		tell_gone(file);
	file->operations->close(file);
	heap_free(file->path);
	heap_free(file);
}

int file_wait(struct file *file, uint64_t deadline_ns)
{
	file_hold(file); /* another thread may close it meanwhile */
	int r = wait_on(file->queue, deadline_ns);
	file_drop(file);
	return r;
}

int64_t file_take(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	for (;;) {
		int64_t got = file->operations->read(
			file, to, size, position ? position : &file->position);
		if (got != -EAGAIN || (file->flags & O_NONBLOCK))
			return got;
		int r = file_wait(file, FOREVER);
		if (r < 0)
			return r;
	}
}

int64_t file_put(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	uint64_t done = 0;
	for (;;) {
		int64_t put = file->operations->write(file, (const uint8_t *)from + done,
			size - done, position ? position : &file->position);
		if (put >= 0)
			done += (uint64_t)put;
		if (done == size || put == 0 || (put < 0 && put != -EAGAIN) ||
			(file->flags & O_NONBLOCK))
			return done ? (int64_t)done : put;
		if (put > 0)
			continue;
		int r = file_wait(file, FOREVER);
		if (r < 0)
			return done ? (int64_t)done : r;
	}
}

int64_t file_no_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	(void)file, (void)to, (void)size, (void)position;
	return -EINVAL;
}

int64_t file_no_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	(void)file, (void)from, (void)size, (void)position;
	return -EINVAL;
}

int64_t file_no_seek(struct file *file, int64_t offset, int whence)
{
	(void)file, (void)offset, (void)whence;
	return -ESPIPE;
}

int64_t file_no_ioctl(struct file *file, uint64_t request, uint64_t argument)
{
	(void)file, (void)request, (void)argument;
	return -ENOTTY;
}

int64_t file_stat_pipe(struct file *file, struct stat *ret)
{
	*ret = (struct stat){ .st_mode = S_IFIFO | 0600,
		.st_nlink = 1,
		.st_blksize = KERNEL_PAGE,
		.st_ino = address_of(file->queue) };
	return 0;
}

int64_t file_stat_anonymous(struct file *file, struct stat *ret)
{
	*ret = (struct stat){ .st_mode = 0600, .st_nlink = 1, .st_blksize = KERNEL_PAGE };
	(void)file;
	return 0;
}

uint32_t file_poll_always(struct file *file)
{
	(void)file;
	return POLLIN | POLLOUT;
}

void file_close_nothing(struct file *file)
{
	(void)file;
}
