/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls_file.c - the calls that take a descriptor.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "unikernel/call.h"
#include "unikernel/descriptors.h"
#include "unikernel/events.h"
#include "unikernel/heap.h"
#include "unikernel/kept.h"
#include "unikernel/net/socket.h"
#include "unikernel/opened.h"
#include "unikernel/pipe.h"
#include "unikernel/poll.h"
#include "unikernel/signals.h"

#define VECTOR_MAX 1024u
#define COPY_BYTES 65536u
#define MS         UINT64_C(1000000)

static bool is_readable(const struct file *file)
{
	return (file->flags & O_ACCMODE) != O_WRONLY && !(file->flags & O_PATH);
}

static bool is_writable(const struct file *file)
{
	return (file->flags & O_ACCMODE) != O_RDONLY && !(file->flags & O_PATH);
}

static int64_t serve_read(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file || !is_readable(file))
		return -EBADF;
	return file_take(file, at(r->rsi), r->rdx, NULL);
}

static int64_t serve_write(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file || !is_writable(file))
		return -EBADF;
	return file_put(file, at(r->rsi), r->rdx, NULL);
}

static int64_t positioned(struct registers *r, struct file **ret)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	if (file->operations->seek == file_no_seek)
		return -ESPIPE;
	if ((int64_t)r->r10 < 0)
		return -EINVAL;
	*ret = file;
	return 0;
}

static int64_t serve_pread(struct registers *r)
{
	struct file *file = NULL;
	int64_t e = positioned(r, &file);
	uint64_t position = r->r10;
	if (e < 0)
		return e;
	return is_readable(file) ? file_take(file, at(r->rsi), r->rdx, &position) : -EBADF;
}

static int64_t serve_pwrite(struct registers *r)
{
	struct file *file = NULL;
	int64_t e = positioned(r, &file);
	uint64_t position = r->r10;
	if (e < 0)
		return e;
	return is_writable(file) ? file_put(file, at(r->rsi), r->rdx, &position) : -EBADF;
}

static int64_t vector(struct file *file, const struct iovec *list, uint64_t count,
	uint64_t *position, bool writes)
{
	int64_t total = 0;
	if (!file || !(writes ? is_writable(file) : is_readable(file)))
		return -EBADF;
	if (count > VECTOR_MAX)
		return -EINVAL;
	if (socket_of(file))
		return socket_vector(file, list, count, writes);
	for (uint64_t i = 0; i < count; i++) {
		if (list[i].iov_len == 0)
			continue;
		int64_t done = writes
			? file_put(file, list[i].iov_base, list[i].iov_len, position)
			: file_take(file, list[i].iov_base, list[i].iov_len, position);
		if (done < 0)
			return total ? total : done;
		total += done;
		if ((uint64_t)done < list[i].iov_len)
			break;
	}
	return total;
}

static int64_t serve_readv(struct registers *r)
{
	return vector(descriptor_file(r->rdi), at(r->rsi), r->rdx, NULL, false);
}

static int64_t serve_writev(struct registers *r)
{
	return vector(descriptor_file(r->rdi), at(r->rsi), r->rdx, NULL, true);
}

static int64_t serve_preadv(struct registers *r)
{
	struct file *file = NULL;
	int64_t e = positioned(r, &file);
	uint64_t position = r->r10;
	return e < 0 ? e : vector(file, at(r->rsi), r->rdx, &position, false);
}

static int64_t serve_pwritev(struct registers *r)
{
	struct file *file = NULL;
	int64_t e = positioned(r, &file);
	uint64_t position = r->r10;
	return e < 0 ? e : vector(file, at(r->rsi), r->rdx, &position, true);
}

static int64_t serve_lseek(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	return file ? file->operations->seek(file, (int64_t)r->rsi, (int)r->rdx) : -EBADF;
}

static int64_t serve_close(struct registers *r)
{
	return descriptor_close(r->rdi);
}

