/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor.c - live runners: speaks with them, adopts them after a restart, notices their end.
 *
 * A runner's end is noticed by its socket, whichever way it ended; its pidfd is watched too while it is
 * our child, so that it is reaped. What a runner sends is not trusted: a guest may have broken into it.
 */
#include "daemon/instance/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/reaper.h"
#include "daemon/spare.h"
#include "host/cgroup.h"
#include "host/process.h"

#define REQUESTS_MAX 64 /* that wait for one runner's answer */

struct live_request {
	struct live_request *next;
	uint32_t serial;
	live_answer *answer;
	void *data;
};

struct live *live_new(struct instance *instance, const struct live_calls *calls)
{
	struct live *live = alloc(struct live);
	live->instance = instance;
	live->calls = calls;
	live->runner_pidfd = live->control = live->pidfd = -1;
	live->links = json_array();
	live_applied(live, instance->expanded_config, instance->expanded_devices);
	return live;
}

void live_applied(struct live *live, json_t *config, json_t *devices)
{
	json_incref(config);
	json_incref(devices);
	json_decref(live->config);
	json_decref(live->devices);
	live->config = config;
	live->devices = devices;
}

static void requests_fail(struct live *live, const char *why)
{
	struct error e = {};
	error_set(&e, -ECONNRESET, "%s", why);
	while (live->requests) {
		struct live_request *request = live->requests;
		live->requests = request->next;
		if (request->answer)
			request->answer(request->data, -ECONNRESET, &e, NULL, 0, NULL, 0);
		free(request);
	}
}

static void control_close(struct live *live)
{
	source_free(live->control_source);
	live->control_source = NULL;
	if (live->control >= 0)
		close(live->control);
	live->control = -1;
}

static void runner_leave(struct live *live)
{
	source_free(live->child);
	if (live->runner_pid && !live->instance->service->is_stopping) {
		struct error e = {};
		const struct process runner = { live->runner_pid, live->runner_pidfd };
		if (reaper_take(live->instance->service->loop, &runner, &e) < 0)
			log_error("%s", e.text);
	} else if (live->runner_pidfd >= 0) {
		close(live->runner_pidfd);
	}
}

void live_free(struct live *live)
{
	if (!live)
		return;
	control_close(live);
	requests_fail(live, "The instance has stopped");
	runner_leave(live);
	if (live->pidfd >= 0)
		close(live->pidfd);
	cgroup_free(live->group);
	json_decref(live->document);
	json_decref(live->links);
	json_decref(live->config);
	json_decref(live->devices);
	free(live);
}

/* The runner is gone: reads what it left in its `exit` file if it could not say it. */
static void exit_read(struct live *live)
{
	cleanup(close) int dir = -1;
	cleanup(free) char *text = NULL;
	if (live->has_exited || instance_open_dir(live->instance, &dir, NULL) < 0 ||
		file_read(dir, RUNNER_EXIT_FILE, 4096, &text, NULL, NULL) < 0)
		return;
	json_t *json = json_loads(text, 0, NULL);
	const json_t *status = json_object_get(json, "wait_status");
	const char *error = json_string_value(json_object_get(json, "error"));
	if (json_is_integer(status)) {
		live->has_exited = true;
		live->wait_status = (int32_t)json_integer_value(status);
	}
	if (error && !live->error.text[0])
		error_set(&live->error, -EIO, "%.400s", error);
	json_decref(json);
}

static void live_gone(struct live *live)
{
	if (live->is_gone)
		return;
	live->is_gone = true;
	control_close(live);
	exit_read(live);
	requests_fail(live, "The instance has stopped");
	live->calls->gone(live);
}

static void answer(struct live *live, uint32_t serial, int code, const struct error *e,
	const void *bytes, size_t length, const int *fds, size_t fd_count)
{
	for (struct live_request **at = &live->requests; *at; at = &(*at)->next) {
		struct live_request *request = *at;
		if (request->serial != serial)
			continue;
		*at = request->next;
		if (request->answer)
			request->answer(request->data, code, e, bytes, length, fds, fd_count);
		free(request);
		return;
	}
}

static void ran(struct live *live, const struct runner_state *state)
{
	if (live->is_running)
		return;
	live->is_running = true;
	live->started_ns = state->started_ns;
	live->calls->running(live);
	spares_refill(live->instance->service);
}

