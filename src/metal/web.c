/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web.c - libcurl's multi interface nested in our loop.
 */
#include "metal/web.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "base/text.h"
#include "model/json.h"

#define CONNECT_MS  5000L
#define TRANSFER_MS 20000L
#define HEADER_MAX  512

struct web {
	struct loop *loop;
	char *base, *tls, *authorities;
	CURLM *multi;
	CURL *easy; /* NULL: nothing is under way */
	struct curl_slist *headers;
	char *body;
	struct text received;
	char etag[HEADER_MAX], token[HEADER_MAX], location[HEADER_MAX];
	char error[CURL_ERROR_SIZE];
	struct source *timer;
	web_done *done;
	void *data;
};

struct watch {
	struct web *web;
	struct source *source;
};

static void check(struct web *web);

static void act(struct web *web, curl_socket_t fd, int events)
{
	int running;
	curl_multi_socket_action(web->multi, fd, events, &running);
	check(web);
}

static void timed_out(void *data)
{
	act(data, CURL_SOCKET_TIMEOUT, 0);
}

static void fd_ready(void *data, int fd, uint32_t events)
{
	struct watch *watch = data;
	act(watch->web, fd,
		((events & (EPOLLIN | EPOLLHUP)) ? CURL_CSELECT_IN : 0) |
			((events & EPOLLOUT) ? CURL_CSELECT_OUT : 0) |
			((events & EPOLLERR) ? CURL_CSELECT_ERR : 0));
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct web *web = data;
	struct watch *watch = socket_data;
	uint32_t events =
		((what & CURL_POLL_IN) ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) ? EPOLLOUT : 0u);
	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			source_free(watch->source);
		free(watch);
		curl_multi_assign(web->multi, fd, NULL);
		return 0;
	}
	if (watch)
		return source_set_events(watch->source, events);
	watch = alloc(struct watch);
	watch->web = web;
	if (loop_add_fd(web->loop, fd, events, fd_ready, watch, &watch->source) < 0) {
		free(watch);
		return -1;
	}
	curl_multi_assign(web->multi, fd, watch);
	return 0;
}

static int on_timer(CURLM *multi, long delay_ms, void *data)
{
	struct web *web = data;
	(void)multi;
	if (delay_ms < 0)
		timer_stop(web->timer);
	else
		timer_set_after(web->timer, (uint64_t)delay_ms * NS_PER_MS);
	return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
	struct web *web = data;
	if (web->received.length + size * count > WEB_BODY_MAX)
		return 0;
	text_add_n(&web->received, bytes, size * count);
	return size * count;
}

static void keep(char to[HEADER_MAX], const char *line, size_t length, const char *name)
{
	size_t skip = strlen(name);
	if (length <= skip || strncasecmp(line, name, skip) != 0)
		return;
	while (skip < length && line[skip] == ' ')
		skip++;
	while (length > skip && (line[length - 1] == '\r' || line[length - 1] == '\n'))
		length--;
	if (length - skip < HEADER_MAX) {
		memcpy(to, line + skip, length - skip);
		to[length - skip] = '\0';
	}
}

static size_t on_header(char *bytes, size_t size, size_t count, void *data)
{
	struct web *web = data;
	keep(web->etag, bytes, size * count, "ETag:");
	keep(web->token, bytes, size * count, "X-Auth-Token:");
	keep(web->location, bytes, size * count, "Location:");
	return size * count;
}

static void clear(struct web *web)
{
	if (web->easy) {
		curl_multi_remove_handle(web->multi, web->easy);
		curl_easy_cleanup(web->easy);
		web->easy = NULL;
	}
	curl_slist_free_all(TAKE_PTR(web->headers));
	free(TAKE_PTR(web->body));
	text_done(&web->received);
	web->received = (struct text){};
}

static void finish(struct web *web, CURLcode code)
{
	struct web_answer answer = {
		.etag = web->etag, .token = web->token, .location = web->location
	};
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	cleanup(json_decref) json_t *json = NULL;
	if (code == CURLE_OK) {
		curl_easy_getinfo(web->easy, CURLINFO_RESPONSE_CODE, &status);
		if (web->received.length)
			json = json_loadb(web->received.data, web->received.length,
				JSON_REJECT_DUPLICATES, NULL);
	} else {
		snprintf(why, sizeof(why), "%s",
			web->error[0] ? web->error : curl_easy_strerror(code));
	}
	answer.status = (int)status;
	answer.json = json_is_object(json) ? json : NULL;
	answer.why = why;
	clear(web);
	web->done(web->data, &answer);
}

