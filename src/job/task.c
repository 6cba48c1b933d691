/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - talking with berthd.
 */
#include "job/task.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/channel.h"
#include "base/file.h"
#include "base/loop.h"

#define REPORT_EVERY_NS    (100 * NS_PER_MS)
#define DOCUMENT_BYTES_MAX (16 * (json_int_t)MIB)

/* The document that did not fit into the message. */
static int read_elsewhere(struct task *task, json_int_t length, struct error *e)
{
	if (length <= 0 || length > DOCUMENT_BYTES_MAX || task->fd_count == 0)
		return error_set(e, -EINVAL, "the task stands nowhere");
	cleanup(close) int fd = task->fds[--task->fd_count];
	cleanup(free) char *text = alloc_zeroed(1, (size_t)length + 1);
	int r = file_read_at(fd, text, (size_t)length, 0);
	if (r < 0)
		return error_code(e, r, "read the task");
	json_decref(task->document);
	json_error_t why;
	task->document = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(task->document))
		return error_set(e, -EINVAL, "the task is not a JSON object: %s", why.text);
	return 0;
}

int task_receive(int channel, struct task *task, struct error *e)
{
	cleanup(free) char *message = alloc_array(CHANNEL_MESSAGE_MAX, char);
	struct pollfd wait = { .fd = channel, .events = POLLIN };
	while (poll(&wait, 1, -1) < 0)
		if (errno != EINTR)
			return error_errno(e, "wait for a task");
	size_t fd_count = TASK_FDS_MAX;
	ssize_t length =
		channel_receive(channel, message, CHANNEL_MESSAGE_MAX, task->fds, &fd_count);
	if (length <= 0)
		return error_code(e, length < 0 ? (int)length : -EPIPE, "receive a task");
	task->fd_count = fd_count;
	task->channel = channel;
	json_error_t why;
	task->document = json_loadb(message, (size_t)length, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(task->document))
		return error_set(e, -EINVAL, "the task is not a JSON object: %s", why.text);
	const json_t *elsewhere = json_object_get(task->document, "elsewhere");
	return elsewhere ? read_elsewhere(task, json_integer_value(elsewhere), e) : 0;
}

void task_done(struct task *task)
{
	for (size_t i = 0; i < task->fd_count; i++)
		close(task->fds[i]);
	task->fd_count = 0;
	json_decref(task->document);
	task->document = NULL;
}

int task_fd(const struct task *task, size_t index, struct error *e)
{
	if (index >= task->fd_count)
		return error_set(e, -EBADF, "the task came without its descriptor %zu", index);
	return task->fds[index];
}

int task_text(const struct task *task, const char *name, const char **ret, struct error *e)
{
	const char *text = json_string_value(json_object_get(task->document, name));
	if (!text)
		return error_set(e, -EINVAL, "%s: the task needs a text here", name);
	*ret = text;
	return 0;
}

const char *task_text_or(const struct task *task, const char *name, const char *usual)
{
	const char *text = json_string_value(json_object_get(task->document, name));
	return text ? text : usual;
}

uint64_t task_number(const struct task *task, const char *name, uint64_t usual)
{
	const json_t *number = json_object_get(task->document, name);
	return json_is_integer(number) && json_integer_value(number) >= 0
		? (uint64_t)json_integer_value(number)
		: usual;
}

bool task_flag(const struct task *task, const char *name)
{
	return json_is_true(json_object_get(task->document, name));
}

static int send_object(struct task *task, json_t *object)
{
	cleanup(free) char *text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	if (!text)
		return -ENOMEM;
	size_t length = strlen(text);
	if (length > CHANNEL_MESSAGE_MAX)
		return -EMSGSIZE;
	return task->channel < 0 ? 0 : channel_send(task->channel, text, length, NULL, 0);
}

void task_report(struct task *task, uint64_t done, uint64_t total)
{
	uint64_t now = loop_now();
	if (task->channel < 0 || now - task->last_report_ns < REPORT_EVERY_NS)
		return;
	task->last_report_ns = now;
	uint64_t percent = total ? (done < total ? done * 100 / total : 100) : 0;
	json_t *progress =
		json_pack("{s{sssIsIsI}}", "progress", "stage", task->stage ?: "", "percent",
			(json_int_t)percent, "done", (json_int_t)done, "total", (json_int_t)total);
	/* A listener that does not keep up loses a report, not the work. */
	(void)!send_object(task, progress);
}

/* The last word must arrive: waits until the channel takes it. */
static int send_last(struct task *task, json_t *object)
{
	for (;;) {
		json_incref(object);
		int r = send_object(task, object);
		if (r != -EAGAIN) {
			json_decref(object);
			return r;
		}
		struct pollfd wait = { .fd = task->channel, .events = POLLOUT };
		(void)!poll(&wait, 1, 1000);
	}
}

int task_answer(struct task *task, json_t *result, struct error *e)
{
	int r = send_last(task, json_pack("{so}", "result", result ?: json_null()));
	if (r == -EMSGSIZE)
		return error_set(e, -E2BIG, "what was found is more than %d bytes to tell",
			CHANNEL_MESSAGE_MAX);
	return r < 0 ? error_code(e, r, "answer") : 0;
}

void task_fail(struct task *task, int code, const struct error *e)
{
	/* A name out of an archive may be no UTF-8: such a byte becomes a question mark. */
	char text[ERROR_TEXT_SIZE];
	strcpy(text, e->text);
	json_t *sentence = json_string(text);
	for (char *at = text; !sentence && *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	sentence = sentence ?: json_string(text);
	(void)!send_last(task,
		json_pack("{s{siso}}", "error", "code", -code, "text", sentence ?: json_null()));
}
