/* SPDX-License-Identifier: Apache-2.0 */
#include "http/websocket.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/text.h"
#include "test.h"

/* Both ends in one loop. */
struct end {
	struct websocket *websocket;
	struct text seen; /* "T(text)", "B(length)" */
	size_t bytes;
	size_t drained;
	bool is_closed;
};

static struct loop *loop;
static struct end server, client;
static int client_fd;

static void on_received(void *data, bool is_text, const char *bytes, size_t length)
{
	struct end *end = data;
	end->bytes += length;
	if (is_text)
		text_printf(&end->seen, "T(%.64s)", bytes);
	else if (length < 64)
		text_printf(&end->seen, "B(%zu)", length);
}

static void on_drained(void *data)
{
	((struct end *)data)->drained++;
}

static void on_closed(void *data)
{
	struct end *end = data;
	end->is_closed = true;
	websocket_free(TAKE_PTR(end->websocket));
}

static const struct websocket_calls calls = { on_received, on_drained, on_closed };

static void start(const void *early, size_t early_length)
{
	int ends[2];
	expect_equal(loop_new(&loop, NULL), 0);
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	server.websocket = websocket_new(loop, ends[0], false, early, early_length);
	client_fd = ends[1];
	client.websocket = websocket_new(loop, ends[1], true, NULL, 0);
	websocket_set_calls(server.websocket, &calls, &server);
	websocket_set_calls(client.websocket, &calls, &client);
}

static void stop(void)
{
	websocket_free(server.websocket);
	websocket_free(client.websocket);
	text_done(&server.seen);
	text_done(&client.seen);
	server = client = (struct end){};
	/* What frees itself after its close does so in the loop. */
	for (int i = 0; i < 4; i++)
		expect_equal(loop_step(loop, 0), 0);
	loop_free(TAKE_PTR(loop));
}

static void turn(int count)
{
	while (count-- > 0)
		expect_equal(loop_step(loop, NS_PER_MS), 0);
}

