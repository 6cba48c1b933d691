/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_client.c - times what a client of the API waits for; prints samples, one `key ns` pair a line.
 *
 * It speaks HTTP/1.1 over the daemon's unix socket with one connection a request, as the stock Go
 * clients do, and costs next to nothing itself. An instance's first instruction is timed by the
 * instance: its first process is berth-measure, which reads CLOCK_MONOTONIC before anything else and
 * prints it on its console.
 *
 * usage: api_client SOCKET launch IMAGE COUNT      create + start of one after the other, then delete
 *        api_client SOCKET exec INSTANCE COUNT     exec of `true` with its websockets
 *        api_client SOCKET parallel IMAGE COUNT    create all, then start all at once, then delete
 *        api_client SOCKET fill IMAGE COUNT        create and start so many and leave them running
 *        api_client SOCKET list COUNT              list with all state, so many times
 *        api_client SOCKET check COUNT             exec `true` once in each of fill's
 *        api_client SOCKET empty COUNT             force-delete fill's
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/base.h"
#include "base/file.h"
#include "base/loop.h"
#include "base/text.h"

static const char *socket_path;
static const char *nics = "{\"eth0\":{\"type\":\"none\"}}";
static const char *type = "container", *config = "{}"; /* BENCH_TYPE, BENCH_CONFIG */

static void die(const char *format, ...) printf_like(1, 2) __attribute__((__noreturn__));
static void die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	fprintf(stderr, "api_client: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (strlen(socket_path) >= sizeof(address.sun_path))
		die("%s: the path is too long", socket_path);
	strcpy(address.sun_path, socket_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect to %s: %s", socket_path, strerror(errno));
	return fd;
}

/* False at the end of the stream. */
static bool read_more(int fd, struct text *text)
{
	static char block[65536];
	ssize_t got = read(fd, block, sizeof(block));
	if (got < 0)
		die("read from the daemon: %s", strerror(errno));
	text_add_n(text, block, (size_t)got);
	return got > 0;
}

/* One request and its whole answer; returns the body, which the caller owns. */
static char *request(const char *method, const char *path, const char *body)
{
	cleanup(close) int fd = dial();
	cleanup(text_done) struct text head = {};
	text_printf(&head,
		"%s %s HTTP/1.1\r\nHost: berth\r\nConnection: close\r\n"
		"Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		method, path, body ? strlen(body) : 0, body ? body : "");
	if (file_write_all(fd, head.data, head.length) < 0)
		die("%s %s: %s", method, path, strerror(errno));

	cleanup(text_done) struct text answer = {};
	while (read_more(fd, &answer))
		;
	const char *end = strstr(text_str(&answer), "\r\n\r\n");
	if (!end || strncmp(answer.data, "HTTP/1.1 2", 10) != 0)
		die("%s %s: %.300s", method, path, text_str(&answer));
	return alloc_text(end + 4);
}

/* A request that starts an operation; its path into `operation`. */
static void start_operation(
	const char *method, const char *path, const char *body, char operation[128])
{
	cleanup(free) char *answer = request(method, path, body);
	json_t *root = json_loads(answer, 0, NULL);
	const char *name = json_string_value(json_object_get(root, "operation"));
	if (!name)
		die("%s %s: no operation in %.300s", method, path, answer);
	snprintf(operation, 128, "%s", name);
	json_decref(root);
}

static void wait_operation(const char *operation)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/wait", operation);
	cleanup(free) char *answer = request("GET", path, NULL);
	json_t *root = json_loads(answer, 0, NULL);
	json_t *metadata = json_object_get(root, "metadata");
	if (json_integer_value(json_object_get(metadata, "status_code")) != 200)
		die("%s: %.400s", operation, answer);
	json_decref(root);
}

static void run_operation(const char *method, const char *path, const char *body)
{
	char operation[128];
	start_operation(method, path, body, operation);
	wait_operation(operation);
}

static void create(const char *image, const char *name)
{
	cleanup(free) char *body =
		alloc_printf("{\"name\":\"%s\",\"type\":\"%s\",\"source\":{\"type\":\"image\","
			     "\"alias\":\"%s\"},\"devices\":%s,\"config\":%s}",
			name, type, image, nics, config);
	run_operation("POST", "/1.0/instances", body);
}

static void start_begin(const char *name, char operation[128])
{
	cleanup(free) char *path = alloc_printf("/1.0/instances/%s/state", name);
	start_operation("PUT", path, "{\"action\":\"start\",\"timeout\":-1}", operation);
}

static void delete_forced(const char *name)
{
	cleanup(free) char *state = alloc_printf("/1.0/instances/%s/state", name);
	cleanup(free) char *path = alloc_printf("/1.0/instances/%s", name);
	run_operation("PUT", state, "{\"action\":\"stop\",\"timeout\":-1,\"force\":true}");
	run_operation("DELETE", path, NULL);
}

/* When the instance's first process ran its first instruction, by its own word on the console. */
static uint64_t first_instruction(const char *name)
{
	cleanup(free) char *path = alloc_printf("/1.0/instances/%s/console", name);
	for (uint64_t until = loop_now() + 10 * NS_PER_SEC; loop_now() < until;) {
		cleanup(free) char *log = request("GET", path, NULL);
		const char *at = strstr(log, "start_monotonic_ns ");
		if (at && strchr(at, '\n'))
			return strtoull(at + strlen("start_monotonic_ns "), NULL, 10);
		usleep(1000);
	}
	die("%s: no first instruction on its console", name);
}

static void print_ns(const char *key, uint64_t ns)
{
	printf("%s %" PRIu64 "\n", key, ns);
}

static void bench_launch(const char *image, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char name[32], operation[128];
		snprintf(name, sizeof(name), "bench%u", i);
		uint64_t from = loop_now();
		create(image, name);
		uint64_t created = loop_now();
		start_begin(name, operation);
		wait_operation(operation);
		uint64_t answered = loop_now();
		uint64_t first = first_instruction(name);
		print_ns("create", created - from);
		print_ns("start_to_first_instruction", first - created);
		print_ns("request_to_first_instruction", first - from);
		print_ns("request_to_answer", answered - from);
		delete_forced(name);
	}
}

