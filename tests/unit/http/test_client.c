/* SPDX-License-Identifier: Apache-2.0 */
#include "http/client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/loop.h"
#include "http/server.h"
#include "http/websocket.h"
#include "http/websocket_client.h"
#include "test.h"

/* ---- The server: ours, in a child. What it does is said by the path. ---- */

static struct websocket *echo;

static void on_echo(void *data, bool is_text, const char *bytes, size_t length)
{
	(void)data;
	if (is_text && strcmp(bytes, "end") == 0)
		websocket_close(TAKE_PTR(echo), 1000);
	else
		expect_equal(websocket_send(echo, is_text, bytes, length), 0);
}

static void on_echo_closed(void *data)
{
	(void)data;
	websocket_free(TAKE_PTR(echo));
}

static const struct websocket_calls echo_calls = { on_echo, NULL, on_echo_closed };

static void on_websocket(void *data, struct websocket *websocket)
{
	(void)data;
	echo = websocket;
	if (!echo)
		return;
	websocket_set_calls(echo, &echo_calls, NULL);
	expect_equal(websocket_send(echo, true, "hello", 5), 0);
}

static void answer(
	struct http_request *request, unsigned status, const char *type, const char *text)
{
	http_reply_text(request, status, type, alloc_text(text), strlen(text));
}

static void on_head(void *data, struct http_request *request)
{
	(void)data;
	http_request_want(request, HTTP_BODY_FILE, UINT64_MAX);
}

static void tell_parts(struct http_request *request)
{
	cleanup(text_done) struct text text = {};
	for (size_t i = 0; i < http_request_part_count(request); i++) {
		const struct http_part *part = http_request_part(request, i);
		text_printf(&text, "[%s %zu]", part->name, (size_t)part->size_bytes);
	}
	answer(request, 200, "application/json", text_str(&text));
}

static void on_ready(void *data, struct http_request *request)
{
	(void)data;
	const char *at = http_request_path(request);
	if (text_equal(at, "/parts")) {
		tell_parts(request);
	} else if (text_equal(at, "/echo")) {
		http_reply_header(request, "X-Echo", http_request_header(request, "X-Sent") ?: "-");
		answer(request, 200, "text/plain", http_request_method(request));
	} else if (text_equal(at, "/json")) {
		answer(request, 200, "application/json", "{\"a\":1}");
	} else if (text_equal(at, "/refused")) {
		answer(request, 403, "application/octet-stream", "no");
	} else if (text_equal(at, "/big")) {
		int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		expect(ftruncate(fd, 20 * (off_t)MIB) == 0);
		http_reply_file(request, 200, "application/octet-stream", fd, 0, 20 * MIB);
	} else if (text_equal(at, "/ws")) {
		expect_equal(websocket_reply(request, on_websocket, NULL, NULL), 0);
	} else if (!text_equal(at, "/never")) {
		answer(request, 404, "application/json",
			"{\"type\":\"error\",\"error\":\"not here\"}");
	}
}

static void on_done(void *data, struct http_request *request)
{
	(void)data;
	(void)request;
}

static int serve(int listener)
{
	static const struct http_calls calls = { on_head, on_ready, on_done };
	struct loop *loop = NULL;
	struct http_server *server = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	if (setjmp(test_end) != 0 || loop_new(&loop, NULL) < 0)
		return 1;
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct http_options options = { .listen_fd = listener,
		.tmp_dir = tmp,
		.connection_limit = 100,
		.head_timeout_ns = 10 * NS_PER_SEC,
		.idle_timeout_ns = 10 * NS_PER_SEC };
	if (http_server_new(loop, &options, &calls, NULL, &server, NULL) < 0)
		return 1;
	return loop_run(loop);
}

/* ---- The client's end. ---- */

static char directory[64], path[96];
static pid_t server_pid;
static struct client *client;
static struct client_response response;
static struct error e;
static struct text seen; /* by a websocket */

static void start(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(directory, sizeof(directory), "/tmp/berth-test-client.XXXXXX");
	expect(mkdtemp(directory) != NULL);
	test_removes_at_end(directory);
	snprintf(path, sizeof(path), "%s/socket", directory);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	expect_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	expect_equal(listen(listener, 64), 0);
	server_pid = fork();
	if (server_pid == 0)
		_exit(serve(listener));
	close(listener);
	e = (struct error){};
	expect_equal(client_open(&(struct client_options){ .socket = path }, &client, &e), 0);
}