static void the_key_of_the_rfc_is_answered(void)
{
	char accept[WEBSOCKET_ACCEPT_SIZE];
	expect_equal(websocket_accept_key("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
	expect_text(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	expect_equal(websocket_accept_key("short", accept), -EINVAL);
}

static void messages_keep_their_kind_and_order(void)
{
	start(NULL, 0);
	expect_equal(websocket_send(client.websocket, true, "one", 3), 0);
	expect_equal(websocket_send(client.websocket, false, "1234", 4), 0);
	expect_equal(websocket_send(client.websocket, true, "", 0), 0);
	expect_equal(websocket_send(client.websocket, false, "", 0), 0);
	expect_equal(websocket_send(client.websocket, true, "two", 3), 0);
	expect_equal(websocket_send(server.websocket, true, "back", 4), 0);
	turn(5);
	expect_text(text_str(&server.seen), "T(one)B(4)T()B(0)T(two)");
	expect_text(text_str(&client.seen), "T(back)");
	stop();
}

static void what_came_with_the_handshake_is_read(void)
{
	/* A masked text frame "hi" (the mask is 0), in full and then a first half. */
	static const unsigned char early[] = { 0x81, 0x82, 0, 0, 0, 0, 'h', 'i', 0x81 };
	static const unsigned char rest[] = { 0x82, 0, 0, 0, 0, 'y', 'o' };
	start(early, sizeof(early));
	turn(3);
	expect_text(text_str(&server.seen), "T(hi)");
	/* The rest of the second frame, and then more than the buffer that the first bytes had. */
	expect_equal(write(client_fd, rest, sizeof(rest)), sizeof(rest));
	turn(3);
	expect_text(text_str(&server.seen), "T(hi)T(yo)");
	char more[1000] = {};
	expect_equal(websocket_send(client.websocket, false, more, sizeof(more)), 0);
	turn(3);
	expect_equal(server.bytes, 4 + sizeof(more));
	stop();
}

static void a_big_message_comes_whole(void)
{
	start(NULL, 0);
	size_t size = 3 * MIB;
	cleanup(free) char *big = alloc_array(size, char);
	memset(big, 'x', size);
	expect_equal(websocket_send(server.websocket, false, big, size), 0);
	for (int i = 0; i < 1000 && client.bytes < size; i++)
		turn(1);
	expect_equal(client.bytes, size);
	turn(2);
	expect_equal(server.drained, 1);
	stop();
}

static void a_peer_that_reads_nothing_is_bounded(void)
{
	start(NULL, 0);
	websocket_pause(client.websocket, true);
	char block[16000] = {};
	size_t sent = 0;
	int r;
	while ((r = websocket_send(server.websocket, false, block, sizeof(block))) == 0)
		sent += sizeof(block);
	expect_equal(r, -EAGAIN);
	expect(sent >= WEBSOCKET_QUEUE_BYTES - sizeof(block) && sent < 2 * WEBSOCKET_QUEUE_BYTES);
	turn(20);
	expect_equal(client.bytes, 0);
	expect_equal(server.drained, 0);
	websocket_pause(client.websocket, false);
	for (int i = 0; i < 1000 && client.bytes < sent; i++)
		turn(1);
	expect_equal(client.bytes, sent);
	turn(2);
	expect_equal(server.drained, 1);
	stop();
}

static void a_close_arrives_after_what_was_sent(void)
{
	start(NULL, 0);
	expect_equal(websocket_send(server.websocket, true, "last", 4), 0);
	websocket_close(TAKE_PTR(server.websocket), 1000);
	turn(5);
	expect_text(text_str(&client.seen), "T(last)");
	expect(client.is_closed);
	stop();
}

static void a_peer_that_vanishes_is_told(void)
{
	start(NULL, 0);
	websocket_free(TAKE_PTR(client.websocket));
	turn(3);
	expect(server.is_closed);
	stop();
}

static void a_paused_websocket_whose_peer_vanishes_does_not_spin(void)
{
	start(NULL, 0);
	websocket_pause(server.websocket, true);
	expect_equal(websocket_send(client.websocket, true, "kept", 4), 0);
	turn(1);
	websocket_free(TAKE_PTR(client.websocket));
	turn(2);
	expect(!server.is_closed);
	uint64_t begun = loop_now();
	expect_equal(loop_step(loop, 30 * NS_PER_MS), 0);
	expect(loop_now() - begun >= 29 * NS_PER_MS);
	websocket_pause(server.websocket, false);
	turn(3);
	expect_text(text_str(&server.seen), "T(kept)");
	expect(server.is_closed);
	stop();
}

static void who_vanishes_before_anybody_listens_is_heard(void)
{
	start(NULL, 0);
	websocket_set_calls(server.websocket, NULL, NULL);
	expect_equal(websocket_send(client.websocket, true, "kept", 4), 0);
	turn(1);
	websocket_free(TAKE_PTR(client.websocket));
	turn(2);
	uint64_t begun = loop_now();
	expect_equal(loop_step(loop, 30 * NS_PER_MS), 0);
	expect(loop_now() - begun >= 29 * NS_PER_MS);
	websocket_set_calls(server.websocket, &calls, &server);
	turn(3);
	expect_text(text_str(&server.seen), "T(kept)");
	expect(server.is_closed);
	stop();
}

static void pause_it(void *data, bool is_text, const char *bytes, size_t length)
{
	on_received(data, is_text, bytes, length);
	websocket_pause(server.websocket, true);
}

static void what_a_gone_peer_sent_is_read_though_nothing_can_be_sent_to_it(void)
{
	/* "one", a ping that is to be answered, 60000 bytes; masked with 0. */
	static const unsigned char sent[] = { 0x81, 0x83, 0, 0, 0, 0, 'o', 'n', 'e', 0x89, 0x80, 0,
		0, 0, 0, 0x82, 0xfe, 0xea, 0x60, 0, 0, 0, 0 };
	static const char bytes[60000];
	static const struct websocket_calls pausing = { pause_it, on_drained, on_closed };
	start(NULL, 0);
	websocket_set_calls(server.websocket, &pausing, &server);
	expect_equal(write(client_fd, sent, sizeof(sent)), sizeof(sent));
	expect_equal(write(client_fd, bytes, sizeof(bytes)), sizeof(bytes));
	websocket_free(TAKE_PTR(client.websocket));
	for (int i = 0; i < 20 && !server.is_closed; i++) {
		turn(2);
		if (server.websocket)
			websocket_pause(server.websocket, false);
	}
	expect_equal(server.bytes, 3 + sizeof(bytes));
	expect(server.is_closed);
	stop();
}

static void a_broken_frame_closes(void)
{
	int ends[2];
	expect_equal(loop_new(&loop, NULL), 0);
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	server.websocket = websocket_new(loop, ends[0], false, NULL, 0);
	websocket_set_calls(server.websocket, &calls, &server);
	/* Not masked, as a client's must be; and a reserved opcode. */
	static const unsigned char frames[] = { 0x83, 0x02, 'h', 'i' };
	expect_equal(write(ends[1], frames, sizeof(frames)), sizeof(frames));
	turn(5);
	expect(server.is_closed);
	close(ends[1]);
	stop();
}

static void a_text_without_end_is_refused(void)
{
	start(NULL, 0);
	cleanup(free) char *big = alloc_array(WEBSOCKET_TEXT_BYTES + 1, char);
	memset(big, 'x', WEBSOCKET_TEXT_BYTES + 1);
	expect_equal(websocket_send(client.websocket, true, big, WEBSOCKET_TEXT_BYTES + 1), 0);
	for (int i = 0; i < 200 && !client.is_closed; i++)
		turn(1);
	expect(client.is_closed);
	expect_equal(server.bytes, 0);
	stop();
}

static void free_it(void *data, bool is_text, const char *bytes, size_t length)
{
	(void)is_text, (void)bytes, (void)length;
	struct end *end = data;
	websocket_free(TAKE_PTR(end->websocket));
	end->bytes++;
}

static void a_call_may_free_the_websocket(void)
{
	static const struct websocket_calls freeing = { .received = free_it };
	start(NULL, 0);
	websocket_set_calls(server.websocket, &freeing, &server);
	expect_equal(websocket_send(client.websocket, true, "a", 1), 0);
	expect_equal(websocket_send(client.websocket, true, "b", 1), 0);
	turn(5);
	expect_equal(server.bytes, 1);
	stop();
}

static const struct test tests[] = {
	{ "the key of the RFC is answered as it says", the_key_of_the_rfc_is_answered },
	{ "messages keep their kind and order, empty ones too",
		messages_keep_their_kind_and_order },
	{ "what came with the handshake is read", what_came_with_the_handshake_is_read },
	{ "a message of 3 MiB comes whole", a_big_message_comes_whole },
	{ "the queue to a peer that reads nothing is bounded",
		a_peer_that_reads_nothing_is_bounded },
	{ "a close arrives after what was sent", a_close_arrives_after_what_was_sent },
	{ "a peer that vanishes is told", a_peer_that_vanishes_is_told },
	{ "a paused websocket whose peer vanishes does not spin and loses nothing",
		a_paused_websocket_whose_peer_vanishes_does_not_spin },
	{ "a peer that vanishes before anybody listens is heard, and its end",
		who_vanishes_before_anybody_listens_is_heard },
	{ "what a peer that is gone had sent is read, though nothing can be sent to it",
		what_a_gone_peer_sent_is_read_though_nothing_can_be_sent_to_it },
	{ "a broken frame closes", a_broken_frame_closes },
	{ "a text without end is refused", a_text_without_end_is_refused },
	{ "a call may free the websocket", a_call_may_free_the_websocket },
};
TEST_MAIN(tests)
