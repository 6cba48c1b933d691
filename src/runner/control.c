/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - connections of the daemon, checked messages, state for whoever wants it.
 */
#include "runner/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/channel.h"

struct control_peer {
	struct control *control;
	struct control_peer *next;
	int fd;
	struct source *source;
	uint64_t number;
	bool said_hello;
};

struct control {
	struct loop *loop;
	int listener;
	struct source *source;
	struct control_peer *peers;
	size_t peer_count;
	uint64_t last_number;
	control_request *request;
	void *data;
	struct runner_state state;
	int pidfd;
	bool was_greeted;
	void (*greeted)(void *data);
	void *greeted_data;
};

static void peer_free(struct control_peer *peer)
{
	struct control *control = peer->control;
	for (struct control_peer **at = &control->peers; *at; at = &(*at)->next)
		if (*at == peer) {
			*at = peer->next;
			break;
		}
	control->peer_count--;
	source_free(peer->source);
	close(peer->fd);
	free(peer);
}

static void fill_header(struct runner_header *header, size_t length, uint32_t serial)
{
	header->length = (uint32_t)length;
	header->version = RUNNER_VERSION;
	header->serial = serial;
}

/* A peer that does not read loses what it would have got, not the runner its time. */
static void send_to(struct control_peer *peer, const void *message, size_t length, int pidfd)
{
	(void)!channel_send(peer->fd, message, length, &pidfd, pidfd >= 0 ? 1 : 0);
}

static void send_state(struct control_peer *peer, uint32_t serial)
{
	struct runner_state state = peer->control->state;
	state.header = (struct runner_header){ .type = RUNNER_STATE };
	fill_header(&state.header, sizeof(state), serial);
	send_to(peer, &state, sizeof(state), peer->control->pidfd);
}

