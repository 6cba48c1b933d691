/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - libcurl behind client.h: one multi handle keeps the connection, one easy handle a request.
 */
#include "http/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BODY_LIMIT_BYTES    (256 * MIB)
#define HEADERS_LIMIT_BYTES (64 * KIB)

struct client {
	CURLM *multi;
	char *base; /* "http://berth" or the url */
	char *host;
	char *socket;
	char *certificate;
	char *key;
	char *server_certificate;
	void (*trace)(const char *line);
};

struct client_raw {
	CURL *easy;
	int fd;
};

/* One request under way. */
struct transfer {
	const struct client_request *request;
	struct client_response *response;
	CURL *easy;
	int failure; /* what a callback returned, else 0 */
	bool is_status_known;
	bool is_streamed; /* the body goes to request->write */
};

static void curl_easy_cleanup_cleanup(CURL **easy)
{
	if (*easy)
		curl_easy_cleanup(*easy);
}

static void curl_slist_free_all_cleanup(struct curl_slist **list)
{
	curl_slist_free_all(*list);
}

static void curl_mime_free_cleanup(curl_mime **mime)
{
	curl_mime_free(*mime);
}

void client_response_done(struct client_response *response)
{
	text_done(&response->body);
	text_done(&response->headers);
}

const char *client_header(
	const struct client_response *response, const char *name, char *buffer, size_t size)
{
	size_t length = strlen(name);
	for (const char *line = text_str(&response->headers); *line;) {
		const char *end = strchr(line, '\n');
		if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
			const char *value = line + length + 1;
			value += strspn(value, " \t");
			snprintf(buffer, size, "%.*s", (int)(end - value), value);
			return buffer;
		}
		line = end + 1;
	}
	return NULL;
}

int client_open(const struct client_options *options, struct client **ret, struct error *e)
{
	if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
		return error_set(e, -EIO, "the HTTP library does not start");
	CURLM *multi = curl_multi_init();
	if (!multi)
		return error_set(e, -ENOMEM, "the HTTP library does not start");
	struct client *client = alloc(struct client);
	*client = (struct client){
		.multi = multi,
		.base = alloc_text(options->url ? options->url : "http://berth"),
		.socket = alloc_text(options->socket),
		.certificate = alloc_text(options->certificate),
		.key = alloc_text(options->key),
		.server_certificate = alloc_text(options->server_certificate),
		.trace = options->trace,
	};
	size_t length = strlen(client->base);
	while (length && client->base[length - 1] == '/')
		client->base[--length] = '\0';
	const char *host = strstr(client->base, "://");
	client->host = alloc_text(host ? host + 3 : client->base);
	*ret = client;
	return 0;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	curl_multi_cleanup(client->multi);
	free(client->base);
	free(client->host);
	free(client->socket);
	free(client->certificate);
	free(client->key);
	free(client->server_certificate);
	free(client);
}

const char *client_host(const struct client *client)
{
	return client->host;
}

/* What curl says of a failure, as an errno and a sentence. */
static int failure_of(struct client *client, CURL *easy, CURLcode code, struct error *e)
{
	const char *where = client->socket ? client->socket : client->base;
	long os_errno = 0;
	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_errno);
	if (code == CURLE_COULDNT_CONNECT && os_errno)
		return error_code(e, -(int)os_errno, "%s", where);
	if (code == CURLE_COULDNT_CONNECT)
		return error_set(e, -ECONNREFUSED, "%s: nobody answers", where);
	return error_set(e, -EIO, "%s: %s", where, curl_easy_strerror(code));
}