static void state_received(struct live *live, const struct runner_state *state, int *fd)
{
	live->pid = state->pid;
	live->wait_status = state->wait_status;
	if (state->oom_kills > live->oom_kills) {
		live->oom_kills = state->oom_kills;
		live->calls->oom(live);
	}
	if (*fd >= 0) {
		if (live->pidfd >= 0)
			close(live->pidfd);
		live->pidfd = TAKE_FD(*fd);
	}
	switch ((enum runner_status)state->status) {
	case RUNNER_STARTING:
	case RUNNER_PAUSED:
		break;
	case RUNNER_RUNNING:
		ran(live, state);
		break;
	case RUNNER_EXITED:
		/* It may have ended before it was asked for the first time. */
		if (state->started_ns)
			ran(live, state);
		live->has_exited = true;
		break;
	}
}

static void event_received(struct live *live, const struct runner_event *event)
{
	if (event->kind == RUNNER_EVENT_OOM && event->value > live->oom_kills) {
		live->oom_kills = (uint32_t)event->value;
		live->calls->oom(live);
	} else if (event->kind == RUNNER_EVENT_REBOOT) {
		live->wants_reboot = true;
	} else if (event->kind == RUNNER_EVENT_ROOM) {
		live->calls->room(live, event->value != 0);
	}
}

static void error_received(struct live *live, const struct runner_error *message)
{
	struct error e = {};
	int code = message->code < 0 && message->code > -4096 ? message->code : -EIO;
	error_set(&e, code, "%.*s", RUNNER_TEXT_MAX - 1, message->text);
	if (message->header.serial)
		answer(live, message->header.serial, code, &e, message, sizeof(*message), NULL, 0);
	else
		live->error = e;
}

/* False for what is no message of this version. */
static bool message_received(
	struct live *live, const void *bytes, size_t length, int *fds, size_t fd_count)
{
	const struct runner_header *header = bytes;
	if (length < sizeof(*header) || header->length != length ||
		header->version != RUNNER_VERSION)
		return false;
	switch (header->type) {
	case RUNNER_STATE:
		if (length < sizeof(struct runner_state))
			return false;
		if (header->serial)
			answer(live, header->serial, 0, NULL, bytes, length, fds, fd_count);
		state_received(live, bytes, &fds[0]);
		return true;
	case RUNNER_EVENT:
		if (length < sizeof(struct runner_event))
			return false;
		event_received(live, bytes);
		return true;
	case RUNNER_ERROR:
		if (length < sizeof(struct runner_error))
			return false;
		error_received(live, bytes);
		return true;
	default:
		answer(live, header->serial, 0, NULL, bytes, length, fds, fd_count);
		return true;
	}
}

static void control_ready(void *data, int fd, uint32_t events)
{
	struct live *live = data;
	static_assert(sizeof(struct runner_console_log) + RUNNER_CONSOLE_MAX <= CHANNEL_MESSAGE_MAX,
		"the longest message of a runner is no message of a channel");
	(void)events;
	for (;;) {
		union {
			struct runner_header header;
			char bytes[16384 / 2];
		} small;
		int fds[CHANNEL_FDS_MAX];
		size_t fd_count = ARRAY_SIZE(fds);
		for (size_t i = 0; i < fd_count; i++)
			fds[i] = -1;
		cleanup(free) char *large = NULL;
		char *bytes = small.bytes;
		size_t size = sizeof(small);
		if (live->requests) { /* an answer may be long, what comes by itself is not */
			size = CHANNEL_MESSAGE_MAX;
			bytes = large = alloc_array(size, char);
		}
		ssize_t length = channel_receive(fd, bytes, size, fds, &fd_count);
		if (length == -EAGAIN)
			return;
		bool is_good =
			length > 0 && message_received(live, bytes, (size_t)length, fds, fd_count);
		for (size_t i = 0; i < fd_count; i++) {
			if (fds[i] >= 0)
				close(fds[i]);
		}
		if (!is_good) {
			if (length > 0)
				log_error(
					"runner sent no message instance=%s", live->instance->name);
			live_kill(live);
			live_gone(live);
			return;
		}
	}
}

static void runner_ended(void *data, pid_t pid, int wait_status)
{
	struct live *live = data;
	source_free(TAKE_PTR(live->child));
	live->runner_pid = 0;
	if (wait_status)
		log_warning("runner ended instance=%s pid=%d wait_status=%d", live->instance->name,
			pid, wait_status);
	/* Its last words may still be in the socket. */
	if (!live->is_gone && live->control >= 0)
		control_ready(live, live->control, EPOLLIN);
	else
		live_gone(live);
}

static int control_watch(struct live *live, int control, struct error *e)
{
	struct loop *loop = live->instance->service->loop;
	live->control = control;
	int r = loop_add_fd(loop, control, EPOLLIN, control_ready, live, &live->control_source);
	return r < 0 ? error_code(e, r, "watch the runner") : 0;
}