static void check(struct web *web)
{
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(web->multi, &left));) {
		if (message->msg != CURLMSG_DONE || message->easy_handle != web->easy)
			continue;
		finish(web, message->data.result);
		return;
	}
}

static void add_header(struct web *web, const char *name, const char *value)
{
	cleanup(free) char *line = alloc_printf("%s: %s", name, value);
	if (!strpbrk(line, "\r\n"))
		web->headers = curl_slist_append(web->headers, line);
}

static void set_trust(struct web *web)
{
	bool is_none = text_equal(web->tls, "none"),
	     is_pin = text_starts(web->tls ?: "", "sha256//");
	if (is_none || is_pin) {
		curl_easy_setopt(web->easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(web->easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (is_pin)
		curl_easy_setopt(web->easy, CURLOPT_PINNEDPUBLICKEY, web->tls);
	if (web->authorities) {
		struct curl_blob blob = { web->authorities, strlen(web->authorities),
			CURL_BLOB_NOCOPY };
		curl_easy_setopt(web->easy, CURLOPT_CAINFO_BLOB, &blob);
	}
}

void web_send(struct web *web, const struct web_request *request, web_done *done, void *data)
{
	cleanup(free) char *url = alloc_printf("%s%s", web->base, request->path);
	assert(!web->easy);
	web->done = done;
	web->data = data;
	web->etag[0] = web->token[0] = web->location[0] = web->error[0] = '\0';
	web->easy = curl_easy_init();
	if (!web->easy)
		abort();
	add_header(web, "Accept", "application/json");
	add_header(web, "OData-Version", "4.0");
	add_header(web, "Expect", "");
	if (request->token)
		add_header(web, "X-Auth-Token", request->token);
	if (request->etag && request->etag[0])
		add_header(web, "If-Match", request->etag);
	curl_easy_setopt(web->easy, CURLOPT_URL, url);
	curl_easy_setopt(web->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(web->easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(web->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(web->easy, CURLOPT_PROXY, "");
	curl_easy_setopt(web->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(web->easy, CURLOPT_TIMEOUT_MS, TRANSFER_MS);
	curl_easy_setopt(web->easy, CURLOPT_ERRORBUFFER, web->error);
	curl_easy_setopt(web->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(web->easy, CURLOPT_WRITEDATA, web);
	curl_easy_setopt(web->easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(web->easy, CURLOPT_HEADERDATA, web);
	if (request->user) {
		curl_easy_setopt(web->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(web->easy, CURLOPT_USERNAME, request->user);
		curl_easy_setopt(web->easy, CURLOPT_PASSWORD, request->password ?: "");
	}
	if (request->body) {
		web->body = json_dumps(request->body, JSON_COMPACT);
		add_header(web, "Content-Type", "application/json");
		curl_easy_setopt(web->easy, CURLOPT_POSTFIELDS, web->body);
	}
	curl_easy_setopt(web->easy, CURLOPT_HTTPHEADER, web->headers);
	set_trust(web);
	curl_multi_add_handle(web->multi, web->easy);
}

void web_cancel(struct web *web)
{
	clear(web);
}

int web_new(const struct web_options *options, struct web **ret, struct error *e)
{
	struct web *web = alloc(struct web);
	web->loop = options->loop;
	web->multi = curl_multi_init();
	if (!web->multi) {
		free(web);
		return error_set(e, -ENOMEM, "libcurl does not start");
	}
	web->base = alloc_text(options->base);
	web->tls = alloc_text(options->tls);
	web->authorities = alloc_text(options->authorities);
	web->timer = loop_add_timer(options->loop, timed_out, web);
	curl_multi_setopt(web->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(web->multi, CURLMOPT_SOCKETDATA, web);
	curl_multi_setopt(web->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(web->multi, CURLMOPT_TIMERDATA, web);
	*ret = web;
	return 0;
}

void web_free(struct web *web)
{
	if (!web)
		return;
	clear(web);
	curl_multi_cleanup(web->multi);
	source_free(web->timer);
	free(web->base);
	free(web->tls);
	free(web->authorities);
	free(web);
}
