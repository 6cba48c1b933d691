/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - a program that runs in an instance for a client: its streams are websockets of an operation.
 *
 * The helper is started when the client has connected its sockets: 0, 1, 2 and control, or 0 and control
 * with a terminal. It is over when the helper said how the program ended and all its output is on its way.
 */
#include "daemon/instance/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/control.h"
#include "daemon/instance/helper.h"
#include "daemon/reaper.h"
#include "http/bridge.h"
#include "http/websocket.h"
#include "model/json.h"

#define REQUEST_SERIAL  1 /* of what the helper is asked while its program runs */
#define WORDS_MAX_EXEC  4096
#define SOCKETS_WAIT_NS (30 * NS_PER_SEC) /* of a client on a busy machine, too */

struct exec {
	struct service *service;
	char *project, *name; /* of the instance, which may go meanwhile */
	struct loop *loop;
	struct operation *operation;
	json_t *request;
	bool is_interactive;
	bool is_recorded;
	bool has_sockets;

	struct source *timer; /* until the sockets are there */
	struct websocket *sockets[3];
	struct websocket *control;
	struct bridge *bridges[3];
	size_t open_outputs;
	char *records[3]; /* names of files */

	int channel;
	struct source *channel_source;
	bool has_ended;
	int code; /* negative: could not run, `error` says why */
	int32_t wait_status;
	struct error error;
};

static int return_code(const struct exec *exec)
{
	if (exec->code == -ENOENT)
		return 127;
	if (exec->code < 0)
		return 126;
	if (WIFSIGNALED(exec->wait_status))
		return 128 + WTERMSIG(exec->wait_status);
	return WEXITSTATUS(exec->wait_status);
}

static void exec_free(struct exec *exec)
{
	source_free(exec->timer);
	source_free(exec->channel_source);
	if (exec->channel >= 0)
		close(exec->channel);
	for (size_t i = 0; i < ARRAY_SIZE(exec->bridges); i++) {
		bridge_free(exec->bridges[i]);
		websocket_free(exec->sockets[i]);
		free(exec->records[i]);
	}
	if (exec->control)
		websocket_close(exec->control, 1000);
	json_decref(exec->request);
	free(exec->project);
	free(exec->name);
	free(exec);
}

static void add_record(struct exec *exec, json_t *output, int stream)
{
	char key[2] = { (char)('0' + stream), '\0' };
	if (exec->records[stream])
		json_object_set_new(output, key,
			json_sprintf("/1.0/instances/%s/logs/exec-output/%s", exec->name,
				exec->records[stream]));
}

static void exec_over(struct exec *exec)
{
	json_t *metadata = json_pack("{s:i}", "return", return_code(exec));
	if (exec->is_recorded) {
		json_t *output = json_object();
		add_record(exec, output, 1);
		add_record(exec, output, 2);
		json_object_set_new(metadata, "output", output);
	}
	if (exec->code < 0) {
		const char *key;
		json_t *value;
		json_object_foreach(metadata, key, value)
			operation_set(exec->operation, key, json_incref(value));
		json_decref(metadata);
		if (exec->code == -ENOENT)
			error_set(&exec->error, -ENOENT, "Command not found");
		else if (exec->code == -EACCES)
			error_set(&exec->error, -EACCES, "Command not executable");
		operation_failed(exec->operation, exec->code, &exec->error);
	} else {
		operation_done(exec->operation, metadata);
	}
	exec_free(exec);
}

static void exec_over_soon(void *data)
{
	exec_over(data);
}

static void over_if_quiet(struct exec *exec)
{
	if (exec->has_ended && exec->open_outputs == 0) {
		exec->open_outputs = SIZE_MAX; /* only once */
		loop_defer(exec->loop, exec_over_soon, exec);
	}
}

static void ended(struct exec *exec, int code, const struct error *e)
{
	if (exec->has_ended)
		return;
	exec->has_ended = true;
	exec->code = code;
	if (e)
		exec->error = *e;
	source_free(exec->channel_source);
	exec->channel_source = NULL;
	for (size_t i = exec->is_interactive ? 0 : 1; i < ARRAY_SIZE(exec->bridges); i++) {
		if (exec->bridges[i])
			bridge_finish(exec->bridges[i]);
	}
	over_if_quiet(exec);
}

