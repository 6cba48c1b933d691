/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket_client.c - wslay's client end over a connection of http/client.
 */
#include "http/websocket_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "base/text.h"

#define MESSAGE_LIMIT_BYTES (16 * MIB)
#define ANSWER_LIMIT_BYTES  (64 * KIB)
#define ANSWER_TIMEOUT_MS   30000

struct websocket_client {
	struct client_raw *raw;
	wslay_event_context_ptr wslay;
	struct loop *loop;
	struct source *source;
	const struct websocket_client_calls *calls;
	void *data;

	/* What came behind the answer to the upgrade. */
	struct text early;
	size_t early_used;

	bool *is_freed; /* on the stack of who is inside wslay, set when a callback frees us */
	bool is_end;    /* the connection ended */
	bool was_queued;
};

static ssize_t on_receive(
	wslay_event_context_ptr wslay, uint8_t *buffer, size_t size, int flags, void *data)
{
	(void)flags;
	struct websocket_client *websocket = data;
	size_t early = websocket->early.length - websocket->early_used;
	if (early) {
		size_t length = early < size ? early : size;
		memcpy(buffer, websocket->early.data + websocket->early_used, length);
		websocket->early_used += length;
		return (ssize_t)length;
	}
	ssize_t length = client_raw_receive(websocket->raw, buffer, size);
	if (length > 0)
		return length;
	websocket->is_end = length != -EAGAIN;
	wslay_event_set_error(
		wslay, length == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_send(
	wslay_event_context_ptr wslay, const uint8_t *bytes, size_t length, int flags, void *data)
{
	(void)flags;
	struct websocket_client *websocket = data;
	ssize_t sent = client_raw_send(websocket->raw, bytes, length);
	if (sent > 0)
		return sent;
	if (sent == 0)
		sent = -EAGAIN;
	wslay_event_set_error(
		wslay, sent == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_mask(wslay_event_context_ptr wslay, uint8_t *mask, size_t length, void *data)
{
	(void)wslay;
	(void)data;
	return getrandom(mask, length, 0) == (ssize_t)length ? 0 : -1;
}

static void on_message(wslay_event_context_ptr wslay,
	const struct wslay_event_on_msg_recv_arg *message, void *data)
{
	(void)wslay;
	struct websocket_client *websocket = data;
	/* A callback has freed us while wslay still holds messages of the same read. */
	if (websocket->is_freed && *websocket->is_freed)
		return;
	if (message->opcode == WSLAY_TEXT_FRAME || message->opcode == WSLAY_BINARY_FRAME)
		websocket->calls->message(websocket->data, message->opcode == WSLAY_TEXT_FRAME,
			message->msg, message->msg_length);
}

/* Asks for what the state of wslay needs next. */
static void watch(struct websocket_client *websocket)
{
	uint32_t events = EPOLLIN;
	if (wslay_event_want_write(websocket->wslay))
		events |= EPOLLOUT;
	if (websocket->source && source_set_events(websocket->source, events) < 0)
		websocket->is_end = true;
}

static void finish(struct websocket_client *websocket, int code)
{
	source_free(websocket->source);
	websocket->source = NULL;
	websocket->calls->closed(websocket->data, code);
}

static void release(struct websocket_client *websocket)
{
	source_free(websocket->source);
	if (websocket->wslay)
		wslay_event_context_free(websocket->wslay);
	client_raw_free(websocket->raw);
	text_done(&websocket->early);
	free(websocket);
}

static void on_ready(void *data, int fd, uint32_t events)
{
	(void)fd;
	(void)events;
	struct websocket_client *websocket = data;
	bool is_freed = false;
	websocket->is_freed = &is_freed;
	int receive = wslay_event_recv(websocket->wslay);
	int send = is_freed ? 0 : wslay_event_send(websocket->wslay);
	if (is_freed) {
		release(websocket);
		return;
	}
	bool is_over = !wslay_event_want_read(websocket->wslay) &&
		!wslay_event_want_write(websocket->wslay);
	if (receive < 0 || send < 0 || websocket->is_end || is_over) {
		bool is_polite = wslay_event_get_close_received(websocket->wslay) || is_over;
		finish(websocket, is_polite || websocket->is_end ? 0 : -EIO);
	} else {
		bool is_queued = wslay_event_get_queued_msg_count(websocket->wslay) > 0;
		if (websocket->was_queued && !is_queued) {
			websocket->was_queued = false;
			websocket->calls->drained(websocket->data);
		}
		/* Last: a callback may have sent more. */
		if (!is_freed)
			watch(websocket);
	}
	if (is_freed)
		release(websocket);
	else
		websocket->is_freed = NULL;
}

static int send_all(struct client_raw *raw, const char *bytes, size_t length)
{
	while (length) {
		ssize_t sent = client_raw_send(raw, bytes, length);
		if (sent == -EAGAIN) {
			struct pollfd wait = { .fd = client_raw_fd(raw), .events = POLLOUT };
			if (poll(&wait, 1, ANSWER_TIMEOUT_MS) <= 0)
				return -ETIMEDOUT;
			continue;
		}
		if (sent < 0)
			return (int)sent;
		bytes += sent;
		length -= (size_t)sent;
	}
	return 0;
}

/* Receives until the empty line; what follows it stays in `text` from *ret_end on. */
static int receive_answer(struct client_raw *raw, struct text *text, size_t *ret_end)
{
	char buffer[4096];
	for (;;) {
		ssize_t length = client_raw_receive(raw, buffer, sizeof(buffer));
		if (length == -EAGAIN) {
			struct pollfd wait = { .fd = client_raw_fd(raw), .events = POLLIN };
			if (poll(&wait, 1, ANSWER_TIMEOUT_MS) <= 0)
				return -ETIMEDOUT;
			continue;
		}
		if (length < 0)
			return (int)length;
		if (length == 0)
			return -ECONNRESET;
		text_add_n(text, buffer, (size_t)length);
		const char *end = memmem(text->data, text->length, "\r\n\r\n", 4);
		if (end) {
			*ret_end = (size_t)(end - text->data) + 4;
			return 0;
		}
		if (text->length > ANSWER_LIMIT_BYTES)
			return -E2BIG;
	}
}

static int refused(const char *target, const char *answer, struct error *e)
{
	const char *status = strchr(answer, ' ');
	int length = (int)strcspn(answer, "\r\n");
	long number = status ? strtol(status, NULL, 10) : 0;
	int code = number == 404 ? -ENOENT : number == 403 || number == 401 ? -EACCES : -EIO;
	return error_set(e, code, "%s: the server answers %.*s", target, length, answer);
}

int websocket_client_open(
	struct client *client, const char *target, struct websocket_client **ret, struct error *e)
{
	cleanup(client_raw_free) struct client_raw *raw = NULL;
	int r = client_raw_open(client, &raw, e);
	if (r < 0)
		return r;

	/* The key only shows that the peer speaks the protocol; RFC 6455 wants 16 bytes in base64. */
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char random[22];
	char key[25];
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return error_errno(e, "getrandom");
	for (size_t i = 0; i < 21; i++)
		key[i] = letters[random[i] % 64];
	key[21] = letters[(random[21] % 4U) * 16U];
	memcpy(key + 22, "==", 3);

	cleanup(text_done) struct text text = {};
	text_printf(&text,
		"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		target, client_host(client), key);
	r = send_all(raw, text.data, text.length);
	text_done(&text);
	size_t end = 0;
	if (r == 0)
		r = receive_answer(raw, &text, &end);
	if (r < 0)
		return error_code(e, r, "%s", target);
	if (!text_starts(text.data, "HTTP/1.1 101"))
		return refused(target, text.data, e);

	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_receive,
		.send_callback = on_send,
		.genmask_callback = on_mask,
		.on_msg_recv_callback = on_message,
	};
	struct websocket_client *websocket = alloc(struct websocket_client);
	if (wslay_event_context_client_init(&websocket->wslay, &callbacks, websocket) != 0) {
		free(websocket);
		return error_set(e, -ENOMEM, "%s: out of memory", target);
	}
	wslay_event_config_set_max_recv_msg_length(websocket->wslay, MESSAGE_LIMIT_BYTES);
	websocket->raw = TAKE_PTR(raw);
	text_add_n(&websocket->early, text.data + end, text.length - end);
	*ret = websocket;
	return 0;
}

void websocket_client_free(struct websocket_client *websocket)
{
	if (!websocket)
		return;
	if (websocket->is_freed) {
		*websocket->is_freed = true;
		source_free(TAKE_PTR(websocket->source));
		return;
	}
	release(websocket);
}

int websocket_client_start(struct websocket_client *websocket, struct loop *loop,
	const struct websocket_client_calls *calls, void *data, struct error *e)
{
	websocket->loop = loop;
	websocket->calls = calls;
	websocket->data = data;
	/* Writable at once, so that what came with the answer is read in the first round. */
	int r = loop_add_fd(loop, client_raw_fd(websocket->raw), EPOLLIN | EPOLLOUT, on_ready,
		websocket, &websocket->source);
	return r < 0 ? error_code(e, r, "watch a websocket") : 0;
}

static void queue(struct websocket_client *websocket)
{
	websocket->was_queued = true;
	/* From inside on_ready() its end does this. */
	if (!websocket->is_freed)
		watch(websocket);
}

void websocket_client_send(
	struct websocket_client *websocket, bool is_text, const void *bytes, size_t length)
{
	struct wslay_event_msg message = {
		.opcode = is_text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
		.msg = bytes,
		.msg_length = length,
	};
	/* Refused only after a close, when nobody listens any more. */
	if (wslay_event_queue_msg(websocket->wslay, &message) == 0)
		queue(websocket);
}

size_t websocket_client_queued_bytes(const struct websocket_client *websocket)
{
	return wslay_event_get_queued_msg_length(websocket->wslay);
}
