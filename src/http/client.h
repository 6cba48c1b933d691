/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - one HTTP request after another to one server, over a unix socket or https.
 *
 * The connection is kept between requests. A body streams in both directions: nothing but an answer
 * that is asked for in memory is held whole. One thread owns a client.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/text.h"

struct client;

struct client_options {
	const char *socket;              /* path of the unix socket; NULL with a url */
	const char *url;                 /* "https://host:8443", NULL with a socket */
	const char *certificate;         /* PEM files that say who we are, or NULL */
	const char *key;                 /* */
	const char *server_certificate;  /* PEM file: the only one trusted; NULL: the system's */
	void (*trace)(const char *line); /* told of each request; NULL */
};

/* Fills at most `size` bytes: the count, 0 at the end, or a negative errno that ends the request. */
typedef ssize_t client_read(void *data, void *buffer, size_t size);
/* Takes all bytes: 0, or a negative errno that ends the request. */
typedef int client_write(void *data, const void *bytes, size_t length);

#define CLIENT_LENGTH_UNKNOWN UINT64_MAX

/* What is read until its end. */
struct client_source {
	client_read *read;
	void *data;
	uint64_t length; /* bytes, or CLIENT_LENGTH_UNKNOWN */
};

/* One part of a multipart/form-data body. */
struct client_part {
	const char *name;
	const char *file_name;
	struct client_source source;
};

struct client_request {
	const char *method;
	const char *target;         /* "/1.0/instances?recursion=1", already percent-encoded */
	const char *const *headers; /* "Name: value" lines up to a NULL, or NULL */

	/* At most one of the three. */
	const char *json; /* sent as application/json */
	const struct client_source *source;
	const struct client_part *parts;
	size_t part_count;

	/*
	 * Takes the body of a 2xx answer that is not application/json; without it, as every JSON and
	 * every error, the body is in the response.
	 */
	client_write *write;
	void *write_data;

	int interrupt; /* when this descriptor is readable the request fails with -EINTR; 0: none */
};

struct client_response {
	int status; /* 200 */
	struct text body;
	struct text headers; /* "name: value" lines */
};

void client_response_done(struct client_response *response);
static inline void client_response_done_cleanup(struct client_response *response)
{
	client_response_done(response);
}

/* The value of a header in a buffer of the caller, or NULL; the name's case does not matter. */
const char *client_header(
	const struct client_response *response, const char *name, char *buffer, size_t size);

int client_open(
	const struct client_options *options, struct client **ret, struct error *e) must_use;
void client_free(struct client *client);
DEFINE_CLEANUP(struct client *, client_free);

/*
 * Sends the request and receives the answer, whatever its status. -ENOENT, -ECONNREFUSED or -EACCES
 * if the unix socket can't be connected to, -EINTR, what a callback returned, or -EIO.
 */
int client_send(struct client *client, const struct client_request *request,
	struct client_response *response, struct error *e) must_use;

/*
 * Connects and sends nothing: `ret` is for client_raw_...(); it is of its own and outlives a request.
 * For connections that are upgraded to another protocol.
 */
struct client_raw;
int client_raw_open(struct client *client, struct client_raw **ret, struct error *e) must_use;
void client_raw_free(struct client_raw *raw);
DEFINE_CLEANUP(struct client_raw *, client_raw_free);
int client_raw_fd(const struct client_raw *raw);
/* The count, 0 at the end (receive), -EAGAIN, or -EIO. Neither waits. */
ssize_t client_raw_send(struct client_raw *raw, const void *data, size_t length) must_use;
ssize_t client_raw_receive(struct client_raw *raw, void *data, size_t size) must_use;
/* As they say in a Host header. */
const char *client_host(const struct client *client);
