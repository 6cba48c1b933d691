/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - bytes between a terminal (or pipes) and the websockets of an exec or a console.
 *
 * Without a terminal: sockets 0, 1 and 2, of which an empty text message says "end". With one: socket 0
 * for both directions. "control" takes window sizes and signals as JSON. Our own descriptors stay
 * blocking: they are shared with whoever started us.
 */
#include "cli/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/file.h"
#include "base/loop.h"
#include "http/websocket_client.h"

#define QUEUE_LIMIT_BYTES (256 * KIB)
#define INPUT_BYTES       7168
#define DETACH_PREFIX     1                /* ctrl-a */
#define DETACH_NS         (5 * NS_PER_SEC) /* for what was typed before, if nobody reads it */

enum { STREAM_INPUT, STREAM_OUTPUT, STREAM_ERROR, STREAM_CONTROL, STREAM_COUNT };
static const char *const stream_names[STREAM_COUNT] = { "0", "1", "2", "control" };

struct stream {
	struct session *session;
	struct websocket_client *websocket;
	int fd; /* where what comes is written, -1: nowhere */
	bool is_ended;
};

struct session {
	const struct session_options *options;
	struct loop *loop;
	struct stream streams[STREAM_COUNT];
	struct source *input;
	bool is_input_file; /* always readable: epoll refuses it */
	bool is_input_ended;
	bool is_prefixed;         /* ctrl-a was typed */
	bool is_detaching;        /* as soon as what was typed before is sent */
	struct source *detaching; /* its bound */
	struct source *signals[8];
	int failure;
};

bool session_size(unsigned *ret_width, unsigned *ret_height)
{
	struct winsize size = {};
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 &&
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return false;
	*ret_width = size.ws_col;
	*ret_height = size.ws_row;
	return size.ws_col > 0;
}

static void end(struct session *session, int code)
{
	if (code < 0 && !session->failure)
		session->failure = code;
	loop_stop(session->loop, code < 0 ? 0 : code);
}

static void check_end(struct session *session)
{
	bool is_ended = session->options->has_terminal ? session->streams[STREAM_INPUT].is_ended
						       : session->streams[STREAM_OUTPUT].is_ended &&
			session->streams[STREAM_ERROR].is_ended;
	if (is_ended)
		end(session, 0);
}

static void on_message(void *data, bool is_text, const void *bytes, size_t length)
{
	struct stream *stream = data;
	if (is_text && !length) {
		stream->is_ended = true;
		check_end(stream->session);
		return;
	}
	if (stream->fd < 0)
		return;
	int r = file_write_all(stream->fd, bytes, length);
	if (r < 0)
		end(stream->session, r);
}

static void on_closed(void *data, int code)
{
	(void)code;
	struct stream *stream = data;
	stream->is_ended = true;
	check_end(stream->session);
}

static void read_input(struct session *session);

static void on_drained(void *data)
{
	struct stream *stream = data;
	struct session *session = stream->session;
	if (stream != &session->streams[STREAM_INPUT])
		return;
	if (session->is_detaching)
		end(session, 1);
	if (session->is_input_ended)
		return;
	if (session->is_input_file)
		read_input(session);
	else if (session->input && source_set_events(session->input, EPOLLIN) < 0)
		end(session, -EIO);
}

static const struct websocket_client_calls stream_calls = { on_message, on_drained, on_closed };

static void send_control(struct session *session, const char *json)
{
	struct stream *control = &session->streams[STREAM_CONTROL];
	if (control->websocket && !control->is_ended)
		websocket_client_send(control->websocket, true, json, strlen(json));
}

static void send_size(struct session *session)
{
	unsigned width = 0, height = 0;
	if (!session_size(&width, &height))
		return;
	char json[128];
	snprintf(json, sizeof(json),
		"{\"command\":\"window-resize\",\"args\":{\"width\":\"%u\",\"height\":\"%u\"}}",
		width, height);
	send_control(session, json);
}

static void on_signal(void *data, int number)
{
	struct session *session = data;
	if (number == SIGWINCH) {
		if (session->options->has_terminal)
			send_size(session);
		return;
	}
	char json[64];
	snprintf(json, sizeof(json), "{\"command\":\"signal\",\"signal\":%d}", number);
	send_control(session, json);
}

/* Looks for ctrl-a q in what was typed: ctrl-a a is a ctrl-a. Returns true to detach; what comes behind it is nobody's. */
static bool filter_typed(struct session *session, const char *bytes, ssize_t *length, char *out)
{
	ssize_t kept = 0;
	for (ssize_t i = 0; i < *length; i++) {
		if (session->is_prefixed) {
			session->is_prefixed = false;
			if (bytes[i] == 'q') {
				*length = kept;
				return true;
			}
			if (bytes[i] != 'a')
				out[kept++] = DETACH_PREFIX;
			out[kept++] = bytes[i] == 'a' ? (char)DETACH_PREFIX : bytes[i];
		} else if (bytes[i] == DETACH_PREFIX) {
			session->is_prefixed = true;
		} else {
			out[kept++] = bytes[i];
		}
	}
	*length = kept;
	return false;
}

static void end_input(struct session *session)
{
	session->is_input_ended = true;
	source_free(TAKE_PTR(session->input));
	struct stream *stream = &session->streams[STREAM_INPUT];
	if (!stream->is_ended && !session->options->has_terminal)
		websocket_client_send(stream->websocket, true, "", 0);
}

static void detach_now(void *data)
{
	end(data, 1);
}