static int set_connection(struct client *client, CURL *easy, struct error *e)
{
	CURLcode code = CURLE_OK;
	if (client->socket)
		code = curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	if (code == CURLE_OK && client->certificate)
		code = curl_easy_setopt(easy, CURLOPT_SSLCERT, client->certificate);
	if (code == CURLE_OK && client->key)
		code = curl_easy_setopt(easy, CURLOPT_SSLKEY, client->key);
	if (code == CURLE_OK && client->server_certificate) {
		/* The pinned certificate is the identity; what name it carries does not matter. */
		code = curl_easy_setopt(easy, CURLOPT_CAINFO, client->server_certificate);
		if (code == CURLE_OK)
			code = curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	if (code == CURLE_OK)
		code = curl_easy_setopt(
			easy, CURLOPT_PROTOCOLS_STR, client->socket ? "http" : "http,https");
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_PROXY, "");
	if (code == CURLE_OK)
		code = curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	if (code != CURLE_OK)
		return error_set(e, -EIO, "%s: %s", client->base, curl_easy_strerror(code));
	return 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
	struct transfer *transfer = data;
	size_t length = size * count, kept = length;
	while (kept && (line[kept - 1] == '\r' || line[kept - 1] == '\n'))
		kept--;
	/* "HTTP/1.1 100 Continue" has headers of its own: only the last answer's count. */
	if (kept > 5 && memcmp(line, "HTTP/", 5) == 0)
		text_done(&transfer->response->headers);
	if (transfer->response->headers.length + kept > HEADERS_LIMIT_BYTES) {
		transfer->failure = -E2BIG;
		return 0;
	}
	if (kept) {
		text_add_n(&transfer->response->headers, line, kept);
		text_add_char(&transfer->response->headers, '\n');
	}
	return length;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
	struct transfer *transfer = data;
	size_t length = size * count;
	if (!transfer->is_status_known) {
		long status = 0;
		char type[64];
		curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
		if (!client_header(transfer->response, "content-type", type, sizeof(type)))
			type[0] = '\0';
		transfer->is_streamed = transfer->request->write && status >= 200 && status < 300 &&
			!text_starts(type, "application/json");
		transfer->is_status_known = true;
	}
	if (transfer->is_streamed) {
		transfer->failure =
			transfer->request->write(transfer->request->write_data, bytes, length);
		return transfer->failure ? 0 : length;
	}
	if (transfer->response->body.length + length > BODY_LIMIT_BYTES) {
		transfer->failure = -E2BIG;
		return 0;
	}
	text_add_n(&transfer->response->body, bytes, length);
	return length;
}

/* Sources do not know the transfer, so a failed one is found again by its last result. */
struct reader {
	struct client_source source;
	struct transfer *transfer;
};

static size_t on_read(char *buffer, size_t size, size_t count, void *data)
{
	struct reader *reader = data;
	ssize_t length = reader->source.read(reader->source.data, buffer, size * count);
	if (length >= 0)
		return (size_t)length;
	reader->transfer->failure = (int)length;
	return CURL_READFUNC_ABORT;
}

static int set_parts(struct transfer *transfer, struct reader *readers, curl_mime **mime)
{
	*mime = curl_mime_init(transfer->easy);
	if (!*mime)
		return -ENOMEM;
	for (size_t i = 0; i < transfer->request->part_count; i++) {
		const struct client_part *part = &transfer->request->parts[i];
		curl_mimepart *mime_part = curl_mime_addpart(*mime);
		readers[i] = (struct reader){ part->source, transfer };
		curl_off_t length = part->source.length == CLIENT_LENGTH_UNKNOWN
			? -1
			: (curl_off_t)part->source.length;
		if (!mime_part || curl_mime_name(mime_part, part->name) != CURLE_OK ||
			curl_mime_filename(mime_part, part->file_name) != CURLE_OK ||
			curl_mime_type(mime_part, "application/octet-stream") != CURLE_OK ||
			curl_mime_data_cb(mime_part, length, on_read, NULL, NULL, &readers[i]) !=
				CURLE_OK)
			return -ENOMEM;
	}
	curl_easy_setopt(transfer->easy, CURLOPT_MIMEPOST, *mime);
	return 0;
}