static void stop(void)
{
	client_response_done(&response);
	client_free(TAKE_PTR(client));
	text_done(&seen);
	kill(server_pid, SIGKILL);
	waitpid(server_pid, NULL, 0);
	expect_equal(file_remove_tree(AT_FDCWD, directory), 0);
}

static int request(const struct client_request *wanted)
{
	client_response_done(&response);
	return client_send(client, wanted, &response, &e);
}

static void methods_headers_and_statuses(void)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "DELETE" };
	start();
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		const char *headers[] = { "X-Sent: it", NULL };
		char value[32];
		expect_equal(request(&(struct client_request){ .method = methods[i],
				     .target = "/echo?x=%20y",
				     .headers = headers }),
			0);
		expect_equal(response.status, 200);
		expect_text(text_str(&response.body), methods[i]);
		expect_text(client_header(&response, "x-echo", value, sizeof(value)), "it");
		expect(client_header(&response, "x-none", value, sizeof(value)) == NULL);
	}
	expect_equal(request(&(struct client_request){ .method = "GET", .target = "/none" }), 0);
	expect_equal(response.status, 404);
	expect_contains(text_str(&response.body), "not here");
	stop();
}

static ssize_t read_zeros(void *data, void *buffer, size_t size)
{
	size_t *left = data;
	size_t length = *left < size ? *left : size;
	memset(buffer, 0, length);
	*left -= length;
	return (ssize_t)length;
}

static ssize_t read_broken(void *data, void *buffer, size_t size)
{
	(void)data;
	(void)buffer;
	(void)size;
	return -ENODATA;
}

static void bodies_stream_out(void)
{
	start();
	size_t left = 5 * MIB;
	struct client_source source = { read_zeros, &left, CLIENT_LENGTH_UNKNOWN };
	expect_equal(request(&(struct client_request){
			     .method = "POST", .target = "/parts", .source = &source }),
		0);
	expect_text(text_str(&response.body), "[ 5242880]");
	left = 100;
	source.length = 100;
	expect_equal(request(&(struct client_request){
			     .method = "PUT", .target = "/parts", .source = &source }),
		0);
	expect_text(text_str(&response.body), "[ 100]");
	size_t more = 70000;
	left = 30;
	struct client_part parts[] = { { "metadata", "a", { read_zeros, &left, 30 } },
		{ "rootfs", "b", { read_zeros, &more, CLIENT_LENGTH_UNKNOWN } } };
	expect_equal(
		request(&(struct client_request){
			.method = "POST", .target = "/parts", .parts = parts, .part_count = 2 }),
		0);
	expect_text(text_str(&response.body), "[metadata 30][rootfs 70000]");
	struct client_source broken = { read_broken, NULL, CLIENT_LENGTH_UNKNOWN };
	expect_equal(request(&(struct client_request){
			     .method = "POST", .target = "/parts", .source = &broken }),
		-ENODATA);
	stop();
}

static int count_bytes(void *data, const void *bytes, size_t length)
{
	(void)bytes;
	*(size_t *)data += length;
	return 0;
}

static int refuse_bytes(void *data, const void *bytes, size_t length)
{
	(void)data;
	(void)bytes;
	(void)length;
	return -ENOSPC;
}

static void bodies_stream_in(void)
{
	start();
	size_t count = 0;
	struct client_request wanted = {
		.method = "GET", .target = "/big", .write = count_bytes, .write_data = &count
	};
	expect_equal(request(&wanted), 0);
	expect_equal(count, 20 * MIB);
	expect_equal(response.body.length, 0);
	/* JSON and errors are for us, not for the file. */
	count = 0;
	wanted.target = "/json";
	expect_equal(request(&wanted), 0);
	expect_text(text_str(&response.body), "{\"a\":1}");
	wanted.target = "/refused";
	expect_equal(request(&wanted), 0);
	expect_equal(response.status, 403);
	expect_text(text_str(&response.body), "no");
	expect_equal(count, 0);
	wanted.target = "/big";
	wanted.write = refuse_bytes;
	expect_equal(request(&wanted), -ENOSPC);
	stop();
}

static void a_server_that_is_not_there(void)
{
	e = (struct error){};
	expect_equal(
		client_open(&(struct client_options){ .socket = "/none/socket" }, &client, &e), 0);
	expect_equal(request(&(struct client_request){ .method = "GET", .target = "/" }), -ENOENT);
	expect_contains(e.text, "/none/socket: ");
	client_free(TAKE_PTR(client));
}

