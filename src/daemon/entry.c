/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.c - reads and writes files of an instance through the helper that enters it.
 *
 * A file's content comes through a pipe, after the answer that says what it is: the daemon itself never reads
 * a file of an instance, which might lie on a file system that never answers.
 */
#include "daemon/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/channel.h"
#include "base/log.h"
#include "daemon/helper.h"
#include "daemon/remove.h"
#include "daemon/storage.h"
#include "model/json.h"

#define ANSWER_NS (60 * NS_PER_SEC)

struct entry {
	struct loop *loop;
	entry_done *done; /* NULL: nobody listens */
	void *data;
	int channel;
	int content; /* what is read comes from it; -1 */
	struct source *channel_source, *timer, *child;
	struct process helper;
	bool has_answered;
};

/* The helper has ended and was answered for. */
static void free_if_over(struct entry *entry)
{
	if (entry->child || !entry->has_answered)
		return;
	close(entry->helper.pidfd);
	free(entry);
}

static void answer(struct entry *entry, int code, const struct error *e, const json_t *json)
{
	int content = TAKE_FD(entry->content);
	entry->has_answered = true;
	source_free(TAKE_PTR(entry->channel_source));
	source_free(TAKE_PTR(entry->timer));
	close(TAKE_FD(entry->channel));
	if (entry->done)
		entry->done(entry->data, code, e, json, content);
	else if (content >= 0)
		close(content);
	free_if_over(entry);
}

static void channel_ready(void *data, int fd, uint32_t events)
{
	struct entry *entry = data;
	cleanup(free) char *bytes = alloc_array(CHANNEL_MESSAGE_MAX, char);
	cleanup(json_decref) json_t *json = NULL;
	size_t no_fds = 0;
	struct error e = {};
	(void)events;
	ssize_t length = channel_receive(fd, bytes, CHANNEL_MESSAGE_MAX, NULL, &no_fds);
	if (length == -EAGAIN)
		return;
	if (length > 0)
		json = json_loadb(bytes, (size_t)length, 0, NULL);
	json_int_t code = json_integer_value(json_object_get(json, "code"));
	if (!json_is_object(json)) {
		error_set(&e, -EIO, "The helper that entered the instance ended too early");
		answer(entry, -EIO, &e, NULL);
	} else if (code < 0 && code > -4096) {
		error_set(&e, (int)code, "%s", json_text(json, "error") ?: "failed");
		answer(entry, (int)code, &e, NULL);
	} else {
		answer(entry, 0, NULL, json);
	}
}

static void too_slow(void *data)
{
	struct entry *entry = data;
	struct error e = {};
	error_set(&e, -ETIMEDOUT, "The instance's files do not answer");
	if (process_signal(entry->helper.pidfd, SIGKILL) < 0)
		log_warning("a helper does not end pid=%d", entry->helper.pid);
	answer(entry, -ETIMEDOUT, &e, NULL);
}

static void helper_ended(void *data, pid_t pid, int wait_status)
{
	struct entry *entry = data;
	(void)pid;
	(void)wait_status;
	entry->child = NULL;
	free_if_over(entry);
}

/* One that does not run is entered through its volume. */
static int request_complete(struct instance *instance, json_t *request, struct error *e)
{
	struct volume_ref ref;
	json_t *root;
	uint32_t base;
	if (instance->live)
		return 0;
	instance_volume(instance, NULL, &ref);
	int r = storage_root_plan(instance->service->storage, &ref, &root, e);
	if (r < 0)
		return r;
	json_object_set_new(request, "root", root);
	if (instance_config_is(instance, "security.privileged"))
		return 0;
	r = instance_take_idmap(instance, &base, e);
	if (r == 0)
		json_object_set_new(request, "idmap",
			json_pack("{s:I, s:i}", "base", (json_int_t)base, "count", 65536));
	return r;
}

static int entry_spawn(struct entry *entry, struct instance *instance, const json_t *request,
	int content, struct error *e)
{
	int ends[2], pipes[2] = { -1, -1 };
	int r = channel_pair(ends, e);
	if (r < 0)
		return r;
	if (content < 0 && pipe2(pipes, O_CLOEXEC) < 0)
		r = error_errno(e, "make a pipe");
	const struct process_fd fds[] = { { "channel", ends[1] },
		{ "data", content < 0 ? pipes[1] : content } };
	struct helper_options options = {
		.name = "file", .request = request, .fds = fds, .fd_count = ARRAY_SIZE(fds)
	};
	if (r == 0)
		r = helper_spawn(instance, &options, &entry->helper, e);
	close(ends[1]);
	if (pipes[1] >= 0)
		close(pipes[1]);
	if (r < 0) {
		close(ends[0]);
		if (pipes[0] >= 0)
			close(pipes[0]);
		return r;
	}
	entry->channel = ends[0];
	entry->content = pipes[0];
	return 0;
}

int entry_ask(struct instance *instance, json_t *request, int content, entry_done *done, void *data,
	struct entry **ret, struct error *e)
{
	cleanup(json_decref) json_t *owned = request;
	struct entry *entry = alloc(struct entry);
	entry->loop = instance->service->loop;
	entry->done = done;
	entry->data = data;
	entry->content = -1;
	int r = request_complete(instance, request, e);
	if (r == 0)
		r = entry_spawn(entry, instance, request, content, e);
	if (r < 0) {
		free(entry);
		return r;
	}
	entry->timer = loop_add_timer(entry->loop, too_slow, entry);
	timer_set_after(entry->timer, ANSWER_NS);
	*ret = entry;
	r = loop_add_child(entry->loop, entry->helper.pid, entry->helper.pidfd, helper_ended, entry,
		&entry->child);
	if (r == 0)
		r = loop_add_fd(entry->loop, entry->channel, EPOLLIN, channel_ready, entry,
			&entry->channel_source);
	if (r < 0) {
		entry->done = NULL;
		error_code(e, r, "watch the helper");
		too_slow(entry);
	}
	return r;
}

void entry_forget(struct entry *entry)
{
	entry->done = NULL;
}

static void sftp_ended(void *data, pid_t pid, int wait_status)
{
	struct process *helper = data;
	(void)pid;
	(void)wait_status;
	close(helper->pidfd);
	free(helper);
}

int entry_sftp(struct instance *instance, int socket, struct error *e)
{
	cleanup(json_decref) json_t *request = json_object();
	const struct process_fd data = { "data", socket };
	struct helper_options options = {
		.name = "sftp", .request = request, .fds = &data, .fd_count = 1
	};
	struct process *helper = alloc(struct process);
	struct source *source;
	int r = request_complete(instance, request, e);
	if (r == 0)
		r = helper_spawn(instance, &options, helper, e);
	if (r < 0) {
		free(helper);
		return r;
	}
	r = loop_add_child(
		instance->service->loop, helper->pid, helper->pidfd, sftp_ended, helper, &source);
	return r < 0 ? error_code(e, r, "watch the helper") : 0;
}
