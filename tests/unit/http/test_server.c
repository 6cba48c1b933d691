/* SPDX-License-Identifier: Apache-2.0 */
#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/file.h"
#include "base/text.h"
#include "test.h"

/* A server in a directory of its own; what it does with a request is said by the path. */
static char path[64];
static struct loop *loop;
static struct http_server *server;
static int tmp_dir = -1;
static struct http_request *waiting;
static unsigned int heads, dones;
static int upgraded_fd;
static struct text early;
static int stream_fds[2];

static void answer(struct http_request *request, unsigned int status, const char *text)
{
	http_reply_text(request, status, "text/plain", alloc_text(text), strlen(text));
}

static void on_head(void *data, struct http_request *request)
{
	(void)data;
	const char *at = http_request_path(request);
	heads++;
	if (text_equal(at, "/memory"))
		http_request_want(request, HTTP_BODY_MEMORY, 1000);
	else if (text_equal(at, "/file"))
		http_request_want(request, HTTP_BODY_FILE, UINT64_MAX);
	else if (text_equal(at, "/refused"))
		answer(request, 403, "no");
}

static void on_upgrade(void *data, int fd, const void *bytes, size_t length)
{
	(void)data;
	upgraded_fd = fd;
	text_add_n(&early, bytes, length);
}

static void tell_parts(struct http_request *request)
{
	cleanup(text_done) struct text text = {};
	for (size_t i = 0; i < http_request_part_count(request); i++) {
		struct http_part *part = http_request_part(request, i);
		char start[8] = {};
		expect(read(part->fd, start, 5) >= 0);
		text_printf(&text, "[%s %s %zu %s]", part->name,
			part->file_name ? part->file_name : "-", (size_t)part->size_bytes, start);
	}
	answer(request, 200, text_str(&text));
}

static void on_ready(void *data, struct http_request *request)
{
	(void)data;
	const char *at = http_request_path(request);
	size_t length;
	if (http_request_body_error(request) < 0)
		answer(request, 413, "error");
	else if (text_equal(at, "/memory"))
		answer(request, 200, http_request_body(request, &length));
	else if (text_equal(at, "/file"))
		tell_parts(request);
	else if (text_equal(at, "/wait"))
		waiting = request;
	else if (text_equal(at, "/upgrade"))
		http_reply_upgrade(request, "test", on_upgrade, NULL);
	else if (text_equal(at, "/stream"))
		http_reply_stream(request, 200, "text/plain", stream_fds[0]);
	else if (text_equal(at, "/big")) {
		int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		expect(ftruncate(fd, 20 * (off_t)MIB) == 0);
		http_reply_file(request, 200, "application/octet-stream", fd, MIB, 19 * MIB);
	} else if (text_equal(at, "/query")) {
		http_reply_header(request, "X-Split", "a\r\nX-Bad: 1");
		http_reply_header(request, "X-Good", "1");
		answer(request, http_request_has_bad_query(request) ? 400 : 200,
			http_request_query(request, "a") ?: "none");
	} else
		answer(request, 404, at);
}

static void on_done(void *data, struct http_request *request)
{
	(void)data;
	dones++;
	if (waiting == request)
		waiting = NULL;
}

static const struct http_calls calls = { on_head, on_ready, on_done };

static int unix_socket(bool is_server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof(address.sun_path), "%.60s/socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (is_server) {
		expect_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
		expect_equal(listen(fd, 64), 0);
	} else {
		expect_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	}
	return fd;
}

#define NEVER_NS (600 * NS_PER_SEC)

static void start(uint64_t timeout_ns)
{
	signal(SIGPIPE, SIG_IGN);
	heads = dones = 0;
	upgraded_fd = -2;
	strcpy(path, "/tmp/berth-http-XXXXXX");
	expect(mkdtemp(path) != NULL);
	test_removes_at_end(path);
	tmp_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect_equal(loop_new(&loop, NULL), 0);
	struct http_options options = {
		.listen_fd = unix_socket(true),
		.tmp_dir = tmp_dir,
		.connection_limit = 2000,
		.head_timeout_ns = timeout_ns,
		.idle_timeout_ns = 60 * NS_PER_SEC,
	};
	expect_equal(http_server_new(loop, &options, &calls, NULL, &server, NULL), 0);
}