static void an_interrupt_ends_a_request(void)
{
	start();
	int ends[2];
	expect_equal(pipe2(ends, O_CLOEXEC), 0);
	expect_equal(write(ends[1], "x", 1), 1);
	expect_equal(request(&(struct client_request){
			     .method = "GET", .target = "/never", .interrupt = ends[0] }),
		-EINTR);
	close(ends[0]);
	close(ends[1]);
	/* The next request is none the worse for it. */
	expect_equal(request(&(struct client_request){ .method = "GET", .target = "/json" }), 0);
	stop();
}

/* ---- Websockets. ---- */

static struct loop *loop;
static struct websocket_client *websocket;
static size_t binary_bytes;
static int closed_code;
static bool frees_itself;

static void on_message(void *data, bool is_text, const void *bytes, size_t length)
{
	(void)data;
	if (is_text)
		text_printf(&seen, "(%.*s)", (int)length, (const char *)bytes);
	else
		binary_bytes += length;
	if (frees_itself)
		websocket_client_free(TAKE_PTR(websocket));
}

/* The first times it is called it sends more, as a pump of a file does. */
static void on_drained(void *data)
{
	static const char block[100000];
	unsigned *drained = data;
	if (++*drained < 20)
		websocket_client_send(websocket, false, block, sizeof(block));
	else if (*drained == 20)
		websocket_client_send(websocket, true, "end", 3);
}

static void on_closed(void *data, int code)
{
	(void)data;
	closed_code = code;
}

static const struct websocket_client_calls websocket_calls = { on_message, on_drained, on_closed };

static void connect_websocket(unsigned *drained)
{
	start();
	frees_itself = false;
	text_done(&seen);
	closed_code = 1;
	binary_bytes = 0;
	expect_equal(loop_new(&loop, &e), 0);
	expect_equal(websocket_client_open(client, "/ws", &websocket, &e), 0);
	expect_equal(websocket_client_start(websocket, loop, &websocket_calls, drained, &e), 0);
}

static void disconnect_websocket(void)
{
	websocket_client_free(TAKE_PTR(websocket));
	loop_free(TAKE_PTR(loop));
	stop();
}

static void turn_until_closed(void)
{
	for (int i = 0; i < 2000 && closed_code == 1; i++)
		expect_equal(loop_step(loop, 100 * NS_PER_MS), 0);
}

static void messages_come_back(void)
{
	unsigned drained = 0;
	connect_websocket(&drained);
	char *block = alloc_array(200000, char);
	websocket_client_send(websocket, true, "one", 3);
	websocket_client_send(websocket, true, "", 0);
	for (int i = 0; i < 10; i++)
		websocket_client_send(websocket, false, block, 200000);
	expect(websocket_client_queued_bytes(websocket) >= 2000000);
	free(block);
	turn_until_closed();
	expect_text(text_str(&seen), "(hello)(one)()");
	expect_equal(binary_bytes, 2000000 + 19 * 100000);
	expect_equal(closed_code, 0);
	disconnect_websocket();
}

static void a_callback_may_free(void)
{
	unsigned drained = 0;
	connect_websocket(&drained);
	frees_itself = true;
	for (int i = 0; i < 100 && websocket; i++)
		expect_equal(loop_step(loop, 100 * NS_PER_MS), 0);
	expect_text(text_str(&seen), "(hello)");
	disconnect_websocket();
}

static void a_refused_websocket_says_why(void)
{
	start();
	expect_equal(websocket_client_open(client, "/none", &websocket, &e), -ENOENT);
	expect_contains(e.text, "/none: the server answers HTTP/1.1 404");
	expect_equal(websocket_client_open(client, "/refused", &websocket, &e), -EACCES);
	stop();
}

static const struct test tests[] = {
	{ "methods, headers and statuses go both ways", methods_headers_and_statuses },
	{ "bodies stream out: of known size, unknown size and in parts", bodies_stream_out },
	{ "bodies stream in, but JSON and errors stay in memory", bodies_stream_in },
	{ "a server that is not there has an errno and a name", a_server_that_is_not_there },
	{ "an interrupt ends a request and nothing else", an_interrupt_ends_a_request },
	{ "websocket messages of any size come back in order, sent at once or one by one",
		messages_come_back },
	{ "a callback may free its websocket", a_callback_may_free },
	{ "a websocket that is refused says why", a_refused_websocket_says_why },
};
TEST_MAIN(tests)