static int64_t serve_close_range(struct registers *r)
{
	uint64_t last = (uint32_t)r->rsi;
	if ((uint32_t)r->rdi > last)
		return -EINVAL;
	for (uint64_t i = (uint32_t)r->rdi; i <= last && i < descriptor_end(); i++) {
		if (!descriptor_file(i))
			continue;
		if (r->rdx & CLOSE_RANGE_CLOEXEC)
			descriptor_set_closes_on_exec(i, true);
		else
			(void)descriptor_close(i);
	}
	return 0;
}

static int64_t serve_fstat(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	return file ? file->operations->stat(file, at(r->rsi)) : -EBADF;
}

static int64_t serve_ioctl(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	switch ((uint32_t)r->rsi) {
	case FIONBIO:
		file->flags &= ~(uint32_t)O_NONBLOCK;
		file->flags |= *(const int *)at(r->rdx) ? O_NONBLOCK : 0;
		return 0;
	case FIOCLEX:
	case FIONCLEX:
		descriptor_set_closes_on_exec((uint32_t)r->rdi, (uint32_t)r->rsi == FIOCLEX);
		return 0;
	default:
		return file->operations->ioctl(file, (uint32_t)r->rsi, r->rdx);
	}
}

static int64_t duplicate(struct file *file, uint64_t least, bool closes)
{
	file_hold(file);
	return descriptor_add(file, least, closes);
}

static int64_t serve_dup(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	return file ? duplicate(file, 0, false) : -EBADF;
}

static int64_t dup_to(struct registers *r, bool closes)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file || (uint32_t)r->rsi >= descriptor_limit())
		return -EBADF;
	file_hold(file);
	return descriptor_set(file, (uint32_t)r->rsi, closes);
}

static int64_t serve_dup2(struct registers *r)
{
	if ((uint32_t)r->rdi == (uint32_t)r->rsi)
		return descriptor_file(r->rdi) ? (int64_t)(uint32_t)r->rdi : -EBADF;
	return dup_to(r, false);
}

static int64_t serve_dup3(struct registers *r)
{
	if ((uint32_t)r->rdi == (uint32_t)r->rsi || (r->rdx & ~(uint64_t)O_CLOEXEC))
		return -EINVAL;
	return dup_to(r, (r->rdx & O_CLOEXEC) != 0);
}

/* One program: nobody holds a lock that it could meet. */
static int64_t get_lock(struct flock *lock)
{
	lock->l_type = F_UNLCK;
	return 0;
}

static int64_t serve_fcntl(struct registers *r)
{
	const uint32_t changes = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	switch ((uint32_t)r->rsi) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if (r->rdx >= descriptor_limit())
			return -EINVAL;
		return duplicate(file, r->rdx, (uint32_t)r->rsi == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return descriptor_closes_on_exec((uint32_t)r->rdi) ? FD_CLOEXEC : 0;
	case F_SETFD:
		descriptor_set_closes_on_exec((uint32_t)r->rdi, (r->rdx & FD_CLOEXEC) != 0);
		return 0;
	case F_GETFL:
		return (int64_t)(file->flags &
			       ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | O_SYNC)) |
			(file->node && !file->queue->first ? 0100000 : 0);
	case F_SETFL:
		file->flags = (file->flags & ~changes) | ((uint32_t)r->rdx & changes);
		return 0;
	case F_GETLK:
	case F_OFD_GETLK:
		return get_lock(at(r->rdx));
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
	case F_SETOWN:
	case F_SETSIG:
		return 0;
	case F_GETOWN:
		return 0;
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return 65536;
	default:
		return -EINVAL;
	}
}

static int64_t add_two(struct file *a, struct file *b, uint64_t flags, int *ret)
{
	int64_t first = descriptor_add(a, 0, (flags & O_CLOEXEC) != 0);
	if (first < 0) {
		file_drop(b);
		return first;
	}
	int64_t second = descriptor_add(b, 0, (flags & O_CLOEXEC) != 0);
	if (second < 0) {
		(void)descriptor_close((uint64_t)first);
		return second;
	}
	ret[0] = (int)first;
	ret[1] = (int)second;
	return 0;
}

