/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.c - an open door to the files of one instance: the helper that enters it, one question at a time.
 *
 * The daemon itself never opens a file of an instance: it might be a link to the host's, or lie on a file
 * system that never answers. For an instance that does not run, the helper mounts its root where only it sees
 * it, by a plan in a directory that is gone again when the helper has read it.
 */
#include "daemon/instance/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/launch.h"
#include "daemon/instance/start_plan.h"
#include "daemon/instance/turn.h"
#include "daemon/server/line.h"
#include "host/process.h"

#define ANSWER_NS (60 * NS_PER_SEC) /* for what moves no bytes */

struct entry {
	struct service *service;
	struct instance *claimed; /* one that does not run, while its files are lent */
	char *plan_dir;           /* in tmp/, of an instance that does not run */
	struct process helper;
	struct source *child;
	bool is_closed;
	int channel;
	int helper_end; /* of the channel, until the helper has it; -1 */
	struct source *channel_source, *timer;
	struct turn *turn; /* while somebody else holds a stopped instance */
	uint32_t serial;
	entry_answer *answer; /* who waits; NULL: nobody */
	void *data;
};

static void plan_dir_remove(struct entry *entry)
{
	if (entry->plan_dir && file_remove_tree(entry->service->tmp_dir, entry->plan_dir) < 0)
		log_error("not removed tmp/%s", entry->plan_dir);
	free(TAKE_PTR(entry->plan_dir));
}

/* Closed, and its helper has ended. */
static void free_if_over(struct entry *entry)
{
	if (entry->child || !entry->is_closed)
		return;
	if (entry->claimed)
		instance_release(entry->claimed);
	plan_dir_remove(entry);
	if (entry->helper.pidfd >= 0)
		close(entry->helper.pidfd);
	free(entry);
}

void entry_close(struct entry *entry)
{
	if (!entry || entry->is_closed)
		return;
	entry->is_closed = true;
	entry->answer = NULL;
	source_free(TAKE_PTR(entry->channel_source));
	source_free(TAKE_PTR(entry->timer));
	turn_leave(TAKE_PTR(entry->turn));
	if (entry->channel >= 0)
		close(TAKE_FD(entry->channel));
	if (entry->helper_end >= 0)
		close(TAKE_FD(entry->helper_end));
	free_if_over(entry);
}

static void tell(
	struct entry *entry, int code, const struct error *e, const struct files_answer *answer)
{
	entry_answer *call = TAKE_PTR(entry->answer);
	timer_stop(entry->timer);
	if (call)
		call(entry->data, code, e, answer);
}

static void channel_ready(void *data, int fd, uint32_t events)
{
	struct entry *entry = data;
	union {
		struct runner_header header;
		struct runner_error error;
		struct files_answer answer;
	} message;
	struct error e = {};
	size_t no_fds = 0;
	(void)events;
	ssize_t length = channel_receive(fd, &message, sizeof(message), NULL, &no_fds);
	if (length == -EAGAIN)
		return;
	if (length < (ssize_t)sizeof(message.header)) {
		source_free(TAKE_PTR(entry->channel_source));
		error_set(&e, -EIO, "The helper that entered the instance ended too early");
		tell(entry, -EIO, &e, NULL);
	} else if (message.header.type == RUNNER_ERROR && length == sizeof(message.error)) {
		int code = message.error.code < 0 && message.error.code > -4096 ? message.error.code
										: -EIO;
		error_set(&e, code, "%.*s", RUNNER_TEXT_MAX - 1, message.error.text);
		tell(entry, code, &e, NULL);
	} else if (message.header.type == FILES_DONE && length == sizeof(message.answer)) {
		tell(entry, 0, NULL, &message.answer);
	} else if (message.header.type == FILES_READY) {
		plan_dir_remove(entry);
	}
}

static void too_slow(void *data)
{
	struct entry *entry = data;
	struct error e = {};
	error_set(&e, -ETIMEDOUT, "The instance's files do not answer");
	if (entry->helper.pidfd >= 0 && process_signal(entry->helper.pidfd, SIGKILL) < 0)
		log_warning("a helper does not end pid=%d", entry->helper.pid);
	tell(entry, -ETIMEDOUT, &e, NULL);
}

static void helper_ended(void *data, pid_t pid, int wait_status)
{
	struct entry *entry = data;
	(void)pid;
	(void)wait_status;
	source_free(TAKE_PTR(entry->child));
	free_if_over(entry);
}

/* The plan that would start it, in a directory of its own. */
static int plan_write(struct entry *entry, struct instance *instance, int *ret, struct error *e)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(start_plan_done) struct start_plan plan = {};
	cleanup(free) char *hex = text_random_hex(8);
	cleanup(close) int dir = -1;
	int r = instance_spec(instance, &spec, e);
	if (r == 0)
		r = start_plan_make(instance, &spec, &(struct cpu_set_mask){}, false, &plan, e);
	if (r < 0)
		return r;
	entry->plan_dir = alloc_printf("files-%s", hex);
	if (mkdirat(entry->service->tmp_dir, entry->plan_dir, 0700) < 0)
		return error_errno(e, "make tmp/%s", entry->plan_dir);
	dir = openat(entry->service->tmp_dir, entry->plan_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(e, "open tmp/%s", entry->plan_dir);
	const struct plan_step *runner = plan_find(&plan.plan, PLAN_RUNNER, 0);
	assert(runner);
	r = launch_write_document(runner->runner.document, dir, e);
	if (r == 0)
		*ret = TAKE_FD(dir);
	return r;
}

