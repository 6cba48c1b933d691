/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body.h - takes the body of a request: into bounded memory, or into unlinked files.
 */
#pragma once

#include "base/text.h"
#include "http/server.h"

#define BODY_PARTS_MAX 8

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