static int open_websocket(const char *operation, const char *secret)
{
	int fd = dial();
	cleanup(free) char *head = alloc_printf(
		"GET %s/websocket?secret=%s HTTP/1.1\r\nHost: berth\r\n"
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		operation, secret);
	if (file_write_all(fd, head, strlen(head)) < 0)
		die("%s: %s", operation, strerror(errno));
	cleanup(text_done) struct text answer = {};
	while (!strstr(text_str(&answer), "\r\n\r\n"))
		if (!read_more(fd, &answer))
			die("%s/websocket: the daemon closed the connection", operation);
	if (strncmp(answer.data, "HTTP/1.1 101", 12) != 0)
		die("%s/websocket: %.200s", operation, answer.data);
	return fd;
}

static void exec_true(const char *name)
{
	static const char *const order[] = { "control", "0", "1", "2" };
	cleanup(free) char *path = alloc_printf("/1.0/instances/%s/exec", name);
	cleanup(free) char *answer = request("POST", path,
		"{\"command\":[\"true\"],\"wait-for-websocket\":true,\"interactive\":false}");
	json_t *root = json_loads(answer, 0, NULL);
	const char *operation = json_string_value(json_object_get(root, "operation"));
	json_t *inner = json_object_get(json_object_get(root, "metadata"), "metadata");
	json_t *fds = json_object_get(inner, "fds");
	if (!operation || !fds)
		die("%s: %.300s", path, answer);
	int sockets[ARRAY_SIZE(order)];
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		sockets[i] = open_websocket(
			operation, json_string_value(json_object_get(fds, order[i])));
	wait_operation(operation);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		close(sockets[i]);
	json_decref(root);
}

static void bench_exec(const char *name, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t from = loop_now();
		exec_true(name);
		print_ns("exec", loop_now() - from);
	}
}

static void name_of(unsigned i, char name[32])
{
	snprintf(name, 32, "many%u", i);
}

static void start_many(const char *image, unsigned count, bool is_timed)
{
	char(*operations)[128] = alloc_zeroed(count, sizeof(*operations));
	char name[32];
	for (unsigned i = 0; i < count; i++) {
		name_of(i, name);
		create(image, name);
	}
	uint64_t from = loop_now(), last = from;
	for (unsigned i = 0; i < count; i++) {
		name_of(i, name);
		start_begin(name, operations[i]);
		if (!is_timed)
			wait_operation(operations[i]);
	}
	for (unsigned i = 0; i < count && is_timed; i++)
		wait_operation(operations[i]);
	uint64_t answered = loop_now();
	for (unsigned i = 0; i < count; i++) {
		name_of(i, name);
		uint64_t first = first_instruction(name);
		last = first > last ? first : last;
	}
	print_ns("all_first_instructions", last - from);
	print_ns("all_answered", answered - from);
	free(operations);
}

static void empty(unsigned count)
{
	char name[32];
	for (unsigned i = 0; i < count; i++) {
		name_of(i, name);
		delete_forced(name);
	}
}

static void bench_list(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t from = loop_now();
		cleanup(free) char *answer =
			request("GET", "/1.0/instances?recursion=2&filter=", NULL);
		print_ns("list", loop_now() - from);
	}
}

static void check(unsigned count)
{
	char name[32];
	uint64_t from = loop_now();
	for (unsigned i = 0; i < count; i++) {
		name_of(i, name);
		exec_true(name);
	}
	print_ns("all_answered", loop_now() - from);
}

int main(int count, char **words)
{
	if (count < 4)
		die("usage: api_client SOCKET launch|exec|parallel|fill|list|check|empty ...; see "
		    "its source");
	socket_path = words[1];
	if (getenv("BENCH_DEVICES"))
		nics = getenv("BENCH_DEVICES");
	if (getenv("BENCH_TYPE"))
		type = getenv("BENCH_TYPE");
	if (getenv("BENCH_CONFIG"))
		config = getenv("BENCH_CONFIG");
	const char *verb = words[2];
	unsigned number = (unsigned)strtoul(words[count - 1], NULL, 10);
	if (text_equal(verb, "launch") && count == 5)
		bench_launch(words[3], number);
	else if (text_equal(verb, "exec") && count == 5)
		bench_exec(words[3], number);
	else if (text_equal(verb, "parallel") && count == 5) {
		start_many(words[3], number, true);
		empty(number);
	} else if (text_equal(verb, "fill") && count == 5)
		start_many(words[3], number, false);
	else if (text_equal(verb, "list"))
		bench_list(number);
	else if (text_equal(verb, "check"))
		check(number);
	else if (text_equal(verb, "empty"))
		empty(number);
	else
		die("what is %s?", verb);
	return 0;
}
