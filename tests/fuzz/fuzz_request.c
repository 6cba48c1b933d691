/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_request.c - what a client of the API can send that we parse: a line each of a path (also a BMC's range of bytes), a
 * filter and a body of JSON; and the whole as the bytes of a websocket.
 */
#include <string.h>
#include <sys/socket.h>

#include "daemon/api/routes.h"
#include "daemon/dispatch.h"
#include "daemon/instance/control.h"
#include "daemon/server/media.h"
#include "http/uri.h"
#include "model/filter.h"
#include "model/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *next_line(const char **at)
{
	size_t length = strcspn(*at, "\n");
	char *line = alloc_text_n(*at, length);
	*at += length;
	*at += **at == '\n';
	return line;
}

static void match(const char *path)
{
	for (size_t i = 0; routes[i]; i++) {
		for (const struct route *route = routes[i]; route->method; route++) {
			struct request_param params[REQUEST_PARAMS_MAX] = {};
			size_t count = 0;
			if (!dispatch_match(route->path, path, params, &count))
				continue;
			for (size_t j = 0; j < count; j++) {
				cleanup(text_done) struct text text = {};
				cleanup(free) char *again = NULL;
				uri_encode(&text, params[j].value);
				if (uri_decode(text.data, text.length, &again) < 0 ||
					!text_equal(again, params[j].value))
					abort();
				free(params[j].value);
			}
		}
	}
}

/* Whatever it is, nothing is read that is not there. */
static void range(const char *text)
{
	uint64_t at, length;
	if (server_media_range(text, 10000, &at, &length) == 0 &&
		(length == 0 || at >= 10000 || length > 10000 - at))
		abort();
}

static void filter(const char *text, const json_t *object)
{
	cleanup(filter_free) struct filter *filter = NULL;
	struct error e = {};
	if (filter_parse(text, &filter, &e) == 0)
		(void)filter_matches(filter, object);
	else if (!e.text[0])
		abort();
}

static void read_fields(const json_t *json)
{
	const char *text;
	uint64_t number;
	json_t *map;
	bool flag;
	struct error e = {};
	(void)!json_read_text(json, "", "name", &text, &e);
	(void)!json_read_u64(json, "", "size", &number, &e);
	(void)!json_read_bool(json, "", "ephemeral", &flag, &e);
	(void)!json_read_text_map(json, "", "config", &map, &e);
	(void)!json_read_text_array(json, "", "profiles", &map, &e);
	cleanup(json_decref) json_t *patched = json_patched(json, json);
	(void)patched;
}

struct peer {
	struct websocket *websocket;
};

static void on_received(void *data, bool is_text, const char *bytes, size_t length)
{
	(void)data;
	if (is_text && strlen(bytes) > length)
		abort();
}

static void on_closed(void *data)
{
	struct peer *peer = data;
	websocket_free(TAKE_PTR(peer->websocket));
}

static void speak(const uint8_t *data, size_t size)
{
	static const struct websocket_calls calls = {
		.received = on_received,
		.closed = on_closed,
	};
	cleanup(loop_free) struct loop *loop = NULL;
	int ends[2];
	if (loop_new(&loop, NULL) < 0 ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		abort();
	struct peer peer = { .websocket = websocket_new(loop, ends[0], false, data, size / 2) };
	websocket_set_calls(peer.websocket, &calls, &peer);
	(void)!write(ends[1], data + size / 2, size - size / 2);
	for (int i = 0; i < 4; i++)
		(void)!loop_step(loop, 0);
	websocket_free(peer.websocket);
	close(ends[1]);
	(void)!loop_step(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *text = alloc_text_n((const char *)data, size);
	const char *at = text;
	cleanup(free) char *path = next_line(&at), *words = next_line(&at);
	match(path);
	range(path);
	cleanup(json_decref) json_t *json = NULL;
	struct error e = {};
	if (json_parse(at, strlen(at), &json, &e) == 0) {
		filter(words, json);
		if (json_is_object(json))
			read_fields(json);
	} else if (!e.text[0]) {
		abort();
	}
	struct control_word word;
	(void)!control_read((const char *)data, size, &word);
	speak(data, size);
	return 0;
}