static void output_ended(void *data)
{
	struct exec *exec = data;
	exec->open_outputs--;
	over_if_quiet(exec);
}

static void input_ended(void *data)
{
	(void)data;
}

static void channel_ready(void *data, int fd, uint32_t events)
{
	struct exec *exec = data;
	union {
		struct runner_header header;
		struct runner_state state;
		struct runner_error error;
	} message;
	int fds[CHANNEL_FDS_MAX];
	size_t fd_count = ARRAY_SIZE(fds);
	struct error e = {};
	(void)events;
	ssize_t length = channel_receive(fd, &message, sizeof(message), fds, &fd_count);
	if (length == -EAGAIN)
		return;
	for (size_t i = 0; i < fd_count && length > 0; i++)
		close(fds[i]);
	if (length <= 0) {
		error_set(&e, -EIO, "The helper that entered the instance ended too early");
		ended(exec, -EIO, &e);
		return;
	}
	if (length == sizeof(message.state) && message.header.type == RUNNER_STATE &&
		message.state.status == RUNNER_EXITED) {
		exec->wait_status = message.state.wait_status;
		ended(exec, 0, NULL);
	} else if (message.header.serial == REQUEST_SERIAL) {
		/* What was asked of a program that has just ended, or has no terminal, does not end it. */
	} else if (length == sizeof(message.error) && message.header.type == RUNNER_ERROR) {
		int code = message.error.code < 0 && message.error.code > -4096 ? message.error.code
										: -EIO;
		error_set(&e, code, "%.*s", RUNNER_TEXT_MAX - 1, message.error.text);
		ended(exec, code, &e);
	}
}

static void helper_tell(struct exec *exec, void *message, size_t length, uint16_t type)
{
	struct runner_header *header = message;
	header->type = type;
	header->version = RUNNER_VERSION;
	header->length = (uint32_t)length;
	header->serial = REQUEST_SERIAL;
	if (exec->channel >= 0 && channel_send(exec->channel, message, length, NULL, 0) < 0)
		log_debug("exec: not told type=%u", type);
}

static void helper_signal(struct exec *exec, int64_t number)
{
	struct runner_number message = { .value = (uint64_t)number };
	helper_tell(exec, &message, sizeof(message), RUNNER_SIGNAL);
}

static void control_received(void *data, bool is_text, const char *bytes, size_t length)
{
	struct exec *exec = data;
	struct control_word word;
	(void)is_text;
	if (!control_read(bytes, length, &word))
		return;
	struct runner_size size = { .columns = word.columns, .rows = word.rows };
	if (word.signal)
		helper_signal(exec, word.signal);
	else
		helper_tell(exec, &size, sizeof(size), RUNNER_RESIZE);
}

/* Who lets go of the control socket lets go of the program. */
static void control_closed(void *data)
{
	struct exec *exec = data;
	websocket_free(TAKE_PTR(exec->control));
	if (!exec->has_ended)
		helper_signal(exec, SIGKILL);
}

static int helper_start(
	struct exec *exec, const struct process_fd *streams, size_t count, struct error *e)
{
	struct process_fd fds[4];
	struct instance *instance = NULL;
	struct process helper;
	int ends[2];
	int r = instance_get(exec->service, exec->project, exec->name, &instance, e);
	if (r == 0 && instance->state != INSTANCE_RUNNING)
		r = error_set(e, -EBUSY, "Instance is not running");
	if (r == 0)
		r = channel_pair(ends, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		fds[i] = streams[i];
	fds[count] = (struct process_fd){ "channel", ends[1] };
	struct helper_options options = {
		.name = "exec", .request = exec->request, .fds = fds, .fd_count = count + 1
	};
	r = helper_spawn(instance, &options, &helper, e);
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		return r;
	}
	exec->channel = ends[0];
	r = reaper_take(exec->loop, &helper, e);
	if (r < 0)
		return r;
	r = loop_add_fd(
		exec->loop, exec->channel, EPOLLIN, channel_ready, exec, &exec->channel_source);
	return r < 0 ? error_code(e, r, "watch the helper") : 0;
}

