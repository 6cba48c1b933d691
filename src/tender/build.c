/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build.c - has the image made that a unikernel starts from, and the file system of its storage, by a berth-job in
 * its jail.
 */
#include "tender/build.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "abi/ext2.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/text.h"
#include "host/process.h"
#include "model/json.h"
#include "tender/ext2_make.h"

#define EXT2_BYTES_MIN MIB /* a smaller one is bytes only */

char *build_beside(const char *name, const char *built)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[length < 0 ? 0 : length] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	char *path = alloc_printf("%s/%s", self, name);
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return alloc_printf("%s/%s", self, built);
}

static int send_task(int channel, const json_t *task, int fd, struct error *e)
{
	cleanup(free) char *text = json_dumps(task, JSON_COMPACT);
	if (!text)
		return error_set(e, -EINVAL, "a text of the plan is not UTF-8");
	int r = channel_send(channel, text, strlen(text), &fd, fd < 0 ? 0 : 1);
	return r < 0 ? error_code(e, r, "ask for it") : 0;
}

/* Until the answer; 1 while there is none. */
static int take_answer(const char *text, size_t length, struct error *e)
{
	cleanup(json_decref) json_t *message = NULL;
	if (json_parse(text, length, &message, NULL) < 0)
		return 1;
	const json_t *error = json_object_get(message, "error");
	if (json_object_get(message, "result"))
		return 0;
	if (!error)
		return 1;
	json_int_t code = json_integer_value(json_object_get(error, "code"));
	return error_set(e, code > 0 && code < 4096 ? -(int)code : -EIO, "%.400s",
		json_text(error, "text") ?: "it could not be made");
}

static int wait_for_answer(int channel, struct error *e)
{
	cleanup(free) char *text = alloc_array(CHANNEL_MESSAGE_MAX, char);
	for (;;) {
		struct pollfd wait = { .fd = channel, .events = POLLIN };
		size_t no_fds = 0;
		if (poll(&wait, 1, -1) < 0 && errno != EINTR)
			return error_errno(e, "wait for berth-job");
		ssize_t length = channel_receive(channel, text, CHANNEL_MESSAGE_MAX, NULL, &no_fds);
		if (length == -EAGAIN)
			continue;
		if (length <= 0)
			return error_set(
				e, -EIO, "berth-job ended without an answer; runner.log says why");
		int r = take_answer(text, (size_t)length, e);
		if (r <= 0)
			return r;
	}
}

/* Has it done, with a descriptor or without (-1). */
static int have_done(const json_t *task, int fd, struct error *e)
{
	int ends[2], status;
	struct process job;
	cleanup(free) char *program = build_beside("berth-job", "../job/berth-job");
	int r = channel_pair(ends, e);
	if (r < 0)
		return r;
	const struct process_fd fds[] = { { "channel", ends[1] } };
	r = process_spawn(&(struct process_options){ .program = program,
				  .stdin_fd = -1,
				  .stdout_fd = -1,
				  .stderr_fd = STDERR_FILENO,
				  .fds = fds,
				  .fd_count = ARRAY_SIZE(fds),
				  .die_with_us = true },
		&job, e);
	close(ends[1]);
	if (r == 0) {
		r = send_task(ends[0], task, fd, e);
		if (r == 0)
			r = wait_for_answer(ends[0], e);
		(void)!process_wait(job.pidfd, &status);
		close(job.pidfd);
	}
	close(ends[0]);
	return r;
}

int build_image(const struct tender_plan *plan, struct error *e)
{
	if (access(plan->image, F_OK) == 0)
		return 0;
	cleanup(json_decref) json_t *task =
		json_pack("{s:s, s:O, s:s, s:s, s:s}", "task", "unikernel", "layers", plan->layers,
			"program", plan->program, "path", plan->search, "to", plan->image);
	return have_done(task, -1, e);
}

/* Whether a berth-job has anything to do: it is not made, not closed, or smaller than its volume. */
static bool is_ready(int fd, uint64_t bytes)
{
	struct ext2_super super;
	return file_read_at(fd, &super, sizeof(super), EXT2_SUPER_AT) == 0 &&
		super.magic == EXT2_SUPER_MAGIC && (super.state & EXT2_STATE_VALID) &&
		super.blocks >= bytes / EXT2_BLOCK;
}

int build_volume(int fd, uint64_t bytes, struct error *e)
{
	if (bytes < EXT2_BYTES_MIN || is_ready(fd, bytes))
		return 0;
	int r = ext2_make(fd, bytes, e);
	if (r == 0) {
		cleanup(json_decref) json_t *task = json_pack("{s:s}", "task", "ext2");
		r = have_done(task, fd, e);
	}
	return r < 0 ? error_prefix(e, r, "the file system of its storage") : 0;
}
