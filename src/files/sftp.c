/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sftp.c - packets of a length, a type, an id and strings; handles are numbers of a small table.
 *
 * Every length is checked against the packet, and a packet against PACKET_MAX, before a byte is used:
 * the client may be hostile, and the names that the server returns are the container's.
 */
#include "files/sftp.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/text.h"
#include "files/fileops.h"

#define PACKET_MAX    (256 * 1024)
#define READ_MAX      (128 * 1024)
#define HANDLES_MAX   256
#define NAMES_AT_ONCE 64

enum {
	FXP_INIT = 1,
	FXP_VERSION = 2,
	FXP_OPEN = 3,
	FXP_CLOSE = 4,
	FXP_READ = 5,
	FXP_WRITE = 6,
	FXP_LSTAT = 7,
	FXP_FSTAT = 8,
	FXP_SETSTAT = 9,
	FXP_FSETSTAT = 10,
	FXP_OPENDIR = 11,
	FXP_READDIR = 12,
	FXP_REMOVE = 13,
	FXP_MKDIR = 14,
	FXP_RMDIR = 15,
	FXP_REALPATH = 16,
	FXP_STAT = 17,
	FXP_RENAME = 18,
	FXP_READLINK = 19,
	FXP_SYMLINK = 20,
	FXP_STATUS = 101,
	FXP_HANDLE = 102,
	FXP_DATA = 103,
	FXP_NAME = 104,
	FXP_ATTRS = 105,
	FXP_EXTENDED = 200,
};

enum {
	FX_OK = 0,
	FX_EOF = 1,
	FX_NO_SUCH_FILE = 2,
	FX_PERMISSION_DENIED = 3,
	FX_FAILURE = 4,
	FX_BAD_MESSAGE = 5,
	FX_OP_UNSUPPORTED = 8,
};

#define ATTR_SIZE        1u
#define ATTR_UIDGID      2u
#define ATTR_PERMISSIONS 4u
#define ATTR_TIMES       8u
#define ATTR_EXTENDED    0x80000000u

#define OPEN_READ     1u
#define OPEN_WRITE    2u
#define OPEN_APPEND   4u
#define OPEN_CREATE   8u
#define OPEN_TRUNCATE 16u
#define OPEN_EXCL     32u

struct handle {
	int fd; /* -1: free */
	DIR *stream;
};

struct attributes {
	uint32_t flags;
	uint64_t size;
	struct fileops_owner owner;
	uint32_t accessed;
	uint32_t modified;
};

struct server {
	int stream;
	int root;
	struct handle handles[HANDLES_MAX];
	uint8_t *packet; /* what was received */
	size_t length;
	size_t at;
	bool is_short; /* something asked for more than there is */
	uint32_t id;
	struct text out;
};

static uint32_t get_u32(struct server *s)
{
	uint32_t value;
	if (s->length - s->at < sizeof(value)) {
		s->is_short = true;
		return 0;
	}
	memcpy(&value, s->packet + s->at, sizeof(value));
	s->at += sizeof(value);
	return be32toh(value);
}

static uint64_t get_u64(struct server *s)
{
	uint64_t high = get_u32(s);
	return high << 32 | get_u32(s);
}

static const uint8_t *get_bytes(struct server *s, size_t *ret_length)
{
	size_t length = get_u32(s);
	if (s->is_short || length > s->length - s->at) {
		s->is_short = true;
		*ret_length = 0;
		return s->packet;
	}
	const uint8_t *bytes = s->packet + s->at;
	s->at += length;
	*ret_length = length;
	return bytes;
}

/* Relative paths are below the root's /; a NUL inside is no name. */
static char *get_path(struct server *s)
{
	size_t length;
	const uint8_t *bytes = get_bytes(s, &length);
	if (length >= 4096 || memchr(bytes, 0, length))
		s->is_short = true;
	if (s->is_short)
		return alloc_text("/");
	cleanup(free) char *path = alloc_text_n((const char *)bytes, length);
	return path[0] == '/' ? TAKE_PTR(path) : alloc_printf("/%s", path);
}