static int64_t new_pipe(uint64_t to, uint64_t flags)
{
	struct file *a = NULL, *b = NULL;
	if (flags & ~(uint64_t)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		return -EINVAL;
	int64_t e = pipe_new((uint32_t)flags & O_NONBLOCK, &a, &b);
	return e < 0 ? e : add_two(a, b, flags, at(to));
}

static int64_t serve_pipe(struct registers *r)
{
	return new_pipe(r->rdi, 0);
}

static int64_t serve_pipe2(struct registers *r)
{
	return new_pipe(r->rdi, r->rsi);
}

static int64_t add_new(int64_t e, struct file *file, uint64_t flags)
{
	return e < 0 ? e : descriptor_add(file, 0, (flags & O_CLOEXEC) != 0);
}

static int64_t serve_eventfd(struct registers *r)
{
	struct file *file = NULL;
	uint64_t flags = r->number == SYS_eventfd2 ? r->rsi : 0;
	int64_t e = events_new_counter((uint32_t)r->rdi, (uint32_t)flags, &file);
	return add_new(e, file, flags);
}

static int64_t serve_timerfd_create(struct registers *r)
{
	struct file *file = NULL;
	int64_t e = events_new_timer(r->rdi, (uint32_t)r->rsi, &file);
	return add_new(e, file, r->rsi);
}

static int64_t serve_timerfd_settime(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	return events_is_timer(file) ? events_set_timer(file, r->rsi, at(r->rdx), at(r->r10))
				     : -EINVAL;
}

static int64_t serve_timerfd_gettime(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	if (!events_is_timer(file))
		return -EINVAL;
	events_get_timer(file, at(r->rsi));
	return 0;
}

static uint64_t deadline_of_ms(int ms)
{
	if (ms == 0)
		return 0;
	return ms < 0 ? FOREVER : platform_clock_monotonic() + (uint64_t)ms * MS;
}

static uint64_t deadline_of(const struct timespec *left)
{
	if (!left)
		return FOREVER;
	uint64_t ns = ns_of(left);
	return ns ? platform_clock_monotonic() + ns : 0;
}

static int64_t serve_poll(struct registers *r)
{
	return poll_wait(at(r->rdi), r->rsi, deadline_of_ms((int)r->rdx));
}

static int64_t serve_ppoll(struct registers *r)
{
	if (r->r10)
		signals_block_for_call(*(const uint64_t *)at(r->r10));
	return poll_wait(at(r->rdi), r->rsi, deadline_of(at(r->rdx)));
}

static int64_t serve_select(struct registers *r)
{
	const struct timeval *left = at(r->r8);
	uint64_t deadline = FOREVER;
	if (left) {
		uint64_t ns = (uint64_t)left->tv_sec * 1000 * MS + (uint64_t)left->tv_usec * 1000;
		deadline = ns ? platform_clock_monotonic() + ns : 0;
	}
	return poll_select(r->rdi, at(r->rsi), at(r->rdx), at(r->r10), deadline);
}

static int64_t serve_pselect(struct registers *r)
{
	const uint64_t *mask = at(r->r9);
	if (mask && mask[0])
		signals_block_for_call(*(const uint64_t *)at(mask[0]));
	return poll_select(r->rdi, at(r->rsi), at(r->rdx), at(r->r10), deadline_of(at(r->r8)));
}

static int64_t serve_epoll_create(struct registers *r)
{
	struct file *file = NULL;
	int64_t e = epoll_new(0, &file);
	return add_new(e, file, r->number == SYS_epoll_create1 ? r->rdi : 0);
}

static int64_t serve_epoll_ctl(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	return epoll_is(file) ? epoll_control(file, (int)r->rsi, (int)r->rdx, at(r->r10)) : -EINVAL;
}

static int64_t serve_epoll_wait(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	if (!epoll_is(file))
		return -EINVAL;
	if (r->number == SYS_epoll_pwait && r->r8)
		signals_block_for_call(*(const uint64_t *)at(r->r8));
	return epoll_wait_for(file, at(r->rsi), (int)r->rdx, deadline_of_ms((int)r->r10));
}

/* Moves bytes between two files; NULL positions are the files' own. */
static int64_t copy_bytes(struct file *from, uint64_t *from_position, struct file *to,
	uint64_t *to_position, uint64_t size)
{
	uint64_t most = size < COPY_BYTES ? size : COPY_BYTES, done = 0;
	uint8_t *buffer = heap_alloc_raw(most ? most : 1);
	int64_t e = buffer ? 0 : -ENOMEM;
	while (e == 0 && done < size) {
		uint64_t want = size - done < most ? size - done : most;
		int64_t got = file_take(from, buffer, want, from_position);
		if (got <= 0) {
			e = got;
			break;
		}
		int64_t put = file_put(to, buffer, (uint64_t)got, to_position);
		if (put < got) { /* what was not written was not read */
			uint64_t back = (uint64_t)(got - (put < 0 ? 0 : put));
			*(from_position ? from_position : &from->position) -= back;
		}
		if (put < 0)
			e = put;
		else
			done += (uint64_t)put;
		if (put < got)
			break;
	}
	heap_free(buffer);
	return done ? (int64_t)done : e;
}

/* Bytes of the image never change: the network sends them from where they are. */
static int64_t send_from_image(
	struct file *from, uint64_t *position, struct file *to, uint64_t size)
{
	uint64_t *place = position ? position : &from->position, done = 0;
	const struct node *node = from->node;
	const struct image_bytes *image = &node->regular.image;
	if (!S_ISREG(node->mode) || node->regular.pages || node->generate ||
		node->size != image->first_bytes + image->second_bytes)
		return -EOPNOTSUPP;
	while (done < size && *place < node->size) {
		bool is_first = *place < image->first_bytes;
		uint64_t offset = is_first ? *place : *place - image->first_bytes;
		uint64_t left = (is_first ? image->first_bytes : image->second_bytes) - offset;
		uint64_t part = size - done < left ? size - done : left;
		bool has_more = done + part < size && *place + part < node->size;
		int64_t sent = socket_send_constant(
			to, (is_first ? image->first : image->second) + offset, part, has_more);
		if (sent <= 0)
			return done ? (int64_t)done : sent;
		*place += (uint64_t)sent;
		done += (uint64_t)sent;
		if ((uint64_t)sent < part)
			break;
	}
	return (int64_t)done;
}

static int64_t serve_sendfile(struct registers *r)
{
	struct file *to = descriptor_file(r->rdi), *from = descriptor_file(r->rsi);
	if (!to || !from || !is_readable(from) || !is_writable(to))
		return -EBADF;
	if (!from->node || from->operations->seek == file_no_seek)
		return -EINVAL;
	if (socket_of(to)) {
		int64_t sent = send_from_image(from, at(r->rdx), to, r->r10);
		if (sent != -EOPNOTSUPP)
			return sent;
	}
	return copy_bytes(from, at(r->rdx), to, NULL, r->r10);
}

static int64_t serve_copy_file_range(struct registers *r)
{
	struct file *from = descriptor_file(r->rdi), *to = descriptor_file(r->rdx);
	if (!to || !from || !is_readable(from) || !is_writable(to))
		return -EBADF;
	if (!from->node || !to->node || !S_ISREG(from->node->mode) || !S_ISREG(to->node->mode))
		return -EINVAL;
	return copy_bytes(from, at(r->rsi), to, at(r->r10), r->r8);
}

static int64_t serve_getdents(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	return file ? opened_list(file, at(r->rsi), r->rdx) : -EBADF;
}

static int64_t serve_ftruncate(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file)
		return -EBADF;
	if (!file->node || !S_ISREG(file->node->mode) || !is_writable(file) || (int64_t)r->rsi < 0)
		return -EINVAL;
	return node_truncate(file->node, r->rsi);
}

