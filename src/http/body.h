/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body.h - takes the body of a request: into bounded memory, or into unlinked files.
 */
#pragma once

#include "base/text.h"

#define BODY_PARTS_MAX 8

enum http_body {
	HTTP_BODY_NONE,   /* what comes is dropped */
	HTTP_BODY_MEMORY, /* bounded, in http_request_body() */
	HTTP_BODY_FILE,   /* streamed to unlinked files, in http_request_part() */
};

/* One part of a multipart upload; a plain upload is one part with the name "". */
struct http_part {
	char *name;
	char *file_name; /* NULL if the client gave none */
	int fd;          /* at position 0, readable and writable */
	uint64_t size_bytes;
};

struct MHD_Connection;
struct MHD_PostProcessor;

struct body {
	enum http_body mode;
	uint64_t limit_bytes;
	uint64_t taken_bytes;
	int error; /* the first negative errno; what comes after it is dropped */
	int tmp_dir;
	struct text text;
	struct http_part *parts;
	size_t part_count;
	struct MHD_PostProcessor *multipart;
};

/* `connection` says whether it is multipart/form-data. Failures stay in body->error. */
void body_start(struct body *body, struct MHD_Connection *connection, enum http_body mode,
	uint64_t limit_bytes, int tmp_dir);
void body_take(struct body *body, const char *data, size_t length);
/* All has come: rewinds the files. */
void body_end(struct body *body);
void body_done(struct body *body);
