/* SPDX-License-Identifier: Apache-2.0 */
/*
 * websocket.c - wslay on a socket of the loop.
 *
 * wslay frames and unframes; it asks for bytes and hands bytes out by callbacks, which read and write
 * the socket through one buffer. wslay may not be freed within its own callbacks, so a websocket that
 * is freed by the callee while wslay runs is only marked and freed when it has returned.
 */
#include "http/websocket.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <wslay/wslay.h>

#include "base/text.h"
#include "http/server.h"

#define READ_BYTES   65536
#define TURN_BYTES   262144
#define PING_NS      (10 * NS_PER_SEC)
#define CLOSING_NS   (10 * NS_PER_SEC)
#define PING_MESSAGE "keepalive"

struct websocket {
	struct loop *loop;
	int fd;
	struct source *source;
	uint32_t events;
	struct source *timer;
	wslay_event_context_ptr wslay;
	const struct websocket_calls *calls;
	void *data;
	char *input; /* read and not yet given to wslay; at first what came with the handshake */
	size_t input_at, input_length;
	size_t turn_bytes; /* still to be read in this turn of the loop */
	char *buffer;      /* binary parts of one turn, put together */
	size_t buffered;
	struct text text;
	bool is_control; /* the frame that comes */
	bool is_text;    /* the message that comes */
	bool is_empty;   /* the message that comes has no byte so far */
	bool is_refused; /* the peer broke a rule of ours: nothing more of it is told */
	bool is_paused;
	bool is_closing; /* by us; nobody is told any more */
	/* Owed to the peer once the queue is empty: wslay sends a close before what is queued. 0: none. */
	uint16_t close_code;
	bool is_broken; /* nothing more can be read or written; closed() is owed */
	bool is_full;   /* above WEBSOCKET_ROOM_BYTES: drained() is owed */
	bool is_freed;  /* when wslay returns */
	unsigned int depth;
};

static void destroy(struct websocket *websocket)
{
	source_free(websocket->source);
	source_free(websocket->timer);
	wslay_event_context_free(websocket->wslay);
	close(websocket->fd);
	free(websocket->input);
	free(websocket->buffer);
	text_done(&websocket->text);
	free(websocket);
}

void websocket_free(struct websocket *websocket)
{
	if (!websocket)
		return;
	websocket->calls = NULL;
	if (websocket->depth > 0)
		websocket->is_freed = true;
	else
		destroy(websocket);
}

static void tell(struct websocket *websocket, bool is_text, const char *bytes, size_t length)
{
	if (!websocket->is_refused && websocket->calls && websocket->calls->received)
		websocket->calls->received(websocket->data, is_text, bytes, length);
}

static void flush_binary(struct websocket *websocket)
{
	size_t length = TAKE(websocket->buffered, 0);
	if (length > 0)
		tell(websocket, false, websocket->buffer, length);
}

