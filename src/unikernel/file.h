/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - open files: what descriptors point to, and how a call waits for one.
 *
 * Every operation is set. One that would have to wait returns -EAGAIN; file_wait_read() and its kind do the
 * waiting for all of them. Who makes a file ready calls wait_notify() on its queue.
 */
#pragma once

#include <sys/stat.h>

#include "unikernel/thread.h"

struct file;
struct node;

struct file_operations {
	int64_t (*read)(struct file *file, void *to, uint64_t size, uint64_t *position);
	int64_t (*write)(struct file *file, const void *from, uint64_t size, uint64_t *position);
	int64_t (*seek)(struct file *file, int64_t offset, int whence);
	int64_t (*stat)(struct file *file, struct stat *ret);
	int64_t (*ioctl)(struct file *file, uint64_t request, uint64_t argument);
	uint32_t (*poll)(struct file *file); /* POLLIN, POLLOUT, POLLERR, POLLHUP */
	void (*close)(struct file *file);    /* the last reference is gone */
};

struct file {
	const struct file_operations *operations;
	uint32_t references;
	uint32_t flags; /* O_ as opened */
	uint64_t position;
	struct wait_queue *queue; /* of what it can wait for; never NULL */
	struct wait_queue own_queue;
	struct node *node; /* in the tree, or NULL */
	void *object;      /* of the operations */
	char *path;        /* as /proc/self/fd shows it */
	bool is_watched;   /* somebody points to it without a reference: see file_set_gone() */
};

/* A new file with one reference; NULL without memory. */
struct file *file_new(const struct file_operations *operations, uint32_t flags, const char *path);
void file_hold(struct file *file);
void file_drop(struct file *file);

/* `gone` is called before a watched file goes away. */
void file_set_gone(void (*gone)(struct file *file));

/* Read and write with waiting unless the file is O_NONBLOCK; `position` NULL means the file's own. */
int64_t file_take(struct file *file, void *to, uint64_t size, uint64_t *position);
int64_t file_put(struct file *file, const void *from, uint64_t size, uint64_t *position);

/* Waits for the file's queue: 0, -EINTR, -ETIMEDOUT. */
int file_wait(struct file *file, uint64_t deadline_ns);

/* For tables: operations that say no as Linux does. */
int64_t file_no_read(struct file *file, void *to, uint64_t size, uint64_t *position);
int64_t file_no_write(struct file *file, const void *from, uint64_t size, uint64_t *position);
int64_t file_no_seek(struct file *file, int64_t offset, int whence);
int64_t file_no_ioctl(struct file *file, uint64_t request, uint64_t argument);
int64_t file_stat_pipe(struct file *file, struct stat *ret);
int64_t file_stat_anonymous(struct file *file, struct stat *ret);
uint32_t file_poll_always(struct file *file);
void file_close_nothing(struct file *file);