static struct attributes get_attributes(struct server *s)
{
	struct attributes a = { .flags = get_u32(s),
		.owner = { FILEOPS_KEEP, FILEOPS_KEEP, FILEOPS_KEEP } };
	if (a.flags & ATTR_SIZE)
		a.size = get_u64(s);
	if (a.flags & ATTR_UIDGID) {
		a.owner.uid = get_u32(s);
		a.owner.gid = get_u32(s);
	}
	if (a.flags & ATTR_PERMISSIONS)
		a.owner.mode = get_u32(s) & 07777;
	if (a.flags & ATTR_TIMES) {
		a.accessed = get_u32(s);
		a.modified = get_u32(s);
	}
	uint32_t extended = a.flags & ATTR_EXTENDED ? get_u32(s) : 0;
	for (uint32_t i = 0; i < extended && !s->is_short; i++) {
		size_t length;
		(void)get_bytes(s, &length);
		(void)get_bytes(s, &length);
	}
	return a;
}

static struct handle *get_handle(struct server *s)
{
	size_t length;
	const uint8_t *bytes = get_bytes(s, &length);
	uint32_t number = HANDLES_MAX;
	if (length == sizeof(number))
		memcpy(&number, bytes, sizeof(number));
	if (number >= HANDLES_MAX || s->handles[number].fd < 0)
		return NULL;
	return &s->handles[number];
}

static void put_u32(struct server *s, uint32_t value)
{
	value = htobe32(value);
	text_add_n(&s->out, &value, sizeof(value));
}

static void put_u64(struct server *s, uint64_t value)
{
	put_u32(s, (uint32_t)(value >> 32));
	put_u32(s, (uint32_t)value);
}

static void put_bytes(struct server *s, const void *bytes, size_t length)
{
	put_u32(s, (uint32_t)length);
	text_add_n(&s->out, bytes, length);
}

static void put_text(struct server *s, const char *text)
{
	put_bytes(s, text, strlen(text));
}

static void put_attributes(struct server *s, const struct stat *stat)
{
	put_u32(s, ATTR_SIZE | ATTR_UIDGID | ATTR_PERMISSIONS | ATTR_TIMES);
	put_u64(s, (uint64_t)stat->st_size);
	put_u32(s, stat->st_uid);
	put_u32(s, stat->st_gid);
	put_u32(s, stat->st_mode);
	put_u32(s, (uint32_t)stat->st_atim.tv_sec);
	put_u32(s, (uint32_t)stat->st_mtim.tv_sec);
}

/* Starts an answer; send_answer() writes its length. */
static void begin(struct server *s, uint8_t type)
{
	s->out.length = 0;
	put_u32(s, 0);
	text_add_char(&s->out, (char)type);
	if (type != FXP_VERSION)
		put_u32(s, s->id);
}

static int send_answer(struct server *s)
{
	uint32_t length = htobe32((uint32_t)s->out.length - 4);
	memcpy(s->out.data, &length, sizeof(length));
	return file_write_all(s->stream, s->out.data, s->out.length);
}

static uint32_t status_of(int r)
{
	if (r >= 0)
		return FX_OK;
	if (r == -ENOENT || r == -ENOTDIR)
		return FX_NO_SUCH_FILE;
	return r == -EACCES || r == -EPERM || r == -EROFS ? FX_PERMISSION_DENIED : FX_FAILURE;
}

static void put_status_code(struct server *s, uint32_t code, const char *text)
{
	begin(s, FXP_STATUS);
	put_u32(s, code);
	put_text(s, text);
	put_text(s, "en");
}

static void put_status(struct server *s, int r)
{
	put_status_code(s, status_of(r), r < 0 ? strerror(-r) : "ok");
}

static void put_stat(struct server *s, int r, const struct stat *stat)
{
	if (r < 0) {
		put_status(s, r);
		return;
	}
	begin(s, FXP_ATTRS);
	put_attributes(s, stat);
}

static void put_new_handle(struct server *s, int fd, DIR *stream)
{
	if (fd < 0) {
		put_status(s, fd);
		return;
	}
	for (uint32_t i = 0; i < HANDLES_MAX; i++) {
		if (s->handles[i].fd >= 0)
			continue;
		s->handles[i] = (struct handle){ fd, stream };
		begin(s, FXP_HANDLE);
		put_bytes(s, &i, sizeof(i));
		return;
	}
	if (stream)
		(void)closedir(stream);
	else
		close(fd);
	put_status(s, -EMFILE);
}