static void stop(void)
{
	http_server_free(TAKE_PTR(server));
	expect_equal(heads, dones);
	loop_free(TAKE_PTR(loop));
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
	close(tmp_dir);
	text_done(&early);
}

static void turn(int count)
{
	while (count-- > 0)
		expect_equal(loop_step(loop, NS_PER_MS), 0);
}

/* Sends `request` and returns all that comes until the end. The caller owns it. */
static char *ask_n(const char *request, size_t length, size_t *ret_length)
{
	int fd = unix_socket(false);
	struct text text = {};
	for (int i = 0; i < 20000; i++) {
		if (length > 0) {
			ssize_t put = write(fd, request, length);
			request += put > 0 ? put : 0;
			length -= put > 0 ? (size_t)put : 0;
		}
		expect_equal(loop_step(loop, length ? 0 : 10 * NS_PER_MS), 0);
		char block[8192];
		ssize_t got = read(fd, block, sizeof(block));
		if (got > 0)
			text_add_n(&text, block, (size_t)got);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
	}
	close(fd);
	if (ret_length)
		*ret_length = text.length;
	return text_take(&text);
}

static char *ask(const char *request)
{
	return ask_n(request, strlen(request), NULL);
}

#define HEAD  " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
#define CHUNK "Transfer-Encoding: chunked\r\n\r\n"

static void paths_and_queries_arrive_as_they_were_sent(void)
{
	start(NEVER_NS);
	cleanup(free) char *a = ask("GET /a%2Fb/%zz" HEAD "\r\n");
	expect_contains(a, "\r\n\r\n/a%2Fb/%zz");
	cleanup(free) char *b = ask("GET /query?a=x%20y+z&b" HEAD "\r\n");
	expect_contains(b, "200 OK");
	expect_contains(b, "\r\n\r\nx y z");
	expect_contains(b, "X-Good: 1");
	expect(!strstr(b, "X-Bad"));
	cleanup(free) char *c = ask("GET /query?a=%0" HEAD "\r\n");
	expect_contains(c, "400 ");
	stop();
}

