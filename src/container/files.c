/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c - enters an instance's root with the rights of its own root user, and does as it is asked.
 *
 * The helper becomes the container's root in its user and mount namespace, so ids need no translation,
 * and what the container's root may not do, it may not. It stays in the host's process and network
 * namespaces, where the container does not see it.
 */
#include "container/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "abi/files.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "container/caps.h"
#include "container/plan.h"
#include "container/start.h"
#include "files/fileops.h"
#include "files/sftp.h"
#include "host/process.h"

#define BIT(capability) (UINT64_C(1) << (capability))
#define COPY_BYTES      65536
#define NAMES_MAX_BYTES (64 * MIB)

static const uint64_t file_caps = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) |
	BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_SETFCAP);

struct request {
	const struct files_request *head;
	const char *path;
	const char *target; /* NULL: none */
	int fd;             /* -1: none */
	int root;
	struct files_answer *answer;
};

static struct fileops_owner owner_of(const struct files_request *head, uint32_t mode)
{
	return (struct fileops_owner){
		.mode = head->mode == FILES_KEEP ? mode : head->mode & 07777,
		.uid = head->uid == FILES_KEEP ? 0 : head->uid,
		.gid = head->gid == FILES_KEEP ? 0 : head->gid,
	};
}

static void fill_answer(struct files_answer *answer, const struct stat *stat)
{
	answer->mode = stat->st_mode;
	answer->uid = stat->st_uid;
	answer->gid = stat->st_gid;
	answer->size_bytes = (uint64_t)stat->st_size;
	answer->modified_ns =
		(uint64_t)stat->st_mtim.tv_sec * NS_PER_SEC + (uint64_t)stat->st_mtim.tv_nsec;
}

static int do_stat(struct request *q)
{
	struct stat stat;
	int r = fileops_stat(q->root, q->path, false, &stat);
	if (r == 0)
		fill_answer(q->answer, &stat);
	return r;
}

/* Through a buffer: the descriptor may be a pipe or a socket. */
static int copy_bytes(int from, int to, uint64_t limit)
{
	cleanup(free) char *bytes = alloc_array(COPY_BYTES, char);
	for (uint64_t total = 0;;) {
		ssize_t got = read(from, bytes, COPY_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		total += (uint64_t)got;
		if (limit && total > limit)
			return -EFBIG;
		int r = file_write_all(to, bytes, (size_t)got);
		if (r < 0)
			return r;
	}
}

static int get_names(struct request *q)
{
	cleanup(close) int fd = fileops_open_directory(q->root, q->path);
	if (fd < 0)
		return fd;
	DIR *stream = fdopendir(fd);
	if (!stream)
		return -errno;
	(void)TAKE_FD(fd);
	cleanup(text_done) struct text names = {};
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(stream)) != NULL;) {
		if (text_equal(entry->d_name, ".") || text_equal(entry->d_name, ".."))
			continue;
		text_add_n(&names, entry->d_name, strlen(entry->d_name) + 1);
		if (names.length > NAMES_MAX_BYTES)
			r = -EFBIG;
	}
	(void)closedir(stream);
	return r < 0 ? r : file_write_all(q->fd, text_str(&names), names.length);
}

static int get_link(struct request *q)
{
	char target[FILES_PATH_MAX];
	ssize_t length = fileops_read_link(q->root, q->path, target, sizeof(target));
	return length < 0 ? (int)length : file_write_all(q->fd, target, (size_t)length);
}

static int do_get(struct request *q)
{
	struct stat stat;
	int r = fileops_stat(q->root, q->path, false, &stat);
	if (r < 0)
		return r;
	if (q->fd < 0)
		return -EBADF;
	fill_answer(q->answer, &stat);
	if (S_ISLNK(stat.st_mode))
		return get_link(q);
	if (S_ISDIR(stat.st_mode))
		return get_names(q);
	cleanup(close) int fd = fileops_open(q->root, q->path, O_RDONLY | O_NOFOLLOW, 0);
	return fd < 0 ? fd : copy_bytes(fd, q->fd, q->head->limit_bytes);
}

