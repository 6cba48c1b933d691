/* SPDX-License-Identifier: Apache-2.0 */
#include "base/channel.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "test.h"

static void messages_keep_their_bounds(void)
{
	int ends[2];
	char buffer[16];
	expect_equal(channel_pair(ends, NULL), 0);
	expect_equal(channel_send(ends[0], "one", 3, NULL, 0), 0);
	expect_equal(channel_send(ends[0], "three", 5, NULL, 0), 0);
	expect_equal(channel_receive(ends[1], buffer, sizeof(buffer), NULL, NULL), 3);
	expect_equal(channel_receive(ends[1], buffer, sizeof(buffer), NULL, NULL), 5);
	expect_equal(channel_receive(ends[1], buffer, sizeof(buffer), NULL, NULL), -EAGAIN);
	close(ends[0]);
	expect_equal(channel_receive(ends[1], buffer, sizeof(buffer), NULL, NULL), 0);
	expect_equal(channel_send(ends[1], "x", 1, NULL, 0), -EPIPE);
	close(ends[1]);
}

static void last_words_are_heard(void)
{
	int ends[2];
	char buffer[16];
	expect_equal(channel_pair(ends, NULL), 0);
	expect_equal(channel_send(ends[1], "hello", 5, NULL, 0), 0);
	expect_equal(channel_send(ends[0], "bye", 3, NULL, 0), 0);
	close(ends[0]);
	expect_equal(channel_receive(ends[1], buffer, sizeof(buffer), NULL, NULL), 3);
	expect_equal(channel_receive(ends[1], buffer, sizeof(buffer), NULL, NULL), 0);
	close(ends[1]);
}

static void descriptors_come_along(void)
{
	int ends[2], tube[2], got[2];
	char c = 0;
	size_t count = 2;
	expect_equal(channel_pair(ends, NULL), 0);
	expect_equal(pipe2(tube, O_CLOEXEC), 0);
	expect_equal(channel_send(ends[0], "x", 1, tube, 2), 0);
	expect_equal(channel_receive(ends[1], &c, 1, got, &count), 1);
	expect_equal(count, 2);
	expect(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	expect_equal(write(tube[1], "y", 1), 1);
	expect_equal(read(got[0], &c, 1), 1);
	expect_equal(c, 'y');
}

static void unwanted_descriptors_are_closed(void)
{
	int ends[2], tube[2];
	char c;
	size_t count = 0;
	expect_equal(channel_pair(ends, NULL), 0);
	expect_equal(pipe2(tube, O_CLOEXEC), 0);
	expect_equal(channel_send(ends[0], "x", 1, &tube[1], 1), 0);
	close(tube[1]);
	expect_equal(channel_receive(ends[1], &c, 1, NULL, &count), -EMSGSIZE);
	/* The write end is gone everywhere: the reader sees the end of file. */
	expect_equal(read(tube[0], &c, 1), 0);
}

static void listens_below_a_deep_directory(void)
{
	char top[] = "/tmp/berth-test-channel-XXXXXX", deep[300];
	expect(mkdtemp(top) != NULL);
	test_removes_at_end(top);
	snprintf(deep, sizeof(deep), "%s/%0100d/%0100d", top, 0, 0);
	expect_equal(file_make_dirs(AT_FDCWD, deep, 0700), 0);
	cleanup(close) int dir = open(deep, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup(close) int listener = -1;
	cleanup(close) int client = -1;
	struct error e = {};
	expect_equal(channel_listen(dir, "control", 0600, &listener, &e), 0);
	expect_equal(channel_connect(dir, "control", &client, &e), 0);
	cleanup(close) int server = channel_accept(listener);
	expect(server >= 0);
	expect_equal(channel_connect(dir, "nobody", &client, &e), -ENOENT);
	expect_contains(e.text, "nobody");
	expect_equal(file_remove_tree(AT_FDCWD, top), 0);
}

static const struct test tests[] = {
	{ "messages keep their bounds, the end is seen", messages_keep_their_bounds },
	{ "what was sent by a peer that ended without reading is heard", last_words_are_heard },
	{ "descriptors come along, close-on-exec", descriptors_come_along },
	{ "descriptors that nobody wanted are closed", unwanted_descriptors_are_closed },
	{ "a channel listens below any depth of directories", listens_below_a_deep_directory },
};
TEST_MAIN(tests)