static void do_open(struct server *s)
{
	cleanup(free) char *path = get_path(s);
	uint32_t how = get_u32(s);
	struct attributes a = get_attributes(s);
	int flags = (how & OPEN_READ) && (how & OPEN_WRITE) ? O_RDWR
		: how & OPEN_WRITE                          ? O_WRONLY
							    : O_RDONLY;
	flags |= (how & OPEN_APPEND ? O_APPEND : 0) | (how & OPEN_CREATE ? O_CREAT : 0) |
		(how & OPEN_TRUNCATE ? O_TRUNC : 0) | (how & OPEN_EXCL ? O_EXCL : 0);
	if (s->is_short)
		return;
	uint32_t mode = a.owner.mode == FILEOPS_KEEP ? 0644 : a.owner.mode;
	int fd = fileops_open(s->root, path, flags, mode);
	/* Clients open what they then ask whether it is a directory; its handle tells and reads nothing. */
	if (fd == -EISDIR && flags == O_RDONLY)
		fd = fileops_open_directory(s->root, path);
	put_new_handle(s, fd, NULL);
}

static void do_close(struct server *s)
{
	struct handle *handle = get_handle(s);
	if (!handle) {
		put_status(s, -EBADF);
		return;
	}
	int r = 0;
	if (handle->stream)
		(void)closedir(handle->stream);
	else if (close(handle->fd) < 0)
		r = -errno;
	*handle = (struct handle){ .fd = -1 };
	put_status(s, r);
}

static void do_read(struct server *s)
{
	struct handle *handle = get_handle(s);
	uint64_t offset = get_u64(s);
	uint32_t length = get_u32(s);
	if (!handle || handle->stream || s->is_short) {
		put_status(s, -EBADF);
		return;
	}
	if (length > READ_MAX)
		length = READ_MAX;
	cleanup(free) uint8_t *bytes = alloc_array(length ? length : 1, uint8_t);
	ssize_t got = pread(handle->fd, bytes, length, (off_t)offset);
	if (got < 0) {
		put_status(s, -errno);
	} else if (got == 0) {
		put_status_code(s, FX_EOF, "end of file");
	} else {
		begin(s, FXP_DATA);
		put_bytes(s, bytes, (size_t)got);
	}
}

static void do_write(struct server *s)
{
	struct handle *handle = get_handle(s);
	uint64_t offset = get_u64(s);
	size_t length;
	const uint8_t *bytes = get_bytes(s, &length);
	if (!handle || handle->stream || s->is_short) {
		put_status(s, -EBADF);
		return;
	}
	for (size_t done = 0; done < length;) {
		ssize_t put =
			pwrite(handle->fd, bytes + done, length - done, (off_t)(offset + done));
		if (put < 0 && errno != EINTR) {
			put_status(s, -errno);
			return;
		}
		done += put > 0 ? (size_t)put : 0;
	}
	put_status(s, 0);
}

static void do_stat(struct server *s, bool follow)
{
	cleanup(free) char *path = get_path(s);
	struct stat stat = {};
	put_stat(s, fileops_stat(s->root, path, follow, &stat), &stat);
}

static void do_fstat(struct server *s)
{
	struct handle *handle = get_handle(s);
	struct stat stat = {};
	int r = !handle ? -EBADF : fstat(handle->fd, &stat) < 0 ? -errno : 0;
	put_stat(s, r, &stat);
}

static void do_setstat(struct server *s)
{
	cleanup(free) char *path = get_path(s);
	struct attributes a = get_attributes(s);
	if (s->is_short)
		return;
	int r = a.flags & ATTR_SIZE ? fileops_truncate(s->root, path, a.size) : 0;
	if (r == 0)
		r = fileops_change(s->root, path, &a.owner);
	struct timespec times[] = { { .tv_sec = a.accessed }, { .tv_sec = a.modified } };
	if (r == 0 && (a.flags & ATTR_TIMES))
		r = fileops_set_times(s->root, path, times);
	put_status(s, r);
}

static void do_fsetstat(struct server *s)
{
	struct handle *handle = get_handle(s);
	struct attributes a = get_attributes(s);
	if (!handle || s->is_short) {
		put_status(s, -EBADF);
		return;
	}
	int r = 0;
	if ((a.flags & ATTR_SIZE) && ftruncate(handle->fd, (off_t)a.size) < 0)
		r = -errno;
	if (r == 0)
		r = fileops_change_fd(handle->fd, &a.owner);
	struct timespec times[] = { { .tv_sec = a.accessed }, { .tv_sec = a.modified } };
	if (r == 0 && (a.flags & ATTR_TIMES) && futimens(handle->fd, times) < 0)
		r = -errno;
	put_status(s, r);
}