/* What the helper reaches the instance by: `dir` and `pidfd`, or a line to a server's agent. */
static int way_in(struct entry *entry, struct instance *instance, int *ret, struct error *e)
{
	if (instance->kind->can & KIND_IS_SERVER)
		return server_line_open(instance, ret, e);
	if (instance->live && instance->live->pidfd < 0)
		return error_set(e, -EBUSY, "The instance is starting or stopping");
	return instance->live ? instance_open_dir(instance, ret, e)
			      : plan_write(entry, instance, ret, e);
}

static int helper_start(struct entry *entry, struct instance *instance, struct error *e)
{
	cleanup(close) int way = -1;
	cleanup(free) char *program = NULL;
	int pidfd = instance->live ? instance->live->pidfd : -1;
	int r = service_program(
		entry->service, instance->kind->helper ?: instance->kind->runner, &program, e);
	if (r == 0)
		r = way_in(entry, instance, &way, e);
	if (r < 0)
		return r;
	const struct process_fd fds[] = { { "channel", entry->helper_end },
		{ instance->kind->can & KIND_IS_SERVER ? "line" : "dir", way },
		{ "pidfd", pidfd } };
	const char *const args[] = { program, "files", NULL };
	r = process_spawn(&(struct process_options){ .program = program,
				  .args = args,
				  .stdin_fd = -1,
				  .stdout_fd = -1,
				  .stderr_fd = -1,
				  .fds = fds,
				  .fd_count = pidfd >= 0 ? 3 : 2,
				  .new_session = true },
		&entry->helper, e);
	if (r < 0)
		return r;
	close(TAKE_FD(entry->helper_end));
	r = loop_add_child(entry->service->loop, entry->helper.pid, entry->helper.pidfd,
		helper_ended, entry, &entry->child);
	return r < 0 ? error_code(e, r, "watch the helper") : 0;
}

static int enter(struct entry *entry, struct instance *instance, struct error *e)
{
	/* A server's are its agent's to give, whoever holds the instance. */
	if (!instance->live && !(instance->kind->can & KIND_IS_SERVER)) {
		int r = instance_claim(instance, "lending its files", e);
		if (r < 0)
			return r;
		entry->claimed = instance;
	}
	return helper_start(entry, instance, e);
}

static void enter_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	struct entry *entry = data;
	struct error error = {};
	entry->turn = NULL;
	if (code == 0) {
		e = &error;
		code = enter(entry, instance, &error);
	}
	if (code < 0)
		tell(entry, code, e, NULL);
}

int entry_open(struct instance *instance, struct entry **ret, struct error *e)
{
	int ends[2];
	int r = channel_pair(ends, e);
	if (r < 0)
		return r;
	struct entry *entry = alloc(struct entry);
	struct loop *loop = instance->service->loop;
	entry->service = instance->service;
	entry->helper.pidfd = -1;
	entry->channel = ends[0];
	entry->helper_end = ends[1];
	entry->timer = loop_add_timer(loop, too_slow, entry);
	r = loop_add_fd(
		loop, entry->channel, EPOLLIN, channel_ready, entry, &entry->channel_source);
	if (r < 0)
		error_code(e, r, "watch the helper");
	else if (instance->live || (instance->kind->can & KIND_IS_SERVER) ||
		!turn_is_needed(instance))
		r = enter(entry, instance, e);
	else
		entry->turn = turn_wait(instance,
			&(struct turn_options){
				.limit_ns = TURN_LIMIT_NS, .call = enter_turn, .data = entry });
	if (r < 0)
		entry_close(entry);
	else
		*ret = entry;
	return r;
}

int entry_ask(struct entry *entry, const struct entry_question *question, entry_answer *answer,
	void *data, struct error *e)
{
	const char *target = question->target ?: "";
	size_t path = strlen(question->path) + 1;
	size_t behind = question->target ? strlen(target) + 1 : 0;
	assert(!entry->answer && !entry->is_closed);
	if (path > FILES_PATH_MAX || behind > FILES_PATH_MAX)
		return error_set(e, -EINVAL, "path: is longer than %d bytes", FILES_PATH_MAX - 1);
	struct files_request head = {
		.header = { (uint32_t)(sizeof(head) + path + behind), RUNNER_VERSION,
			(uint16_t)question->type, ++entry->serial, 0 },
		.flags = question->flags,
		.mode = question->mode,
		.uid = question->uid,
		.gid = question->gid,
		.limit_bytes = question->limit_bytes,
	};
	cleanup(free) char *message = alloc_array(sizeof(head) + path + behind, char);
	memcpy(message, &head, sizeof(head));
	memcpy(message + sizeof(head), question->path, path);
	memcpy(message + sizeof(head) + path, target, behind);
	int r = channel_send(entry->channel, message, sizeof(head) + path + behind, &question->fd,
		question->fd >= 0);
	if (r < 0)
		return error_code(e, r, "ask the helper that entered the instance");
	entry->answer = answer;
	entry->data = data;
	bool moves_bytes = question->type == FILES_GET || question->type == FILES_PUT ||
		question->type == FILES_SFTP;
	if (!moves_bytes)
		timer_set_after(entry->timer, ANSWER_NS);
	return 0;
}