static size_t least_length(uint16_t type)
{
	switch ((enum runner_type)type) {
	case RUNNER_SIGNAL:
	case RUNNER_BALLOON:
		return sizeof(struct runner_number);
	case RUNNER_ATTACH:
		return sizeof(struct runner_attach);
	case RUNNER_RESIZE:
		return sizeof(struct runner_size);
	case RUNNER_PLUG:
	case RUNNER_UNPLUG:
	case RUNNER_DISK_RATES:
		return sizeof(struct runner_plug);
	case RUNNER_HELLO:
	case RUNNER_STOP:
	case RUNNER_CONSOLE_LOG:
	case RUNNER_CONSOLE_CLEAR:
	case RUNNER_PAUSE:
	case RUNNER_RESUME:
	case RUNNER_RESET:
	case RUNNER_STATS:
	case RUNNER_SUSPEND:
		return sizeof(struct runner_header);
	case RUNNER_BEGIN:
	case RUNNER_STATE:
	case RUNNER_EVENT:
	case RUNNER_DONE:
	case RUNNER_ERROR:
		break;
	}
	return 0; /* nothing that a daemon says to one that runs */
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

static void take_message(struct control_peer *peer, const struct runner_header *header,
	size_t length, const int *fds, size_t fd_count)
{
	struct control *control = peer->control;
	if (length < sizeof(*header) || header->length != length) {
		close_all(fds, fd_count);
		return;
	}
	size_t least = least_length(header->type);
	if (header->version != RUNNER_VERSION || least == 0 || length < least) {
		close_all(fds, fd_count);
		control_answer_error(
			peer, header, -EINVAL, "the runner does not know this message");
		return;
	}
	if (header->type == RUNNER_HELLO) {
		close_all(fds, fd_count);
		peer->said_hello = true;
		send_state(peer, header->serial);
		control->was_greeted = true;
		if (control->greeted)
			control->greeted(control->greeted_data);
		return;
	}
	control->request(control->data, peer, header, fds, fd_count);
}

static void peer_is_ready(void *data, int fd, uint32_t events)
{
	(void)events;
	struct control_peer *peer = data;
	union {
		struct runner_header header;
		uint8_t bytes[1024];
	} message;
	int fds[2];
	size_t fd_count = ARRAY_SIZE(fds);
	ssize_t length = channel_receive(fd, &message, sizeof(message), fds, &fd_count);
	if (length == -EAGAIN || length == -EMSGSIZE)
		return;
	if (length <= 0) {
		peer_free(peer);
		return;
	}
	take_message(peer, &message.header, (size_t)length, fds, fd_count);
}

int control_add(struct control *control, int fd)
{
	if (control->peer_count >= CONTROL_PEERS_MAX) {
		close(fd);
		return -EBUSY;
	}
	struct control_peer *peer = alloc(struct control_peer);
	peer->control = control;
	peer->number = ++control->last_number;
	peer->fd = fd;
	int r = loop_add_fd(control->loop, fd, EPOLLIN, peer_is_ready, peer, &peer->source);
	if (r < 0) {
		close(fd);
		free(peer);
		return r;
	}
	peer->next = control->peers;
	control->peers = peer;
	control->peer_count++;
	return 0;
}

static void listener_is_ready(void *data, int fd, uint32_t events)
{
	(void)events;
	int peer = channel_accept(fd);
	if (peer >= 0)
		(void)!control_add(data, peer);
}

int control_new(struct loop *loop, int listener, control_request *request, void *data,
	struct control **ret, struct error *e)
{
	cleanup(control_free) struct control *control = alloc(struct control);
	control->loop = loop;
	control->listener = listener;
	control->request = request;
	control->data = data;
	control->pidfd = -1;
	control->state.status = RUNNER_STARTING;
	if (listener >= 0) {
		/* Who made it may not have: an accept that waits would stop the runner. */
		int flags = fcntl(listener, F_GETFL);
		if (flags < 0 || fcntl(listener, F_SETFL, flags | O_NONBLOCK) < 0)
			return error_errno(e, "the control socket");
		int r = loop_add_fd(
			loop, listener, EPOLLIN, listener_is_ready, control, &control->source);
		if (r < 0)
			return error_code(e, r, "watch the control socket");
	}
	*ret = TAKE_PTR(control);
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	while (control->peers)
		peer_free(control->peers);
	source_free(control->source);
	free(control);
}

void control_set_state(struct control *control, const struct runner_state *state, int pidfd)
{
	control->state = *state;
	control->pidfd = pidfd;
	for (struct control_peer *peer = control->peers; peer; peer = peer->next)
		if (peer->said_hello)
			send_state(peer, 0);
}

void control_tell_state(struct control *control, const struct runner_state *state, int pidfd)
{
	control->state = *state;
	control->pidfd = pidfd;
	for (struct control_peer *peer = control->peers; peer; peer = peer->next)
		send_state(peer, 0);
}

void control_tell_event(struct control *control, enum runner_event_kind kind, uint64_t value)
{
	struct runner_event event = { .header.type = RUNNER_EVENT, .kind = kind, .value = value };
	fill_header(&event.header, sizeof(event), 0);
	for (struct control_peer *peer = control->peers; peer; peer = peer->next)
		if (peer->said_hello)
			send_to(peer, &event, sizeof(event), -1);
}

static void make_error(struct runner_error *error, uint32_t serial, int code, const char *text)
{
	*error = (struct runner_error){ .header.type = RUNNER_ERROR, .code = code };
	fill_header(&error->header, sizeof(*error), serial);
	snprintf(error->text, sizeof(error->text), "%s", text);
}

void control_tell_error(struct control *control, int code, const char *text)
{
	struct runner_error error;
	make_error(&error, 0, code, text);
	/* Those that wait in the listener's queue, too: the runner ends soon. */
	for (int fd; control->listener >= 0 && (fd = channel_accept(control->listener)) >= 0;)
		if (control_add(control, fd) < 0)
			break;
	for (struct control_peer *peer = control->peers; peer; peer = peer->next)
		send_to(peer, &error, sizeof(error), -1);
}

void control_answer(struct control_peer *peer, const struct runner_header *request, void *message,
	size_t length, const void *tail, size_t tail_length)
{
	fill_header(message, length + tail_length, request->serial);
	const struct iovec iov[] = {
		{ message, length },
		{ (void *)(uintptr_t)tail, tail_length },
	};
	(void)!channel_send_iov(peer->fd, iov, tail_length ? 2 : 1, NULL, 0);
}

uint64_t control_peer_number(const struct control_peer *peer)
{
	return peer->number;
}

struct control_peer *control_peer_of(struct control *control, uint64_t number)
{
	for (struct control_peer *peer = control->peers; peer; peer = peer->next)
		if (peer->number == number)
			return peer;
	return NULL;
}

void control_answer_done(struct control_peer *peer, const struct runner_header *request)
{
	struct runner_header done = { .type = RUNNER_DONE };
	control_answer(peer, request, &done, sizeof(done), NULL, 0);
}

void control_answer_error(
	struct control_peer *peer, const struct runner_header *request, int code, const char *text)
{
	struct runner_error error;
	make_error(&error, request->serial, code, text);
	send_to(peer, &error, sizeof(error), -1);
}

bool control_when_greeted(struct control *control, void (*greeted)(void *data), void *data)
{
	control->greeted = greeted;
	control->greeted_data = data;
	return control->was_greeted;
}