static void do_opendir(struct server *s)
{
	cleanup(free) char *path = get_path(s);
	cleanup(close) int fd = fileops_open_directory(s->root, path);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	if (!stream) {
		put_status(s, fd < 0 ? fd : -errno);
		return;
	}
	(void)TAKE_FD(fd); /* the stream's now */
	put_new_handle(s, dirfd(stream), stream);
}

/* As "ls -l" would print it, which clients show to people. */
static void put_long_name(struct server *s, const char *name, const struct stat *stat)
{
	static const char types[16] = "?pc?d?b?-?l?s???";
	static const char bits[] = "rwxrwxrwx";
	char mode[11] = "";
	mode[0] = types[stat->st_mode >> 12 & 15];
	for (int i = 0; i < 9; i++)
		mode[i + 1] = stat->st_mode & 0400u >> i ? bits[i] : '-';
	struct tm when;
	char date[32] = "";
	if (gmtime_r(&stat->st_mtim.tv_sec, &when))
		(void)strftime(date, sizeof(date), "%b %e %H:%M", &when);
	cleanup(free) char *line =
		alloc_printf("%s %4ju %-8u %-8u %8jd %s %s", mode, (uintmax_t)stat->st_nlink,
			stat->st_uid, stat->st_gid, (intmax_t)stat->st_size, date, name);
	put_text(s, line);
}

