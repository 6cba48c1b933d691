/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - one program in the guest for one client: the daemon's streams on one side, the agent's frames
 * on the other. A thread a direction, so that none can hold up another.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "abi/runner.h"
#include "agent/frame.h"
#include "base/channel.h"
#include "base/loop.h"
#include "base/text.h"
#include "host/process.h"
#include "machine/machine.h"
#include "model/json.h"

#define CHUNK 32768

struct exec {
	int agent, channel;
	int input, output, errors;
	pthread_mutex_t sending; /* one frame at a time */
};

static int send_frame(struct exec *exec, enum agent_type type, const void *head, size_t head_bytes,
	const void *tail, size_t tail_bytes)
{
	pthread_mutex_lock(&exec->sending);
	int r = frame_write(exec->agent, type, head, head_bytes, tail, tail_bytes);
	pthread_mutex_unlock(&exec->sending);
	return r;
}

static void wait_for(int fd, short events)
{
	struct pollfd wait = { .fd = fd, .events = events };
	(void)!poll(&wait, 1, -1);
}

static int write_out(int fd, const uint8_t *bytes, size_t count)
{
	while (count > 0) {
		ssize_t n = write(fd, bytes, count);
		if (n < 0 && errno == EAGAIN)
			wait_for(fd, POLLOUT);
		else if (n < 0 && errno != EINTR)
			return -errno;
		else if (n > 0) {
			bytes += n;
			count -= (size_t)n;
		}
	}
	return 0;
}

static void *pass_input(void *data)
{
	struct exec *exec = data;
	static uint8_t bytes[CHUNK];
	for (;;) {
		ssize_t n = exec->input < 0 ? 0 : read(exec->input, bytes, sizeof(bytes));
		if (n < 0 && errno == EAGAIN) {
			wait_for(exec->input, POLLIN);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (send_frame(exec, AGENT_DATA, NULL, 0, bytes, n > 0 ? (size_t)n : 0) < 0 ||
			n <= 0)
			return NULL;
	}
}

static void tell(const struct exec *exec, const void *message, size_t length)
{
	(void)!channel_send(exec->channel, message, length, NULL, 0);
}

static void tell_state(
	const struct exec *exec, enum runner_status status, int wait_status, uint32_t serial)
{
	const struct runner_state state = {
		.header = { sizeof(state), RUNNER_VERSION, RUNNER_STATE, serial, 0 },
		.status = status,
		.wait_status = wait_status,
		.started_ns = loop_wall_clock(),
	};
	tell(exec, &state, sizeof(state));
}

static void take_request(struct exec *exec, const struct runner_header *request, size_t length)
{
	int r = -EOPNOTSUPP;
	if (request->type == RUNNER_SIGNAL && length == sizeof(struct runner_number)) {
		const struct agent_number number = {
			.value = (int32_t)((const struct runner_number *)(const void *)request)
					 ->value
		};
		r = send_frame(exec, AGENT_SIGNAL, &number, sizeof(number), NULL, 0);
	} else if (request->type == RUNNER_RESIZE && length == sizeof(struct runner_size)) {
		const struct runner_size *size = (const void *)request;
		const struct agent_resize resize = { .columns = size->columns, .rows = size->rows };
		r = send_frame(exec, AGENT_RESIZE, &resize, sizeof(resize), NULL, 0);
	}
	if (r == 0) {
		const struct runner_header done = { sizeof(done), RUNNER_VERSION, RUNNER_DONE,
			request->serial, 0 };
		tell(exec, &done, sizeof(done));
		return;
	}
	struct runner_error error = {
		.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, request->serial, 0 },
		.code = r,
	};
	snprintf(error.text, sizeof(error.text), "the program cannot be asked for this");
	tell(exec, &error, sizeof(error));
}

static void *take_requests(void *data)
{
	struct exec *exec = data;
	static _Alignas(8) char message[4096];
	for (;;) {
		size_t no_fds = 0;
		ssize_t length =
			channel_receive(exec->channel, message, sizeof(message), NULL, &no_fds);
		if (length == -EAGAIN)
			wait_for(exec->channel, POLLIN);
		else if (length < (ssize_t)sizeof(struct runner_header))
			break;
		else
			take_request(exec, (const void *)message, (size_t)length);
	}
	/* Nobody waits for the program: the agent hangs it up. */
	_exit(1);
}