static void bridge_stream(struct exec *exec, int stream, int to_fd, int from_fd)
{
	struct websocket *socket = TAKE_PTR(exec->sockets[stream]);
	bool is_output = from_fd >= 0;
	exec->open_outputs += is_output;
	exec->bridges[stream] = bridge_new(exec->loop, socket,
		&(struct bridge_options){ .to_fd = to_fd,
			.from_fd = from_fd,
			.ended = is_output ? output_ended : input_ended,
			.data = exec });
}

static int start_terminal(struct exec *exec, struct error *e)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return error_errno(e, "make a pair of sockets");
	struct process_fd console = { "console", ends[1] };
	int r = helper_start(exec, &console, 1, e);
	close(ends[1]);
	if (r < 0) {
		close(ends[0]);
		return r;
	}
	bridge_stream(exec, 0, ends[0], ends[0]);
	return 0;
}

static void pipes_close(int pipes[3][2], int end)
{
	for (int i = 0; i < 3; i++) {
		if (pipes[i][end] >= 0)
			close(pipes[i][end]);
		pipes[i][end] = -1;
	}
}

static int start_pipes(struct exec *exec, struct error *e)
{
	static const char *const names[] = { "stdin", "stdout", "stderr" };
	int pipes[3][2] = { { -1, -1 }, { -1, -1 }, { -1, -1 } };
	struct process_fd streams[3];
	int r = 0;
	for (int i = 0; i < 3 && r == 0; i++) {
		if (pipe2(pipes[i], O_CLOEXEC) < 0)
			r = error_errno(e, "make a pipe");
		streams[i] = (struct process_fd){ names[i], pipes[i][i == 0 ? 0 : 1] };
	}
	if (r == 0)
		r = helper_start(exec, streams, 3, e);
	if (r < 0) {
		pipes_close(pipes, 0);
		pipes_close(pipes, 1);
		return r;
	}
	close(pipes[0][0]);
	close(pipes[1][1]);
	close(pipes[2][1]);
	for (int i = 0; i < 3; i++) {
		int fd = pipes[i][i == 0 ? 1 : 0];
		int flags = fcntl(fd, F_GETFL);
		if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
			log_error("exec: a pipe blocks: %m");
		bridge_stream(exec, i, i == 0 ? fd : -1, i == 0 ? -1 : fd);
	}
	return 0;
}

static int record_open(struct exec *exec, int dir, int stream, int *ret, struct error *e)
{
	cleanup(free) char *name = alloc_printf(
		"exec_%s.%s", operation_id(exec->operation), stream == 1 ? "stdout" : "stderr");
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_errno(e, "make %s", name);
	exec->records[stream] = TAKE_PTR(name);
	*ret = fd;
	return 0;
}

