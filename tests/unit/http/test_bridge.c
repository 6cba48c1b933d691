/* SPDX-License-Identifier: Apache-2.0 */
#include "http/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/socket.h>

#include "base/text.h"
#include "test.h"

#define BIG_BYTES (100 * MIB)

static struct loop *loop;
static struct bridge *bridge;
static struct websocket *client;
static struct text seen;
static size_t received_bytes;
static unsigned int ends_seen; /* empty text messages */
static bool is_closed, is_ended;

static void on_received(void *data, bool is_text, const char *bytes, size_t length)
{
	(void)data;
	received_bytes += length;
	ends_seen += is_text && length == 0;
	if (length < 64)
		text_add_n(&seen, bytes, length);
}

static void on_closed(void *data)
{
	(void)data;
	is_closed = true;
	websocket_free(TAKE_PTR(client));
}

static const struct websocket_calls calls = { .received = on_received, .closed = on_closed };

static void on_ended(void *data)
{
	(void)data;
	is_ended = true;
}

static void start(int to_fd, int from_fd)
{
	int ends[2];
	received_bytes = ends_seen = 0;
	is_closed = is_ended = false;
	text_done(&seen);
	expect_equal(loop_new(&loop, NULL), 0);
	expect_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	client = websocket_new(loop, ends[1], true, NULL, 0);
	websocket_set_calls(client, &calls, NULL);
	bridge = bridge_new(loop, websocket_new(loop, ends[0], false, NULL, 0),
		&(struct bridge_options){ .to_fd = to_fd, .from_fd = from_fd, .ended = on_ended });
}

static void turn(int count)
{
	while (count-- > 0)
		expect_equal(loop_step(loop, NS_PER_MS), 0);
}

/* A terminal passes bytes on from a thread of the kernel, which a busy machine lets wait. */
#define turn_until(claim) \
	do { \
		for (int turns = 0; turns < 10000 && !(claim); turns++) \
			turn(1); \
		expect(claim); \
	} while (0)

static void stop(void)
{
	bridge_free(TAKE_PTR(bridge));
	websocket_free(TAKE_PTR(client));
	turn(3);
	loop_free(TAKE_PTR(loop));
	text_done(&seen);
}

static void input_goes_in_and_ends(void)
{
	int pipe_fds[2];
	char got[8] = {};
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(pipe_fds[1], -1);
	expect_equal(websocket_send(client, false, "hello", 5), 0);
	turn(3);
	expect_equal(read(pipe_fds[0], got, sizeof(got)), 5);
	expect_equal(websocket_send(client, true, "", 0), 0);
	turn(3);
	expect_equal(read(pipe_fds[0], got, sizeof(got)), 0);
	expect(is_ended);
	close(pipe_fds[0]);
	stop();
}

static void a_closed_websocket_ends_the_input_after_its_bytes(void)
{
	int pipe_fds[2];
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(pipe_fds[1], -1);
	/* More than the pipe takes, and then nobody is there any more. */
	cleanup(free) char *big = alloc_array(MIB, char);
	expect_equal(websocket_send(client, false, big, MIB), 0);
	websocket_close(TAKE_PTR(client), 1000);
	size_t all = 0;
	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 1000; i++) {
		turn(1);
		ssize_t got = read(pipe_fds[0], big, MIB);
		if (got == 0)
			break;
		all += got > 0 ? (size_t)got : 0;
	}
	expect_equal(all, MIB);
	turn(1);
	expect(is_ended);
	close(pipe_fds[0]);
	stop();
}

static void output_comes_out_and_ends_with_an_empty_text(void)
{
	int pipe_fds[2];
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(-1, pipe_fds[0]);
	expect_equal(write(pipe_fds[1], "hello", 5), 5);
	turn(3);
	expect_text(text_str(&seen), "hello");
	expect_equal(ends_seen, 0);
	close(pipe_fds[1]);
	turn(5);
	expect_equal(ends_seen, 1);
	expect(is_closed);
	expect(is_ended);
	stop();
}

static void a_held_open_pipe_can_be_finished(void)
{
	int pipe_fds[2];
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(-1, pipe_fds[0]);
	expect_equal(write(pipe_fds[1], "last", 4), 4);
	bridge_finish(bridge);
	turn(5);
	expect_text(text_str(&seen), "last");
	expect_equal(ends_seen, 1);
	expect(is_ended);
	close(pipe_fds[1]);
	stop();
}