static void bodies_in_memory_are_bounded(void)
{
	start(NEVER_NS);
	cleanup(free) char *a = ask("POST /memory" HEAD "Content-Length: 5\r\n\r\nhello");
	expect_contains(a, "\r\n\r\nhello");
	cleanup(free) char *b = ask("POST /memory" HEAD CHUNK "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
	expect_contains(b, "\r\n\r\nhello");
	cleanup(text_done) struct text big = {};
	text_add(&big, "POST /memory" HEAD CHUNK);
	for (int i = 0; i < 20; i++)
		text_printf(&big, "64\r\n%0100d\r\n", i);
	text_add(&big, "0\r\n\r\n");
	cleanup(free) char *c = ask(text_str(&big));
	expect_contains(c, "413 ");
	stop();
}

static void uploads_go_to_files(void)
{
	start(NEVER_NS);
	cleanup(free) char *a = ask("POST /file" HEAD CHUNK "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
	expect_contains(a, "[ - 5 hello]");
	cleanup(free) char *b = ask("POST /file" HEAD "Content-Length: 0\r\n\r\n");
	expect_contains(b, "[ - 0 ]");
	static const char parts[] =
		"POST /file" HEAD "Content-Type: multipart/form-data; boundary=XX\r\n"
		"Content-Length: 184\r\n\r\n"
		"--XX\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"m\"\r\n\r\n"
		"meta\r\n"
		"--XX\r\nContent-Disposition: form-data; name=\"rootfs\"; filename=\"r.img\"\r\n\r\n"
		"root fs\r\n"
		"--XX--\r\n";
	const char *body = strstr(parts, "\r\n\r\n") + 4;
	cleanup(free) char *request =
		alloc_printf("POST /file" HEAD "Content-Type: multipart/form-data; boundary=XX\r\n"
			     "Content-Length: %zu\r\n\r\n%s",
			strlen(body), body);
	cleanup(free) char *c = ask(request);
	expect_contains(c, "[metadata m 4 meta][rootfs r.img 7 root ]");
	stop();
}

static void a_large_upload_is_whole(void)
{
	start(NEVER_NS);
	size_t size = 8 * MIB;
	cleanup(text_done) struct text text = {};
	text_printf(&text, "POST /file" HEAD "Content-Length: %zu\r\n\r\n", size);
	for (size_t i = 0; i < size / 8; i++)
		text_add_n(&text, "abcdefgh", 8);
	cleanup(free) char *a = ask_n(text.data, text.length, NULL);
	expect_contains(a, "[ - 8388608 abcde]");
	stop();
}

static void a_refusal_at_the_head_is_read_by_the_sender(void)
{
	start(NEVER_NS);
	cleanup(free) char *a = ask("POST /refused" HEAD "Content-Length: 5\r\n\r\nhello");
	expect_contains(a, "403 ");
	cleanup(free) char *b = ask("POST /refused" HEAD "Content-Length: 99999999\r\n\r\nhello");
	expect_contains(b, "403 ");
	stop();
}

static void one_connection_takes_many_requests(void)
{
	start(NEVER_NS);
	cleanup(free) char *a =
		ask("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
		    "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
		    "GET /3" HEAD "\r\n");
	expect_contains(a, "/1");
	expect_contains(a, "403 ");
	expect_contains(a, "/3");
	expect_equal(dones, 3);
	stop();
}

static void a_file_is_sent_from_its_offset(void)
{
	start(NEVER_NS);
	size_t length;
	cleanup(free) char *a =
		ask_n("GET /big" HEAD "\r\n", strlen("GET /big" HEAD "\r\n"), &length);
	expect_contains(a, "Content-Length: 19922944");
	expect(length > 19 * MIB && length < 19 * MIB + 1000);
	cleanup(free) char *b = ask("HEAD /big" HEAD "\r\n");
	expect_contains(b, "Content-Length: 19922944");
	expect(strlen(b) < 1000);
	stop();
}

static void a_stream_is_sent_as_it_comes(void)
{
	start(NEVER_NS);
	expect_equal(pipe2(stream_fds, O_CLOEXEC), 0);
	int fd = unix_socket(false);
	static const char request[] = "GET /stream" HEAD "\r\n";
	char got[4096] = {};
	expect(write(fd, request, strlen(request)) > 0);
	turn(5);
	expect_equal(write(stream_fds[1], "first", 5), 5);
	turn(5);
	expect(read(fd, got, sizeof(got) - 1) > 0);
	expect_contains(got, "first");
	expect_equal(write(stream_fds[1], "second", 6), 6);
	close(stream_fds[1]);
	turn(5);
	memset(got, 0, sizeof(got));
	expect(read(fd, got, sizeof(got) - 1) > 0);
	expect_contains(got, "second");
	expect_contains(got, "\r\n0\r\n\r\n");
	close(fd);

	/* A reader that goes while the writer is silent. */
	expect_equal(pipe2(stream_fds, O_CLOEXEC), 0);
	fd = unix_socket(false);
	expect(write(fd, request, strlen(request)) > 0);
	turn(5);
	close(fd);
	turn(5);
	expect_equal(dones, 2);
	expect_equal(write(stream_fds[1], "x", 1), -1);
	close(stream_fds[1]);
	stop();
}

static void an_answer_may_come_later(void)
{
	start(NEVER_NS);
	int fd = unix_socket(false);
	static const char request[] = "GET /wait" HEAD "\r\n";
	expect(write(fd, request, strlen(request)) > 0);
	turn(5);
	expect(waiting != NULL);
	answer(waiting, 200, "at last");
	turn(5);
	char got[4096] = {};
	expect(read(fd, got, sizeof(got) - 1) > 0);
	expect_contains(got, "at last");
	close(fd);
	stop();
}

static void a_client_that_leaves_a_long_wait_is_seen(void)
{
	start(NEVER_NS);
	int fd = unix_socket(false);
	static const char request[] = "GET /wait" HEAD "\r\n";
	expect(write(fd, request, strlen(request)) > 0);
	turn(5);
	expect(waiting != NULL);
	close(fd);
	turn(5);
	expect(waiting == NULL);
	expect_equal(dones, 1);
	stop();
}

static void a_server_that_ends_drops_who_waits(void)
{
	start(NEVER_NS);
	int fd = unix_socket(false);
	static const char request[] = "GET /wait" HEAD "\r\n";
	expect(write(fd, request, strlen(request)) > 0);
	turn(5);
	expect(waiting != NULL);
	stop();
	expect(waiting == NULL);
	close(fd);
}

static void an_upgrade_hands_the_socket_over(void)
{
	start(NEVER_NS);
	int fd = unix_socket(false);
	static const char request[] = "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
				      "Upgrade: test\r\n\r\nearly";
	expect(write(fd, request, strlen(request)) > 0);
	turn(5);
	char got[4096] = {};
	expect(read(fd, got, sizeof(got) - 1) > 0);
	expect_contains(got, "101 Switching Protocols");
	expect_contains(got, "Upgrade: test");
	expect(upgraded_fd >= 0);
	expect_text(text_str(&early), "early");
	expect_equal(dones, 1);
	/* The server has let go of it: it lives on without it. */
	http_server_free(TAKE_PTR(server));
	expect_equal(write(upgraded_fd, "raw", 3), 3);
	memset(got, 0, sizeof(got));
	expect_equal(read(fd, got, sizeof(got)), 3);
	expect_equal(write(fd, "back", 4), 4);
	expect_equal(read(upgraded_fd, got, sizeof(got)), 4);
	close(upgraded_fd);
	expect_equal(read(fd, got, sizeof(got)), 0);
	close(fd);
	stop();
}

static void who_sends_no_head_is_dropped(void)
{
	start(30 * NS_PER_MS);
	int silent = unix_socket(false), slow = unix_socket(false);
	char got[64];
	ssize_t of_silent = -1, of_slow = -1;
	bool is_reset = false;
	for (int i = 0; i < 10000 && (of_silent < 0 || (of_slow < 0 && !is_reset)); i++) {
		(void)!write(slow, "G", 1);
		turn(2);
		if (of_silent < 0)
			of_silent = read(silent, got, sizeof(got));
		if (of_slow < 0 && !is_reset) {
			of_slow = read(slow, got, sizeof(got));
			is_reset = of_slow < 0 && errno == ECONNRESET;
		}
	}
	expect_equal(of_silent, 0);
	expect(of_slow == 0 || is_reset);
	close(silent);
	close(slow);
	/* One that waits for an answer is not meant by it. */
	int fd = unix_socket(false);
	static const char request[] = "GET /wait" HEAD "\r\n";
	expect(write(fd, request, strlen(request)) > 0);
	uint64_t begun = loop_now();
	while (loop_now() - begun < 60 * NS_PER_MS)
		turn(2);
	expect(waiting != NULL);
	close(fd);
	turn(5);
	stop();
}

static void a_thousand_connections_come_and_go(void)
{
	static const char *const requests[] = { "", "G", "GET /x" HEAD, "GET /x" HEAD "\r\n",
		"GET /wait" HEAD "\r\n", "POST /file" HEAD "Content-Length: 100\r\n\r\nx",
		"POST /memory" HEAD CHUNK "zz" };
	start(NEVER_NS);
	for (int round = 0; round < 10; round++) {
		int fds[100];
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
			const char *request = requests[i % ARRAY_SIZE(requests)];
			/* The queue of the listening socket is 64. */
			if (i % 50 == 0)
				turn(10);
			fds[i] = unix_socket(false);
			expect_equal(write(fds[i], request, strlen(request)), strlen(request));
		}
		turn(2);
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			close(fds[i]);
	}
	turn(20);
	expect_equal(heads, dones);
	stop();
}

static const struct test tests[] = {
	{ "paths and queries arrive as they were sent, headers can't be split",
		paths_and_queries_arrive_as_they_were_sent },
	{ "bodies in memory are bounded", bodies_in_memory_are_bounded },
	{ "uploads go to files, a part each", uploads_go_to_files },
	{ "a large upload is whole", a_large_upload_is_whole },
	{ "a refusal at the head reaches who sends a body",
		a_refusal_at_the_head_is_read_by_the_sender },
	{ "one connection takes many requests", one_connection_takes_many_requests },
	{ "a file is sent from its offset", a_file_is_sent_from_its_offset },
	{ "a stream is sent as it comes, and ends with its reader", a_stream_is_sent_as_it_comes },
	{ "an answer may come later", an_answer_may_come_later },
	{ "a client that leaves a long wait is seen", a_client_that_leaves_a_long_wait_is_seen },
	{ "a server that ends drops who waits", a_server_that_ends_drops_who_waits },
	{ "an upgrade hands the socket over", an_upgrade_hands_the_socket_over },
	{ "who sends no head, or a letter at a time, is dropped", who_sends_no_head_is_dropped },
	{ "a thousand connections come and go at any point", a_thousand_connections_come_and_go },
};
TEST_MAIN(tests)