static int say_hello(struct live *live, struct error *e)
{
	struct runner_header hello = { .type = RUNNER_HELLO };
	return live_send(live, &hello, sizeof(hello), -1, NULL, NULL, e);
}

static void signal_or_log(const struct live *live, int pidfd)
{
	int r = pidfd >= 0 ? process_signal(pidfd, SIGKILL) : 0;
	if (r < 0 && r != -ESRCH)
		log_error("kill instance=%s code=%d", live->instance->name, r);
}

int live_spawn(struct live *live, const char *program, int dir, struct error *e)
{
	struct service *service = live->instance->service;
	cleanup(close) int listener = -1, log = -1;
	if (unlinkat(dir, RUNNER_CONTROL_FILE, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove the old %s", RUNNER_CONTROL_FILE);
	int r = channel_listen(dir, RUNNER_CONTROL_FILE, 0600, &listener, e);
	if (r < 0)
		return r;
	log = openat(dir, "runner.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0)
		return error_errno(e, "open runner.log");
	cleanup(free) char *path = instance_dir_path(live->instance);
	cleanup(free) char *plan =
		alloc_printf("%s/%s/%s", service->dir_path, path, RUNNER_PLAN_FILE);
	struct process process = { .pidfd = -1 };
	int channel;
	r = spare_begin(service,
		&(struct spare_start){ .kind = live->instance->kind,
			.program = program,
			.plan = plan,
			/* What a unikernel's state is found at; its runner would start itself anew for it. */
			.same_addresses = json_is_true(json_object_get(live->document, "stateful")),
			.control = listener,
			.dir = dir,
			.log = log },
		&process, &channel, e);
	if (r < 0)
		return r;
	live->runner_pid = process.pid;
	live->runner_pidfd = process.pidfd;
	r = control_watch(live, channel, e);
	if (r == 0)
		r = loop_add_child(service->loop, process.pid, process.pidfd, runner_ended, live,
			&live->child);
	if (r < 0)
		signal_or_log(live, process.pidfd);
	return r;
}

int live_greet(struct live *live, struct error *e)
{
	struct error untold = {};
	int r = say_hello(live, &untold);
	/* A runner that has failed by now is heard, not told: what it said can still be read. */
	if (r == -EPIPE || r == -ECONNRESET)
		return 0;
	return r < 0 ? error_set(e, r, "%s", untold.text) : 0;
}

int live_adopt(struct live *live, int dir, struct error *e)
{
	int control;
	int r = channel_connect(dir, RUNNER_CONTROL_FILE, &control, e);
	if (r == 0)
		r = control_watch(live, control, e);
	return r < 0 ? r : say_hello(live, e);
}

static size_t requests_count(const struct live *live)
{
	size_t count = 0;
	for (const struct live_request *at = live->requests; at; at = at->next)
		count++;
	return count;
}

int live_send(struct live *live, void *message, size_t length, int fd, live_answer *call,
	void *data, struct error *e)
{
	struct runner_header *header = message;
	if (live->control < 0)
		return error_set(e, -ECONNRESET, "The instance has stopped");
	if (requests_count(live) >= REQUESTS_MAX)
		return error_set(
			e, -EBUSY, "The runner of \"%s\" does not answer", live->instance->name);
	header->length = (uint32_t)length;
	header->version = RUNNER_VERSION;
	header->serial = ++live->serial ?: ++live->serial;
	int r = channel_send(live->control, message, length, &fd, fd >= 0);
	if (r < 0)
		return error_code(e, r, "tell the runner of \"%s\"", live->instance->name);
	struct live_request *request = alloc(struct live_request);
	*request = (struct live_request){ live->requests, header->serial, call, data };
	live->requests = request;
	return 0;
}

void live_forget(struct live *live, const void *data)
{
	for (struct live_request *at = live->requests; at; at = at->next) {
		if (at->data == data)
			at->answer = NULL;
	}
}

int live_stop(struct live *live, struct error *e)
{
	struct runner_header stop = { .type = RUNNER_STOP };
	return live_send(live, &stop, sizeof(stop), -1, NULL, NULL, e);
}

void live_kill(struct live *live)
{
	struct error e = {};
	if (live->group && cgroup_kill(live->group, &e) < 0)
		log_error("kill instance=%s: %s", live->instance->name, e.text);
	signal_or_log(live, live->pidfd);
	if (!live->is_running)
		signal_or_log(live, live->runner_pidfd);
}