static void who_does_not_read_stops_the_writer(void)
{
	int pipe_fds[2];
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(-1, pipe_fds[0]);
	websocket_pause(client, true);
	fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK);
	static char block[65536];
	size_t put = 0;
	for (int i = 0; i < 500; i++) {
		ssize_t got = write(pipe_fds[1], block, sizeof(block));
		put += got > 0 ? (size_t)got : 0;
		turn(1);
		if (got < 0 && i > 100)
			break;
	}
	expect(put < 3 * MIB);
	websocket_pause(client, false);
	close(pipe_fds[1]);
	for (int i = 0; i < 200 && !is_ended; i++)
		turn(1);
	turn(3);
	expect_equal(received_bytes, put);
	stop();
}

static void a_command_that_stops_reading_stops_the_client(void)
{
	int pipe_fds[2];
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(pipe_fds[1], -1);
	static char block[65536];
	size_t put = 0;
	for (int i = 0; i < 300; i++) {
		if (websocket_send(client, false, block, sizeof(block)) == 0)
			put += sizeof(block);
		turn(1);
	}
	/* The client's own queue, a socket, a block and a pipe: no more. */
	expect(put < WEBSOCKET_QUEUE_BYTES + 2 * MIB);
	close(pipe_fds[0]);
	stop();
}

static void a_terminal_goes_both_ways(void)
{
	int master, slave;
	expect_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	start(master, master);
	expect_equal(websocket_send(client, false, "abc\n", 4), 0);
	/* The terminal echoes. */
	turn_until(seen.length >= 5);
	char got[16] = {};
	expect_equal(read(slave, got, sizeof(got)), 4);
	expect_text(got, "abc\n");
	expect_text(text_str(&seen), "abc\r\n");
	expect_equal(write(slave, "out", 3), 3);
	turn_until(seen.length >= 8);
	close(slave);
	turn_until(is_ended && is_closed);
	expect_contains(text_str(&seen), "out");
	stop();
}

static void report(const char *what, uint64_t begun)
{
	uint64_t ns = loop_now() - begun;
	printf("# %s: %" PRIu64 " MiB in %" PRIu64 " ms\n", what, (uint64_t)(BIG_BYTES / MIB),
		ns / NS_PER_MS);
}

static void a_hundred_mebibytes_go_each_way(void)
{
	int pipe_fds[2];
	static char block[65536];
	uint64_t begun = loop_now();
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(-1, pipe_fds[0]);
	fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK);
	size_t put = 0;
	while (received_bytes < BIG_BYTES) {
		while (put < BIG_BYTES) {
			ssize_t got = write(pipe_fds[1], block, sizeof(block));
			if (got < 0)
				break;
			put += (size_t)got;
		}
		expect_equal(loop_step(loop, 100 * NS_PER_MS), 0);
	}
	close(pipe_fds[1]);
	stop();
	report("from a descriptor to a client", begun);

	begun = loop_now();
	expect_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	start(pipe_fds[1], -1);
	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	/* Fewer turns, each of which a busy machine may let wait. */
	(void)fcntl(pipe_fds[0], F_SETPIPE_SZ, (int)MIB);
	size_t got_bytes = 0;
	put = 0;
	while (got_bytes < BIG_BYTES) {
		while (put < BIG_BYTES && websocket_queued_bytes(client) < MIB &&
			websocket_send(client, false, block, sizeof(block)) == 0)
			put += sizeof(block);
		/* Before the step, or it would wait until the pipe has room. */
		for (ssize_t got; (got = read(pipe_fds[0], block, sizeof(block))) > 0;)
			got_bytes += (size_t)got;
		expect_equal(loop_step(loop, NS_PER_MS), 0);
	}
	close(pipe_fds[0]);
	stop();
	report("from a client to a descriptor", begun);
}

static const struct test tests[] = {
	{ "input goes in and ends with an empty text", input_goes_in_and_ends },
	{ "a closed websocket ends the input after its bytes",
		a_closed_websocket_ends_the_input_after_its_bytes },
	{ "output comes out and ends with an empty text",
		output_comes_out_and_ends_with_an_empty_text },
	{ "a pipe that somebody holds open can be finished", a_held_open_pipe_can_be_finished },
	{ "a client that does not read stops the writer", who_does_not_read_stops_the_writer },
	{ "a command that stops reading stops the client",
		a_command_that_stops_reading_stops_the_client },
	{ "a terminal goes both ways", a_terminal_goes_both_ways },
	{ "100 MiB go each way", a_hundred_mebibytes_go_each_way },
};
TEST_MAIN(tests)