static void set_source(struct transfer *transfer, struct reader *reader)
{
	*reader = (struct reader){ *transfer->request->source, transfer };
	curl_easy_setopt(transfer->easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(transfer->easy, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(transfer->easy, CURLOPT_READDATA, reader);
	if (reader->source.length != CLIENT_LENGTH_UNKNOWN)
		curl_easy_setopt(transfer->easy, CURLOPT_INFILESIZE_LARGE,
			(curl_off_t)reader->source.length);
}

static struct curl_slist *header_list(const struct client_request *request)
{
	struct curl_slist *list = curl_slist_append(NULL, "Expect:");
	if (request->json)
		list = curl_slist_append(list, "Content-Type: application/json");
	else if (request->source)
		list = curl_slist_append(list, "Content-Type: application/octet-stream");
	for (size_t i = 0; request->headers && request->headers[i]; i++)
		list = curl_slist_append(list, request->headers[i]);
	return list;
}

/* Drives the transfer to its end. Returns 0 and curl's verdict, or -EINTR. */
static int run(CURLM *multi, CURL *easy, int interrupt, CURLcode *ret)
{
	struct curl_waitfd wait = { .fd = interrupt, .events = CURL_WAIT_POLLIN };
	for (;;) {
		int running = 0, messages = 0;
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			return -EIO;
		for (CURLMsg *message; (message = curl_multi_info_read(multi, &messages));)
			if (message->msg == CURLMSG_DONE && message->easy_handle == easy) {
				*ret = message->data.result;
				return 0;
			}
		wait.revents = 0;
		if (curl_multi_poll(multi, &wait, interrupt > 0, 60000, NULL) != CURLM_OK)
			return -EIO;
		if (wait.revents)
			return -EINTR;
	}
}

int client_send(struct client *client, const struct client_request *request,
	struct client_response *response, struct error *e)
{
	cleanup(curl_easy_cleanup) CURL *easy = curl_easy_init();
	if (!easy)
		return error_set(e, -ENOMEM, "the HTTP library does not start");
	int r = set_connection(client, easy, e);
	if (r < 0)
		return r;

	*response = (struct client_response){};
	struct transfer transfer = { .request = request, .response = response, .easy = easy };
	cleanup(free) char *url = alloc_printf("%s%s", client->base, request->target);
	cleanup(curl_slist_free_all) struct curl_slist *headers = header_list(request);
	cleanup(curl_mime_free) curl_mime *mime = NULL;
	cleanup(free) struct reader *readers = alloc_array(request->part_count + 1, struct reader);

	if (request->json) {
		curl_easy_setopt(
			easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->json));
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->json);
	} else if (request->source) {
		set_source(&transfer, readers);
	} else if (request->part_count) {
		r = set_parts(&transfer, readers, &mime);
		if (r < 0)
			return error_code(e, r, "%s", request->target);
	} else if (text_equal(request->method, "POST") || text_equal(request->method, "PUT")) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
	}
	/* A body that streams can't be sent twice, so it never meets a connection that went stale. */
	if (request->source || request->part_count)
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	if (text_equal(request->method, "HEAD"))
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L * 1024);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 128L * 1024);

	CURLcode code = CURLE_OK;
	if (curl_multi_add_handle(client->multi, easy) != CURLM_OK)
		return error_set(e, -EIO, "the HTTP library does not start");
	r = run(client->multi, easy, request->interrupt, &code);
	curl_multi_remove_handle(client->multi, easy);

	long status = 0;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (client->trace) {
		cleanup(free) char *line = alloc_printf("%s %s %s%s%ld", request->method,
			request->target, request->json ? request->json : "",
			request->json ? " -> " : "-> ", status);
		client->trace(line);
	}
	if (r == 0 && transfer.failure)
		r = error_code(e, transfer.failure, "%s %s", request->method, request->target);
	else if (r == 0 && code != CURLE_OK)
		r = failure_of(client, easy, code, e);
	else if (r < 0)
		error_code(e, r, "%s %s", request->method, request->target);
	if (r < 0) {
		client_response_done(response);
		return r;
	}
	response->status = (int)status;
	return 0;
}

int client_raw_open(struct client *client, struct client_raw **ret, struct error *e)
{
	cleanup(curl_easy_cleanup) CURL *easy = curl_easy_init();
	if (!easy)
		return error_set(e, -ENOMEM, "the HTTP library does not start");
	int r = set_connection(client, easy, e);
	if (r < 0)
		return r;
	curl_easy_setopt(easy, CURLOPT_URL, client->base);
	curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
	CURLcode code = curl_easy_perform(easy);
	curl_socket_t fd = -1;
	if (code == CURLE_OK)
		code = curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
	if (code != CURLE_OK)
		return failure_of(client, easy, code, e);
	struct client_raw *raw = alloc(struct client_raw);
	*raw = (struct client_raw){ .easy = TAKE_PTR(easy), .fd = fd };
	*ret = raw;
	return 0;
}

void client_raw_free(struct client_raw *raw)
{
	if (!raw)
		return;
	curl_easy_cleanup(raw->easy);
	free(raw);
}

int client_raw_fd(const struct client_raw *raw)
{
	return raw->fd;
}

static ssize_t raw_result(CURLcode code, size_t length)
{
	if (code == CURLE_OK)
		return (ssize_t)length;
	return code == CURLE_AGAIN ? -EAGAIN : -EIO;
}

ssize_t client_raw_send(struct client_raw *raw, const void *data, size_t length)
{
	size_t sent = 0;
	CURLcode code = curl_easy_send(raw->easy, data, length, &sent);
	return raw_result(code, sent);
}

ssize_t client_raw_receive(struct client_raw *raw, void *data, size_t size)
{
	size_t received = 0;
	CURLcode code = curl_easy_recv(raw->easy, data, size, &received);
	return raw_result(code, received);
}