static void do_readdir(struct server *s)
{
	struct handle *handle = get_handle(s);
	if (!handle || !handle->stream) {
		put_status(s, -EBADF);
		return;
	}
	begin(s, FXP_NAME);
	size_t count_at = s->out.length;
	put_u32(s, 0);
	uint32_t count = 0;
	for (struct dirent *entry;
		count < NAMES_AT_ONCE && (entry = readdir(handle->stream)) != NULL;) {
		struct stat stat;
		if (fstatat(handle->fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		put_text(s, entry->d_name);
		put_long_name(s, entry->d_name, &stat);
		put_attributes(s, &stat);
		count++;
	}
	if (count == 0) {
		put_status_code(s, FX_EOF, "end of directory");
		return;
	}
	count = htobe32(count);
	memcpy(s->out.data + count_at, &count, sizeof(count));
}

static void do_mkdir(struct server *s)
{
	cleanup(free) char *path = get_path(s);
	struct attributes a = get_attributes(s);
	if (s->is_short)
		return;
	put_status(s, fileops_make_directory(s->root, path, false, &a.owner));
}

static void put_name(struct server *s, const char *name)
{
	begin(s, FXP_NAME);
	put_u32(s, 1);
	put_text(s, name);
	put_text(s, name);
	put_u32(s, 0);
}

/* Without links: "." and ".." go, so that the client knows where it is. */
static void do_realpath(struct server *s)
{
	cleanup(free) char *path = get_path(s);
	cleanup(text_done) struct text real = {};
	for (const char *at = path; *at;) {
		at += strspn(at, "/");
		size_t length = strcspn(at, "/");
		if (length == 2 && strncmp(at, "..", 2) == 0) {
			while (real.length > 0 && real.data[--real.length] != '/')
				;
			if (real.data)
				real.data[real.length] = '\0';
		} else if (length > 0 && !(length == 1 && *at == '.')) {
			text_printf(&real, "/%.*s", (int)length, at);
		}
		at += length;
	}
	put_name(s, real.length ? text_str(&real) : "/");
}

static void do_readlink(struct server *s)
{
	cleanup(free) char *path = get_path(s);
	char target[4096];
	ssize_t r = fileops_read_link(s->root, path, target, sizeof(target));
	if (r < 0)
		put_status(s, (int)r);
	else
		put_name(s, target);
}

/* The order of the two is OpenSSH's (target, link), which every client follows, not the draft's. */
static void do_symlink(struct server *s)
{
	size_t length;
	const uint8_t *bytes = get_bytes(s, &length);
	cleanup(free) char *target = alloc_text_n((const char *)bytes, length);
	cleanup(free) char *path = get_path(s);
	if (s->is_short)
		return;
	struct fileops_owner owner = { FILEOPS_KEEP, FILEOPS_KEEP, FILEOPS_KEEP };
	put_status(s, fileops_link(s->root, path, target, &owner));
}

static void do_rename(struct server *s, bool replace)
{
	cleanup(free) char *from = get_path(s);
	cleanup(free) char *to = get_path(s);
	if (!s->is_short)
		put_status(s, fileops_rename(s->root, from, to, replace));
}

static void do_extended(struct server *s)
{
	size_t length;
	const uint8_t *name = get_bytes(s, &length);
	static const char posix_rename[] = "posix-rename@openssh.com";
	if (length == strlen(posix_rename) && memcmp(name, posix_rename, length) == 0)
		do_rename(s, true);
	else
		put_status_code(s, FX_OP_UNSUPPORTED, "not supported");
}

static void do_init(struct server *s)
{
	(void)get_u32(s); /* the client's version, which is 3 or later */
	begin(s, FXP_VERSION);
	put_u32(s, 3);
	put_text(s, "posix-rename@openssh.com");
	put_text(s, "1");
}

static void do_path(struct server *s, uint8_t type)
{
	cleanup(free) char *path = get_path(s);
	if (s->is_short)
		return;
	put_status(s,
		type == FXP_REMOVE ? fileops_remove(s->root, path, false)
				   : fileops_remove_directory(s->root, path));
}

static void dispatch(struct server *s, uint8_t type)
{
	switch (type) {
	case FXP_INIT:
		do_init(s);
		break;
	case FXP_OPEN:
		do_open(s);
		break;
	case FXP_CLOSE:
		do_close(s);
		break;
	case FXP_READ:
		do_read(s);
		break;
	case FXP_WRITE:
		do_write(s);
		break;
	case FXP_LSTAT:
	case FXP_STAT:
		do_stat(s, type == FXP_STAT);
		break;
	case FXP_FSTAT:
		do_fstat(s);
		break;
	case FXP_SETSTAT:
		do_setstat(s);
		break;
	case FXP_FSETSTAT:
		do_fsetstat(s);
		break;
	case FXP_OPENDIR:
		do_opendir(s);
		break;
	case FXP_READDIR:
		do_readdir(s);
		break;
	case FXP_REMOVE:
	case FXP_RMDIR:
		do_path(s, type);
		break;
	case FXP_MKDIR:
		do_mkdir(s);
		break;
	case FXP_REALPATH:
		do_realpath(s);
		break;
	case FXP_RENAME:
		do_rename(s, false);
		break;
	case FXP_READLINK:
		do_readlink(s);
		break;
	case FXP_SYMLINK:
		do_symlink(s);
		break;
	case FXP_EXTENDED:
		do_extended(s);
		break;
	default:
		put_status_code(s, FX_OP_UNSUPPORTED, "not supported");
		break;
	}
}

/* Reads exactly `length` bytes; 0 at the end of the stream before the first. */
static int read_all(int stream, void *bytes, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t got = read(stream, (uint8_t *)bytes + done, length - done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : done ? -EPROTO : 0;
		done += (size_t)got;
	}
	return 1;
}

static int serve_one(struct server *s)
{
	uint32_t length;
	int r = read_all(s->stream, &length, sizeof(length));
	if (r <= 0)
		return r;
	length = be32toh(length);
	if (length < 1 || length > PACKET_MAX)
		return -EPROTO;
	r = read_all(s->stream, s->packet, length);
	if (r <= 0)
		return r < 0 ? r : -EPROTO;
	s->length = length;
	s->at = 1;
	s->is_short = false;
	s->out.length = 0;
	s->id = s->packet[0] == FXP_INIT ? 0 : get_u32(s);
	if (!s->is_short)
		dispatch(s, s->packet[0]);
	if (s->is_short)
		put_status_code(s, FX_BAD_MESSAGE, "bad message");
	r = send_answer(s);
	return r < 0 ? r : 1;
}

int sftp_serve(int stream, int root)
{
	struct server *s = alloc(struct server);
	s->stream = stream;
	s->root = root;
	s->packet = alloc_array(PACKET_MAX, uint8_t);
	for (size_t i = 0; i < HANDLES_MAX; i++)
		s->handles[i].fd = -1;
	int r;
	while ((r = serve_one(s)) > 0)
		;
	for (size_t i = 0; i < HANDLES_MAX; i++) {
		if (s->handles[i].stream)
			(void)closedir(s->handles[i].stream);
		else if (s->handles[i].fd >= 0)
			close(s->handles[i].fd);
	}
	text_done(&s->out);
	free(s->packet);
	free(s);
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}