static int do_put(struct request *q)
{
	if (q->fd < 0)
		return -EBADF;
	struct stat stat;
	bool is_new = fileops_stat(q->root, q->path, true, &stat) == -ENOENT;
	struct fileops_owner owner = owner_of(q->head, 0644);
	int flags = O_WRONLY | O_CREAT | (q->head->flags & FILES_APPEND ? O_APPEND : O_TRUNC);
	cleanup(close) int fd = fileops_open(q->root, q->path, flags, owner.mode);
	if (fd < 0)
		return fd;
	int r = copy_bytes(q->fd, fd, 0);
	/* What is there keeps what was not asked for. */
	if (!is_new)
		owner = (struct fileops_owner){ q->head->mode, q->head->uid, q->head->gid };
	if (r == 0)
		r = fileops_change_fd(fd, &owner);
	if (r == 0 && fstat(fd, &stat) == 0)
		fill_answer(q->answer, &stat);
	return r;
}

static int do_mkdir(struct request *q)
{
	struct fileops_owner owner = owner_of(q->head, 0755);
	return fileops_make_directory(q->root, q->path, q->head->flags & FILES_PARENTS, &owner);
}

static int do_symlink(struct request *q)
{
	struct fileops_owner owner = owner_of(q->head, 0);
	return q->target ? fileops_link(q->root, q->path, q->target, &owner) : -EINVAL;
}

static int do_delete(struct request *q)
{
	return fileops_remove(q->root, q->path, q->head->flags & FILES_RECURSIVE);
}

static int do_change(struct request *q)
{
	struct fileops_owner owner = { q->head->mode, q->head->uid, q->head->gid };
	return fileops_change(q->root, q->path, &owner);
}