/* Fills the input; -EAGAIN if there is nothing, or enough was read for one turn. */
static int read_more(struct websocket *websocket)
{
	if (websocket->turn_bytes == 0)
		return -EAGAIN;
	if (!websocket->input)
		websocket->input = alloc_resize(NULL, READ_BYTES, 1);
	ssize_t got;
	do
		got = recv(websocket->fd, websocket->input, READ_BYTES, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got == 0 ? -EPIPE : -errno;
	websocket->input_at = 0;
	websocket->input_length = (size_t)got;
	websocket->turn_bytes -=
		(size_t)got < websocket->turn_bytes ? (size_t)got : websocket->turn_bytes;
	return 0;
}

static ssize_t on_receive(
	wslay_event_context_ptr wslay, uint8_t *buffer, size_t size, int flags, void *data)
{
	(void)flags;
	struct websocket *websocket = data;
	if (websocket->is_paused || websocket->is_freed) {
		wslay_event_set_error(wslay, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (websocket->input_at == websocket->input_length) {
		int r = read_more(websocket);
		if (r < 0) {
			wslay_event_set_error(wslay,
				r == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
			return -1;
		}
	}
	size_t length = websocket->input_length - websocket->input_at;
	if (length > size)
		length = size;
	memcpy(buffer, websocket->input + websocket->input_at, length);
	websocket->input_at += length;
	return (ssize_t)length;
}

static ssize_t on_send(
	wslay_event_context_ptr wslay, const uint8_t *bytes, size_t length, int flags, void *data)
{
	struct websocket *websocket = data;
	ssize_t put;
	do
		put = send(websocket->fd, bytes, length,
			MSG_DONTWAIT | MSG_NOSIGNAL | (flags & WSLAY_MSG_MORE ? MSG_MORE : 0));
	while (put < 0 && errno == EINTR);
	if (put >= 0)
		return put;
	wslay_event_set_error(
		wslay, errno == EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_mask(wslay_event_context_ptr wslay, uint8_t *mask, size_t length, void *data)
{
	(void)wslay, (void)data;
	return getrandom(mask, length, 0) == (ssize_t)length ? 0 : -1;
}

static void on_frame_start(wslay_event_context_ptr wslay,
	const struct wslay_event_on_frame_recv_start_arg *frame, void *data)
{
	(void)wslay;
	struct websocket *websocket = data;
	websocket->is_control = wslay_is_ctrl_frame(frame->opcode);
	if (frame->opcode == WSLAY_TEXT_FRAME || frame->opcode == WSLAY_BINARY_FRAME) {
		websocket->is_text = frame->opcode == WSLAY_TEXT_FRAME;
		websocket->is_empty = true;
		websocket->text.length = 0;
		if (websocket->text.data)
			websocket->text.data[0] = '\0';
	}
}

static void refuse(struct websocket *websocket, uint16_t code)
{
	websocket->is_refused = true;
	wslay_event_shutdown_read(websocket->wslay);
	wslay_event_queue_close(websocket->wslay, code, NULL, 0);
}

static void on_frame_part(wslay_event_context_ptr wslay,
	const struct wslay_event_on_frame_recv_chunk_arg *part, void *data)
{
	(void)wslay;
	struct websocket *websocket = data;
	if (part->data_length == 0 || websocket->is_control)
		return;
	websocket->is_empty = false;
	if (websocket->is_text) {
		if (websocket->text.length + part->data_length > WEBSOCKET_TEXT_BYTES)
			refuse(websocket, WSLAY_CODE_MESSAGE_TOO_BIG);
		else
			text_add_n(&websocket->text, part->data, part->data_length);
		return;
	}
	if (websocket->buffered + part->data_length > READ_BYTES)
		flush_binary(websocket);
	if (!websocket->buffer)
		websocket->buffer = alloc_resize(NULL, READ_BYTES, 1);
	/* wslay's own buffer is smaller than ours. */
	assert(part->data_length <= READ_BYTES);
	memcpy(websocket->buffer + websocket->buffered, part->data, part->data_length);
	websocket->buffered += part->data_length;
}

static void on_message(wslay_event_context_ptr wslay,
	const struct wslay_event_on_msg_recv_arg *message, void *data)
{
	(void)wslay;
	struct websocket *websocket = data;
	if (wslay_is_ctrl_frame(message->opcode))
		return;
	if (websocket->is_text) {
		flush_binary(websocket);
		tell(websocket, true, text_str(&websocket->text), websocket->text.length);
	} else if (websocket->is_empty) {
		flush_binary(websocket);
		tell(websocket, false, "", 0);
	}
}

/* The connection is over. */
static void finish(struct websocket *websocket)
{
	const struct websocket_calls *calls = TAKE_PTR(websocket->calls);
	websocket->is_broken = true;
	source_free(websocket->source);
	websocket->source = NULL;
	if (websocket->is_closing) {
		destroy(websocket);
		return;
	}
	timer_stop(websocket->timer);
	if (calls && calls->closed)
		calls->closed(websocket->data);
}

/* Watches for what the websocket waits for now. */
static void watch(struct websocket *websocket)
{
	uint32_t events = 0;
	if (websocket->calls || websocket->is_closing)
		events |= !websocket->is_paused && wslay_event_want_read(websocket->wslay) ? EPOLLIN
											   : 0;
	if (wslay_event_want_write(websocket->wslay))
		events |= EPOLLOUT;
	if (events == websocket->events || !websocket->source)
		return;
	if (source_set_events(websocket->source, events) == 0)
		websocket->events = events;
}

/* Queues the close that is owed, if all before it is sent. True if it did. */
static bool queue_close(struct websocket *websocket)
{
	if (!websocket->close_code || wslay_event_get_queued_msg_count(websocket->wslay) > 0)
		return false;
	wslay_event_queue_close(websocket->wslay, TAKE(websocket->close_code, 0), NULL, 0);
	timer_set_after(websocket->timer, CLOSING_NS);
	return true;
}

/* Lets wslay read and write; the websocket may be gone after it. */
static void work(struct websocket *websocket, bool can_read)
{
	int r = 0;
	websocket->depth++;
	if (can_read && wslay_event_get_read_enabled(websocket->wslay)) {
		websocket->turn_bytes = TURN_BYTES;
		r = wslay_event_recv(websocket->wslay);
		flush_binary(websocket);
		free(TAKE_PTR(websocket->buffer));
		if (websocket->input_at == websocket->input_length) {
			free(TAKE_PTR(websocket->input));
			websocket->input_at = websocket->input_length = 0;
		}
	}
	int s = websocket->is_freed ? 0 : wslay_event_send(websocket->wslay);
	if (s == 0 && !websocket->is_freed && queue_close(websocket))
		s = wslay_event_send(websocket->wslay);
	if (s < 0 && r == 0 && !websocket->is_closing) {
		/* Who takes nothing any more may have sent something before: the end is where reading ends. */
		wslay_event_shutdown_write(websocket->wslay);
		s = 0;
	}
	if (s == 0 && websocket->is_full &&
		websocket_queued_bytes(websocket) < WEBSOCKET_ROOM_BYTES) {
		websocket->is_full = false;
		if (websocket->calls && websocket->calls->drained)
			websocket->calls->drained(websocket->data);
	}
	websocket->depth--;
	if (websocket->is_freed)
		destroy(websocket);
	else if (r < 0 || s < 0 || websocket->is_broken ||
		(!wslay_event_want_read(websocket->wslay) &&
			!wslay_event_want_write(websocket->wslay)))
		finish(websocket);
	else
		watch(websocket);
}

/* Nobody would hear what is read now: there is a pause, or whose it is, is not known yet. */
static bool is_deaf(const struct websocket *websocket)
{
	return websocket->is_paused || (!websocket->calls && !websocket->is_closing);
}

static void on_event(void *data, int fd, uint32_t events)
{
	(void)fd;
	struct websocket *websocket = data;
	if (is_deaf(websocket) && (events & (EPOLLHUP | EPOLLERR))) {
		/* Told again and again otherwise. What is still to be read is read after that. */
		source_free(websocket->source);
		websocket->source = NULL;
		return;
	}
	work(websocket, !is_deaf(websocket));
}

static void on_timer(void *data)
{
	struct websocket *websocket = data;
	/* A peer that reads slowly has as long as it wants for what was sent before the close. */
	if (websocket->close_code && !websocket->is_broken) {
		timer_set_after(websocket->timer, PING_NS);
		return;
	}
	if (websocket->is_closing || websocket->is_broken) {
		finish(websocket);
		return;
	}
	if (websocket->input_length > 0 && !is_deaf(websocket)) {
		timer_set_after(websocket->timer, PING_NS);
		work(websocket, true);
		return;
	}
	struct wslay_event_msg ping = {
		.opcode = WSLAY_PING,
		.msg = (const uint8_t *)PING_MESSAGE,
		.msg_length = sizeof(PING_MESSAGE) - 1,
	};
	timer_set_after(websocket->timer, PING_NS);
	/* A ping behind a full queue says nothing. */
	if (websocket_queued_bytes(websocket) < WEBSOCKET_ROOM_BYTES)
		wslay_event_queue_msg(websocket->wslay, &ping);
	work(websocket, false);
}

struct websocket *websocket_new(
	struct loop *loop, int fd, bool is_client, const void *early, size_t early_length)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_receive,
		.send_callback = on_send,
		.genmask_callback = on_mask,
		.on_frame_recv_start_callback = on_frame_start,
		.on_frame_recv_chunk_callback = on_frame_part,
		.on_msg_recv_callback = on_message,
	};
	struct websocket *websocket = alloc(struct websocket);
	websocket->loop = loop;
	websocket->fd = fd;
	int r = is_client
		? wslay_event_context_client_init(&websocket->wslay, &callbacks, websocket)
		: wslay_event_context_server_init(&websocket->wslay, &callbacks, websocket);
	if (r != 0)
		abort(); /* without memory, as alloc() */
	wslay_event_config_set_no_buffering(websocket->wslay, 1);
	if (early_length > 0) {
		/* It is read into again later, so it is never less than a whole buffer. */
		websocket->input = alloc_resize(
			NULL, early_length > READ_BYTES ? early_length : READ_BYTES, 1);
		memcpy(websocket->input, early, early_length);
		websocket->input_length = early_length;
	}
	websocket->timer = loop_add_timer(loop, on_timer, websocket);
	timer_set_after(websocket->timer, PING_NS);
	if (loop_add_fd(loop, fd, 0, on_event, websocket, &websocket->source) < 0) {
		websocket->is_broken = true;
		timer_set(websocket->timer, 0);
	}
	return websocket;
}

/* Reads, or finds out that it can't, whatever happened meanwhile. */
static void hear(struct websocket *websocket)
{
	if (!websocket->is_broken && !websocket->source) {
		websocket->events = 0;
		websocket->is_broken = loop_add_fd(websocket->loop, websocket->fd, 0, on_event,
					       websocket, &websocket->source) < 0;
	}
	if (websocket->is_broken) {
		timer_set(websocket->timer, 0);
		return;
	}
	/* What came with the handshake raises no event of the socket. */
	if (websocket->input_length > 0 && websocket->depth == 0)
		timer_set(websocket->timer, 0);
	watch(websocket);
}

void websocket_set_calls(
	struct websocket *websocket, const struct websocket_calls *calls, void *data)
{
	websocket->calls = calls;
	websocket->data = data;
	if (websocket->is_paused)
		watch(websocket);
	else
		hear(websocket);
}

size_t websocket_queued_bytes(const struct websocket *websocket)
{
	return wslay_event_get_queued_msg_length(websocket->wslay);
}

int websocket_send(struct websocket *websocket, bool is_text, const void *bytes, size_t length)
{
	if (websocket->is_closing || websocket->is_broken)
		return -EPIPE;
	if (websocket_queued_bytes(websocket) + length > WEBSOCKET_QUEUE_BYTES) {
		websocket->is_full = true;
		return -EAGAIN;
	}
	struct wslay_event_msg message = {
		.opcode = is_text ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME,
		.msg = bytes,
		.msg_length = length,
	};
	int r = wslay_event_queue_msg(websocket->wslay, &message);
	if (r != 0)
		return -EPIPE;
	if (websocket->depth == 0) {
		if (wslay_event_send(websocket->wslay) != 0) {
			/* Told from the loop: the caller does not expect a call now. */
			websocket->is_broken = true;
			timer_set(websocket->timer, 0);
			return -EPIPE;
		}
		watch(websocket);
	}
	if (websocket_queued_bytes(websocket) >= WEBSOCKET_ROOM_BYTES)
		websocket->is_full = true;
	return 0;
}

void websocket_pause(struct websocket *websocket, bool is_paused)
{
	if (websocket->is_paused == is_paused || websocket->is_broken)
		return;
	websocket->is_paused = is_paused;
	if (is_paused)
		watch(websocket);
	else
		hear(websocket);
}

void websocket_close(struct websocket *websocket, uint16_t code)
{
	websocket->calls = NULL;
	websocket->is_closing = true;
	websocket->is_paused = false;
	websocket->close_code = code;
	timer_set_after(websocket->timer, websocket->is_broken ? 0 : CLOSING_NS);
	if (websocket->depth == 0 && !websocket->is_broken)
		work(websocket, false);
}

int websocket_accept_key(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
	static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	if (strlen(key) != 24 || !text_ends(key, "=="))
		return -EINVAL;
	cleanup(text_done) struct text text = {};
	text_add(&text, key);
	text_add(&text, magic);
	unsigned char digest[20];
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text.data, text.length, digest) < 0)
		return -EINVAL;
	gnutls_datum_t plain = { .data = digest, .size = sizeof(digest) };
	gnutls_datum_t encoded;
	if (gnutls_base64_encode2(&plain, &encoded) < 0)
		return -EINVAL;
	memcpy(accept, encoded.data, WEBSOCKET_ACCEPT_SIZE - 1);
	accept[WEBSOCKET_ACCEPT_SIZE - 1] = '\0';
	gnutls_free(encoded.data);
	return 0;
}

struct handshake {
	struct loop *loop;
	websocket_ready_call *ready;
	void *data;
};

static void on_upgraded(void *data, int fd, const void *early, size_t early_length)
{
	struct handshake *handshake = data;
	struct websocket *websocket =
		fd < 0 ? NULL : websocket_new(handshake->loop, fd, false, early, early_length);
	handshake->ready(handshake->data, websocket);
	free(handshake);
}

int websocket_reply(
	struct http_request *request, websocket_ready_call *ready, void *data, struct error *e)
{
	const char *upgrade = http_request_header(request, "Upgrade");
	const char *version = http_request_header(request, "Sec-WebSocket-Version");
	const char *key = http_request_header(request, "Sec-WebSocket-Key");
	char accept[WEBSOCKET_ACCEPT_SIZE];
	if (!upgrade || strcasecmp(upgrade, "websocket") != 0 || !text_equal(version, "13") || !key)
		return error_set(e, -EINVAL, "this address wants a websocket handshake");
	if (websocket_accept_key(key, accept) < 0)
		return error_set(e, -EINVAL, "Sec-WebSocket-Key: not 16 bytes in base64");
	struct handshake *handshake = alloc(struct handshake);
	*handshake = (struct handshake){
		.loop = http_request_loop(request),
		.ready = ready,
		.data = data,
	};
	http_reply_header(request, "Sec-WebSocket-Accept", accept);
	http_reply_upgrade(request, "websocket", on_upgraded, handshake);
	return 0;
}