/* What was typed before it, perhaps in the same moment, is sent first. */
static void detach(struct session *session, const char *bytes, size_t length)
{
	struct stream *stream = &session->streams[STREAM_INPUT];
	if (length && !stream->is_ended)
		websocket_client_send(stream->websocket, false, bytes, length);
	session->is_input_ended = true;
	source_free(TAKE_PTR(session->input));
	session->is_detaching =
		!stream->is_ended && websocket_client_queued_bytes(stream->websocket) > 0;
	if (!session->is_detaching) {
		end(session, 1);
		return;
	}
	session->detaching = loop_add_timer(session->loop, detach_now, session);
	timer_set_after(session->detaching, DETACH_NS);
}

/* Reads once and queues it; a file again and again until the queue is full. */
static void read_input(struct session *session)
{
	struct stream *stream = &session->streams[STREAM_INPUT];
	char bytes[INPUT_BYTES], out[INPUT_BYTES + 2];
	do {
		ssize_t length = read(STDIN_FILENO, bytes, sizeof(bytes));
		if (length < 0 && (errno == EINTR || errno == EAGAIN))
			return;
		if (length <= 0) {
			end_input(session);
			return;
		}
		const char *data = bytes;
		if (session->options->can_detach) {
			if (filter_typed(session, bytes, &length, out)) {
				detach(session, out, (size_t)length);
				return;
			}
			data = out;
		}
		if (stream->is_ended) {
			end_input(session);
			return;
		}
		if (length)
			websocket_client_send(stream->websocket, false, data, (size_t)length);
	} while (session->is_input_file &&
		websocket_client_queued_bytes(stream->websocket) < QUEUE_LIMIT_BYTES);
	if (session->input &&
		websocket_client_queued_bytes(stream->websocket) >= QUEUE_LIMIT_BYTES &&
		source_set_events(session->input, 0) < 0)
		end(session, -EIO);
}

static void on_input(void *data, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	read_input(data);
}

static void on_input_file(void *data)
{
	read_input(data);
}

static int start_input(struct session *session, struct error *e)
{
	if (session->options->is_input_closed) {
		end_input(session);
		return 0;
	}
	int r = loop_add_fd(
		session->loop, STDIN_FILENO, EPOLLIN, on_input, session, &session->input);
	if (r == -EPERM) {
		session->is_input_file = true;
		loop_defer(session->loop, on_input_file, session);
		return 0;
	}
	if (r == -EBADF) {
		end_input(session);
		return 0;
	}
	return r < 0 ? error_code(e, r, "watch standard input") : 0;
}

static int start_signals(struct session *session, struct error *e)
{
	static const int numbers[] = { SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1,
		SIGUSR2 };
	static_assert(ARRAY_SIZE(numbers) < ARRAY_SIZE(session->signals), "room for each signal");
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		int r = loop_add_signal(
			session->loop, numbers[i], on_signal, session, &session->signals[i]);
		if (r < 0)
			return error_code(e, r, "watch signal %d", numbers[i]);
	}
	return 0;
}

static int start_streams(struct session *session, struct context *context, const char *path,
	const json_t *fds, struct error *e)
{
	/* The order of the stock clients: control first, so that no signal is lost. */
	static const int order[] = { STREAM_CONTROL, STREAM_INPUT, STREAM_OUTPUT, STREAM_ERROR };
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		struct stream *stream = &session->streams[order[i]];
		const char *secret =
			json_string_value(json_object_get(fds, stream_names[order[i]]));
		if (!secret) {
			stream->is_ended = true;
			continue;
		}
		cleanup(free) char *target =
			path_query(alloc_printf("%s/websocket", path), "secret", secret);
		int r = websocket_client_open(
			remote_client(context->remote), target, &stream->websocket, e);
		if (r < 0)
			return r;
		r = websocket_client_start(
			stream->websocket, session->loop, &stream_calls, stream, e);
		if (r < 0)
			return r;
	}
	if (!session->streams[STREAM_INPUT].websocket)
		return error_set(e, -EIO, "the server offers no standard input");
	return 0;
}

static bool make_raw(struct termios *saved)
{
	struct termios raw;
	if (tcgetattr(STDIN_FILENO, saved) < 0)
		return false;
	raw = *saved;
	cfmakeraw(&raw);
	return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void session_done_cleanup(struct session *session)
{
	source_free(session->input);
	source_free(session->detaching);
	for (size_t i = 0; i < ARRAY_SIZE(session->signals); i++)
		source_free(session->signals[i]);
	for (size_t i = 0; i < STREAM_COUNT; i++)
		websocket_client_free(session->streams[i].websocket);
	loop_free(session->loop);
}

int session_run(struct context *context, const char *path, const json_t *fds,
	const struct session_options *options, struct error *e)
{
	cleanup(session_done) struct session session = { .options = options };
	for (size_t i = 0; i < STREAM_COUNT; i++)
		session.streams[i] = (struct stream){ .session = &session, .fd = -1 };
	session.streams[STREAM_OUTPUT].fd = STDOUT_FILENO;
	session.streams[STREAM_ERROR].fd = STDERR_FILENO;
	if (options->has_terminal)
		session.streams[STREAM_INPUT].fd = STDOUT_FILENO;

	int r = loop_new(&session.loop, e);
	if (r == 0)
		r = start_signals(&session, e);
	if (r == 0)
		r = start_streams(&session, context, path, fds, e);
	if (r == 0)
		r = start_input(&session, e);
	if (r < 0)
		return r;

	struct termios saved;
	bool is_raw = options->has_terminal && isatty(STDIN_FILENO) && make_raw(&saved);
	if (options->has_terminal)
		send_size(&session);
	r = loop_run(session.loop);
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	if (session.failure)
		return error_code(e, session.failure, "write output");
	return r < 0 ? error_code(e, r, "wait for the session") : r;
}