/* Nobody listens: the output goes to files, or nowhere. */
static int start_alone(struct exec *exec, struct error *e)
{
	cleanup(close) int dir = -1, null = open("/dev/null", O_RDWR | O_CLOEXEC), logs = -1;
	int fds[3] = { -1, -1, -1 };
	int r = 0;
	if (null < 0)
		return error_errno(e, "open /dev/null");
	if (exec->is_recorded) {
		struct instance *instance = NULL;
		r = instance_get(exec->service, exec->project, exec->name, &instance, e);
		if (r == 0)
			r = instance_open_dir(instance, &dir, e);
		if (r == 0 && mkdirat(dir, "exec-output", 0700) < 0 && errno != EEXIST)
			r = error_errno(e, "make exec-output");
		if (r == 0) {
			logs = openat(dir, "exec-output", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			r = logs < 0 ? error_errno(e, "open exec-output") : 0;
		}
		for (int i = 1; i < 3 && r == 0; i++)
			r = record_open(exec, logs, i, &fds[i], e);
	}
	const struct process_fd streams[] = { { "stdin", null },
		{ "stdout", fds[1] >= 0 ? fds[1] : null },
		{ "stderr", fds[2] >= 0 ? fds[2] : null } };
	if (r == 0)
		r = helper_start(exec, streams, 3, e);
	for (int i = 1; i < 3; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return r;
}

static void run(struct exec *exec)
{
	struct error e = {};
	source_free(exec->timer);
	exec->timer = NULL;
	int r = 0;
	if (!exec->has_sockets)
		r = start_alone(exec, &e);
	else if (exec->is_interactive)
		r = start_terminal(exec, &e);
	else
		r = start_pipes(exec, &e);
	if (r < 0) {
		error_prefix(&e, r, "The command could not be run");
		ended(exec, r == -ENOENT ? -EIO : r, &e);
	}
}

static void sockets_missing(void *data)
{
	struct exec *exec = data;
	struct error e = {};
	error_set(&e, -ETIMEDOUT, "The websockets were not connected in time");
	ended(exec, -ETIMEDOUT, &e);
}

static void connected(
	void *data, struct operation *operation, const char *name, struct websocket *websocket)
{
	static const struct websocket_calls control_calls = { .received = control_received,
		.closed = control_closed };
	struct exec *exec = data;
	(void)operation;
	if (text_equal(name, "control")) {
		exec->control = websocket;
		websocket_set_calls(websocket, &control_calls, exec);
	} else {
		exec->sockets[name[0] - '0'] = websocket;
	}
	bool is_complete = exec->control && exec->sockets[0] &&
		(exec->is_interactive || (exec->sockets[1] && exec->sockets[2]));
	if (is_complete && !exec->has_ended)
		run(exec);
}

static int cancel(void *data, struct operation *operation, struct error *e)
{
	struct exec *exec = data;
	(void)operation;
	(void)e;
	if (exec->channel >= 0) {
		helper_signal(exec, SIGKILL);
	} else {
		struct error error = {};
		error_set(&error, -ECANCELED, "Cancelled");
		ended(exec, -ECANCELED, &error);
	}
	return 0;
}

static bool environment_has(const json_t *environment, const char *name)
{
	return json_object_get(environment, name) != NULL;
}

/* The client's, over the instance's, over the usual. */
static json_t *environment_make(
	const struct instance *instance, const json_t *environment, uint64_t user)
{
	static const char *const usual[][2] = {
		{ "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
		{ "LANG", "C.UTF-8" },
	};
	cleanup(json_decref) json_t *all = json_object();
	json_t *list = json_array();
	const char *key;
	json_t *value;
	json_object_foreach(instance->expanded_config, key, value)
	{
		if (text_starts(key, "environment."))
			json_object_set(all, key + strlen("environment."), value);
	}
	json_object_update(all, json_mutable(environment));
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		if (!environment_has(all, usual[i][0]))
			json_set_text(all, usual[i][0], usual[i][1]);
	}
	if (user == 0 && !environment_has(all, "HOME"))
		json_set_text(all, "HOME", "/root");
	if (user == 0 && !environment_has(all, "USER"))
		json_set_text(all, "USER", "root");
	json_object_foreach(all, key, value)
		json_array_append_new(list, json_sprintf("%s=%s", key, json_string_value(value)));
	return list;
}

static int request_read(
	const struct instance *instance, const json_t *body, struct exec *exec, struct error *e)
{
	json_t *command = NULL, *environment = NULL;
	uint64_t user = 0, group = 0, width = 0, height = 0;
	const char *cwd = NULL;
	bool waits = false;
	int r = json_read_text_array(body, "", "command", &command, e);
	if (r == 0)
		r = json_read_text_map(body, "", "environment", &environment, e);
	if (r == 0)
		r = json_read_u64(body, "", "user", &user, e);
	if (r == 0)
		r = json_read_u64(body, "", "group", &group, e);
	if (r == 0)
		r = json_read_u64(body, "", "width", &width, e);
	if (r == 0)
		r = json_read_u64(body, "", "height", &height, e);
	if (r == 0)
		r = json_read_text(body, "", "cwd", &cwd, e);
	if (r == 0)
		r = json_read_bool(body, "", "interactive", &exec->is_interactive, e);
	if (r == 0)
		r = json_read_bool(body, "", "record-output", &exec->is_recorded, e);
	if (r == 0)
		r = json_read_bool(body, "", "wait-for-websocket", &waits, e);
	if (r < 0)
		return r;
	if (json_array_size(command) == 0 || json_array_size(command) > WORDS_MAX_EXEC)
		return error_set(e, -EINVAL, "command: must be 1 to %d words", WORDS_MAX_EXEC);
	if (user > 65535 || group > 65535)
		return error_set(e, -EINVAL, "user: and group: are at most 65535");
	if (width > CONTROL_CELLS_MAX || height > CONTROL_CELLS_MAX)
		return error_set(
			e, -EINVAL, "width: and height: are at most %d", CONTROL_CELLS_MAX);
	if (cwd && cwd[0] && cwd[0] != '/')
		return error_set(e, -EINVAL, "cwd: must be an absolute path");
	if (exec->is_recorded && (waits || exec->is_interactive))
		return error_set(
			e, -EINVAL, "record-output: excludes wait-for-websocket and interactive");
	exec->has_sockets = waits;
	if (exec->is_interactive && !waits)
		return error_set(e, -EINVAL, "interactive: needs wait-for-websocket");
	exec->request = json_pack("{s:O, s:o, s:o, s:b, s:i, s:i}", "args", command, "environment",
		environment_make(instance, environment, user), "user",
		json_sprintf("%u:%u", (unsigned int)user, (unsigned int)group), "terminal",
		exec->is_interactive, "columns", (int)width, "rows", (int)height);
	if (cwd && cwd[0])
		json_set_text(exec->request, "cwd", cwd);
	return 0;
}

int exec_start(
	struct instance *instance, const json_t *body, struct operation **ret, struct error *e)
{
	struct service *service = instance->service;
	if (!(instance->kind->can & KIND_CAN_EXEC))
		return error_set(
			e, -EOPNOTSUPP, "Nothing can be run in a %s", instance->kind->name);
	if (instance->state == INSTANCE_FROZEN)
		return error_set(e, -EBUSY, "Instance is frozen");
	if (instance->state != INSTANCE_RUNNING)
		return error_set(e, -EBUSY, "Instance is not running");
	struct exec *exec = alloc(struct exec);
	exec->service = service;
	exec->project = alloc_text(instance->project);
	exec->name = alloc_text(instance->name);
	exec->loop = service->loop;
	exec->channel = -1;
	int r = request_read(instance, body, exec, e);
	if (r < 0) {
		exec_free(exec);
		return r;
	}
	json_t *metadata = json_pack("{s:O, s:b}", "command", json_object_get(body, "command"),
		"interactive", exec->is_interactive);
	json_t *environment = json_object_get(body, "environment");
	json_object_set(metadata, "environment", environment);
	exec->operation = operation_new(service,
		&(struct operation_options){
			.class = exec->has_sockets ? OPERATION_WEBSOCKET : OPERATION_TASK,
			.description = "Executing command",
			.project = instance->project,
			.resources = instance_resources(instance),
			.metadata = metadata,
			.cancel = cancel,
			.connected = connected,
			.data = exec });
	*ret = exec->operation;
	if (exec->has_sockets) {
		operation_add_socket(exec->operation, "0");
		if (!exec->is_interactive) {
			operation_add_socket(exec->operation, "1");
			operation_add_socket(exec->operation, "2");
		}
		operation_add_socket(exec->operation, "control");
		exec->timer = loop_add_timer(exec->loop, sockets_missing, exec);
		timer_set_after(exec->timer, SOCKETS_WAIT_NS);
	} else {
		run(exec);
	}
	instance_event(instance, "instance-exec",
		json_pack("{s:O}", "command", json_object_get(body, "command")));
	return 0;
}