static int64_t serve_fallocate(struct registers *r)
{
	struct file *file = descriptor_file(r->rdi);
	if (!file || !is_writable(file))
		return -EBADF;
	if (!file->node || !S_ISREG(file->node->mode))
		return -ENODEV;
	if (r->rsi != 0)
		return -EOPNOTSUPP;
	if ((int64_t)r->rdx < 0 || (int64_t)r->r10 <= 0)
		return -EINVAL;
	if ((int64_t)(r->rdx + r->r10) < 0)
		return -EFBIG;
	return node_reserve(file->node, r->rdx, r->rdx + r->r10);
}

static int64_t serve_sync(struct registers *r)
{
	if (r->number != SYS_sync && !descriptor_file(r->rdi))
		return -EBADF;
	int e = kept_sync();
	return r->number == SYS_sync ? 0 : e;
}

/* Nobody else has the file, and nothing is read ahead. */
static int64_t serve_advice(struct registers *r)
{
	return descriptor_file(r->rdi) ? 0 : -EBADF;
}

const struct call calls_of_files[] = {
	{ SYS_read, "read", serve_read },
	{ SYS_write, "write", serve_write },
	{ SYS_pread64, "pread64", serve_pread },
	{ SYS_pwrite64, "pwrite64", serve_pwrite },
	{ SYS_readv, "readv", serve_readv },
	{ SYS_writev, "writev", serve_writev },
	{ SYS_preadv, "preadv", serve_preadv },
	{ SYS_pwritev, "pwritev", serve_pwritev },
	{ SYS_lseek, "lseek", serve_lseek },
	{ SYS_close, "close", serve_close },
	{ SYS_close_range, "close_range", serve_close_range },
	{ SYS_fstat, "fstat", serve_fstat },
	{ SYS_ioctl, "ioctl", serve_ioctl },
	{ SYS_dup, "dup", serve_dup },
	{ SYS_dup2, "dup2", serve_dup2 },
	{ SYS_dup3, "dup3", serve_dup3 },
	{ SYS_fcntl, "fcntl", serve_fcntl },
	{ SYS_flock, "flock", serve_advice },
	{ SYS_pipe, "pipe", serve_pipe },
	{ SYS_pipe2, "pipe2", serve_pipe2 },
	{ SYS_eventfd, "eventfd", serve_eventfd },
	{ SYS_eventfd2, "eventfd2", serve_eventfd },
	{ SYS_timerfd_create, "timerfd_create", serve_timerfd_create },
	{ SYS_timerfd_settime, "timerfd_settime", serve_timerfd_settime },
	{ SYS_timerfd_gettime, "timerfd_gettime", serve_timerfd_gettime },
	{ SYS_poll, "poll", serve_poll },
	{ SYS_ppoll, "ppoll", serve_ppoll },
	{ SYS_select, "select", serve_select },
	{ SYS_pselect6, "pselect6", serve_pselect },
	{ SYS_epoll_create, "epoll_create", serve_epoll_create },
	{ SYS_epoll_create1, "epoll_create1", serve_epoll_create },
	{ SYS_epoll_ctl, "epoll_ctl", serve_epoll_ctl },
	{ SYS_epoll_wait, "epoll_wait", serve_epoll_wait },
	{ SYS_epoll_pwait, "epoll_pwait", serve_epoll_wait },
	{ SYS_sendfile, "sendfile", serve_sendfile },
	{ SYS_copy_file_range, "copy_file_range", serve_copy_file_range },
	{ SYS_getdents64, "getdents64", serve_getdents },
	{ SYS_ftruncate, "ftruncate", serve_ftruncate },
	{ SYS_fallocate, "fallocate", serve_fallocate },
	{ SYS_fsync, "fsync", serve_sync },
	{ SYS_fdatasync, "fdatasync", serve_sync },
	{ SYS_syncfs, "syncfs", serve_sync },
	{ SYS_sync, "sync", serve_sync },
	{ SYS_fadvise64, "fadvise64", serve_advice },
	{ 0, NULL, NULL },
};