static int do_sftp(struct request *q)
{
	if (q->fd < 0)
		return -EBADF;
	int flags = fcntl(q->fd, F_GETFL);
	if (flags < 0 || fcntl(q->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	return sftp_serve(q->fd, q->root);
}

static int (*const operations[])(struct request *request) = {
	[FILES_STAT - FILES_READY] = do_stat,
	[FILES_GET - FILES_READY] = do_get,
	[FILES_PUT - FILES_READY] = do_put,
	[FILES_MKDIR - FILES_READY] = do_mkdir,
	[FILES_SYMLINK - FILES_READY] = do_symlink,
	[FILES_DELETE - FILES_READY] = do_delete,
	[FILES_CHANGE - FILES_READY] = do_change,
	[FILES_SFTP - FILES_READY] = do_sftp,
};
static_assert(ARRAY_SIZE(operations) == FILES_DONE - FILES_READY, "one function an operation");

static void send_error(int channel, uint32_t serial, int code, const char *text)
{
	struct runner_error error = {
		.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, serial, 0 },
		.code = code,
	};
	snprintf(error.text, sizeof(error.text), "%s", text);
	(void)!channel_send(channel, &error, sizeof(error), NULL, 0);
}

/* Checks the message and does it. */
static int carry_out(struct request *q, const void *message, size_t length)
{
	const struct files_request *head = message;
	if (length < sizeof(*head) + 1 || head->header.length != length ||
		head->header.version != RUNNER_VERSION ||
		((const char *)message)[length - 1] != '\0')
		return -EBADMSG;
	q->head = head;
	q->path = (const char *)message + sizeof(*head);
	size_t path = strlen(q->path) + 1;
	if (path < length - sizeof(*head))
		q->target = q->path + path;
	if (path > FILES_PATH_MAX || (q->target && strlen(q->target) >= FILES_PATH_MAX))
		return -ENAMETOOLONG;
	if (head->header.type <= FILES_READY || head->header.type >= FILES_DONE)
		return -EOPNOTSUPP;
	return operations[head->header.type - FILES_READY](q);
}

static int serve(int channel, int root)
{
	int flags = fcntl(channel, F_GETFL);
	if (flags < 0 || fcntl(channel, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return -errno;
	struct runner_header ready = { sizeof(ready), RUNNER_VERSION, FILES_READY, 0, 0 };
	int r = channel_send(channel, &ready, sizeof(ready), NULL, 0);
	while (r == 0) {
		static _Alignas(8) char message[sizeof(struct files_request) + 2 * FILES_PATH_MAX];
		int fd = -1;
		size_t fd_count = 1;
		ssize_t length = channel_receive(channel, message, sizeof(message), &fd, &fd_count);
		if (length == 0)
			return 0;
		if (length < 0)
			return (int)length;
		struct files_answer answer = { .header = { sizeof(answer), RUNNER_VERSION,
						       FILES_DONE, 0, 0 } };
		struct request request = {
			.fd = fd_count ? fd : -1, .root = root, .answer = &answer
		};
		int done = carry_out(&request, message, (size_t)length);
		if (request.fd >= 0)
			close(request.fd);
		uint32_t serial = request.head ? request.head->header.serial : 0;
		answer.header.serial = serial;
		if (done < 0) {
			struct error e = {};
			error_code(&e, done, "%.400s", request.path ?: "the request");
			send_error(channel, serial, done, e.text);
		} else {
			r = channel_send(channel, &answer, sizeof(answer), NULL, 0);
		}
	}
	return r;
}

/* Of all capabilities only those on files, and no way to more. */
static int keep_file_rights(struct error *e)
{
	struct container_caps caps = { .permitted = file_caps, .effective = file_caps };
	int r = caps_bound(0, e);
	if (r == 0)
		r = caps_apply(&caps, e);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = error_errno(e, "forbid new privileges");
	return r;
}

static int serve_running(const struct container *container, int pidfd, int channel, struct error *e)
{
	int namespaces = (int)(container->namespaces & (CLONE_NEWUSER | CLONE_NEWNS));
	if (setns(pidfd, namespaces) < 0)
		return error_errno(e, "enter the instance");
	if (container->uid_count &&
		(setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return error_errno(e, "become the instance's root");
	cleanup(close) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, "open the instance's root");
	int r = keep_file_rights(e);
	if (r < 0)
		return r;
	r = serve(channel, root);
	return r < 0 ? error_code(e, r, "serve files") : 0;
}

struct stopped {
	int channel;
};

static int serve_in_child(void *data, int root)
{
	const struct stopped *stopped = data;
	struct error e = {};
	int r = keep_file_rights(&e);
	if (r < 0) {
		send_error(stopped->channel, 0, r, e.text);
		return r;
	}
	return serve(stopped->channel, root);
}

/* Of the plan only the root is used: no device, no card, nothing of the host. */
static int serve_stopped(struct container *container, int channel, struct error *e)
{
	container->namespaces &= CLONE_NEWUSER | CLONE_NEWNS;
	container->mount_count = container->nic_count = container->file_count = 0;
	container->sysctls = container->resolver = NULL;
	container->hostname = NULL;
	if (container->cgroups)
		container->cgroups[0] = NULL;
	struct stopped stopped = { channel };
	struct started started;
	int r = container_start(container,
		&(struct start_options){ .stdio = { -1, -1, -1 },
			.hold = -1,
			.dies_with_us = true,
			.serve = serve_in_child,
			.data = &stopped },
		&started, e);
	if (r < 0)
		return r;
	close(channel);
	int status;
	r = process_wait(started.pidfd, &status);
	return r < 0 ? error_code(e, r, "wait for the helper") : 0;
}

int files_main(char **argv)
{
	(void)argv;
	(void)signal(SIGPIPE, SIG_IGN);
	struct error e = {};
	int channel = process_named_fd("channel");
	int pidfd = process_named_fd("pidfd");
	cleanup(close) int dir = process_named_fd("dir");
	if (channel < 0 || dir < 0) {
		log_error("files: the descriptors channel and dir are wanted");
		return 2;
	}
	cleanup(container_free) struct container *container = NULL;
	int r = plan_read_file(dir, RUNNER_PLAN_FILE, &container, &e);
	if (r == 0)
		r = pidfd >= 0 ? serve_running(container, pidfd, channel, &e)
			       : serve_stopped(container, channel, &e);
	if (r < 0)
		send_error(channel, 0, r, e.text);
	return r < 0 ? 1 : 0;
}