static uint32_t add_words(struct text *text, const json_t *words)
{
	size_t i;
	json_t *word;
	json_array_foreach(words, i, word)
	{
		const char *value = json_string_value(word);
		text_add_n(text, value ?: "", strlen(value ?: "") + 1);
	}
	return (uint32_t)json_array_size(words);
}

static int ask(struct exec *exec, const json_t *request, struct error *e)
{
	cleanup(text_done) struct text words = {};
	struct agent_exec head = {};
	const char *cwd = json_text(request, "cwd") ?: "";
	unsigned int uid = 0, gid = 0;
	if (sscanf(json_text(request, "user") ?: "0:0", "%u:%u", &uid, &gid) != 2)
		return error_set(e, -EINVAL, "user: numbers are wanted");
	head.uid = uid;
	head.gid = gid;
	head.flags = json_is_true(json_object_get(request, "terminal")) ? AGENT_EXEC_TERMINAL : 0;
	head.columns = (uint16_t)json_integer_value(json_object_get(request, "columns"));
	head.rows = (uint16_t)json_integer_value(json_object_get(request, "rows"));
	text_add_n(&words, cwd, strlen(cwd) + 1);
	head.arguments = (uint16_t)add_words(&words, json_object_get(request, "args"));
	head.environment = (uint16_t)add_words(&words, json_object_get(request, "environment"));
	if (words.length + sizeof(head) > AGENT_FRAME_MAX)
		return error_set(e, -E2BIG, "the command is too long");
	int r = send_frame(exec, AGENT_EXEC, &head, sizeof(head), text_str(&words), words.length);
	return r < 0 ? error_code(e, r, "tell the agent") : 0;
}

/* Until the program's end. */
static int pass_output(struct exec *exec, struct frame *frame, struct error *e)
{
	for (;;) {
		int r = frame_read(exec->agent, frame);
		if (r <= 0)
			return error_set(e, -ECONNRESET,
				process_named_fd("line") >= 0 ? "The server's agent hung up"
							      : "The machine has stopped");
		struct agent_number number;
		switch ((uint32_t)frame->type) {
		case AGENT_STDOUT:
		case AGENT_STDERR:
			(void)!write_out(frame->type == AGENT_STDOUT ? exec->output : exec->errors,
				frame->data, frame->bytes);
			break;
		case AGENT_EXIT:
			if (frame->bytes < sizeof(number))
				return error_set(e, -EPROTO, "the agent is confused");
			memcpy(&number, frame->data, sizeof(number));
			/* The streams first: the daemon counts on their end. */
			close(exec->output);
			if (exec->errors != exec->output)
				close(exec->errors);
			tell_state(exec, RUNNER_EXITED, number.value, 0);
			return 0;
		default:
			return guest_error(frame, e);
		}
	}
}

static int start(struct exec *exec, struct error *e)
{
	cleanup(json_decref) json_t *request = NULL;
	cleanup(free) struct frame *frame = alloc(struct frame);
	int dir = process_named_fd("dir"), pidfd = process_named_fd("pidfd");
	int console = process_named_fd("console");
	exec->input = console >= 0 ? console : process_named_fd("stdin");
	exec->output = console >= 0 ? console : process_named_fd("stdout");
	exec->errors = console >= 0 ? console : process_named_fd("stderr");
	int r = request_read(&request, e);
	if (r == 0)
		r = guest_connect(dir, pidfd, &exec->agent, e);
	if (r == 0)
		r = ask(exec, request, e);
	if (r < 0)
		return r;
	tell_state(exec, RUNNER_RUNNING, 0, 0);
	pthread_t input, requests;
	if (pthread_create(&input, NULL, pass_input, exec) != 0 ||
		pthread_create(&requests, NULL, take_requests, exec) != 0)
		return error_set(e, -EAGAIN, "no thread to be had");
	return pass_output(exec, frame, e);
}

int exec_main(void)
{
	struct exec exec = { .sending = PTHREAD_MUTEX_INITIALIZER, .agent = -1 };
	struct error e = {};
	exec.channel = process_named_fd("channel");
	if (exec.channel < 0)
		return 2;
	int r = start(&exec, &e);
	if (r < 0) {
		struct runner_error error = {
			.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, 0, 0 },
			.code = r,
		};
		snprintf(error.text, sizeof(error.text), "%.400s", e.text);
		tell(&exec, &error, sizeof(error));
	}
	return r < 0;
}
