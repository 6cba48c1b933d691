/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body.c - bodies of requests.
 */
#include "http/body.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"

#define MULTIPART_BUFFER_BYTES 32768

static void fail(struct body *body, int code)
{
	if (body->error == 0)
		body->error = code;
}

/* A file without a name: it is gone when its descriptor is, whatever happens to us. */
static int open_unlinked(int dir)
{
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd < 0 ? -errno : fd;
	cleanup(free) char *name = text_random_hex(12);
	fd = openat(dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	unlinkat(dir, name, 0);
	return fd;
}

static struct http_part *add_part(struct body *body, const char *name, const char *file_name)
{
	if (body->part_count == BODY_PARTS_MAX) {
		fail(body, -E2BIG);
		return NULL;
	}
	int fd = open_unlinked(body->tmp_dir);
	if (fd < 0) {
		fail(body, fd);
		return NULL;
	}
	body->parts = alloc_resize(body->parts, body->part_count + 1, sizeof(body->parts[0]));
	struct http_part *part = &body->parts[body->part_count++];
	*part = (struct http_part){
		.name = alloc_text(name ? name : ""),
		.file_name = alloc_text(file_name),
		.fd = fd,
	};
	return part;
}

static void write_part(struct body *body, struct http_part *part, const char *data, size_t length)
{
	int r = file_write_all(part->fd, data, length);
	if (r < 0)
		fail(body, r);
	part->size_bytes += length;
}

static enum MHD_Result on_multipart(void *data, enum MHD_ValueKind kind, const char *key,
	const char *file_name, const char *type, const char *encoding, const char *bytes,
	uint64_t offset, size_t length)
{
	(void)kind, (void)type, (void)encoding;
	struct body *body = data;
	struct http_part *part = NULL;
	if (offset == 0)
		part = add_part(body, key, file_name);
	else if (body->part_count > 0)
		part = &body->parts[body->part_count - 1];
	if (part && length > 0)
		write_part(body, part, bytes, length);
	return body->error ? MHD_NO : MHD_YES;
}

void body_start(struct body *body, struct MHD_Connection *connection, enum http_body mode,
	uint64_t limit_bytes, int tmp_dir)
{
	body->mode = mode;
	body->limit_bytes = limit_bytes;
	body->tmp_dir = tmp_dir;
	if (mode != HTTP_BODY_FILE)
		return;
	const char *type = MHD_lookup_connection_value(
		connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
	static const char multipart[] = "multipart/form-data";
	if (type && strncasecmp(type, multipart, sizeof(multipart) - 1) == 0) {
		body->multipart = MHD_create_post_processor(
			connection, MULTIPART_BUFFER_BYTES, on_multipart, body);
		if (!body->multipart)
			fail(body, -EINVAL);
		return;
	}
	add_part(body, "", NULL);
}

static void take_in_file(struct body *body, const char *data, size_t length)
{
	if (!body->multipart)
		write_part(body, &body->parts[0], data, length);
	else if (MHD_post_process(body->multipart, data, length) == MHD_NO)
		fail(body, -EINVAL);
}

void body_take(struct body *body, const char *data, size_t length)
{
	body->taken_bytes += length;
	if (body->mode == HTTP_BODY_NONE || body->error)
		return;
	if (body->taken_bytes > body->limit_bytes)
		fail(body, -E2BIG);
	else if (body->mode == HTTP_BODY_MEMORY)
		text_add_n(&body->text, data, length);
	else
		take_in_file(body, data, length);
}

void body_end(struct body *body)
{
	if (body->multipart) {
		/* A body that ends within a part is refused here. */
		if (MHD_destroy_post_processor(body->multipart) == MHD_NO)
			fail(body, -EINVAL);
		body->multipart = NULL;
	}
	for (size_t i = 0; i < body->part_count; i++)
		if (lseek(body->parts[i].fd, 0, SEEK_SET) < 0)
			fail(body, -errno);
}

void body_done(struct body *body)
{
	if (body->multipart)
		MHD_destroy_post_processor(body->multipart);
	for (size_t i = 0; i < body->part_count; i++) {
		free(body->parts[i].name);
		free(body->parts[i].file_name);
		if (body->parts[i].fd >= 0)
			close(body->parts[i].fd);
	}
	free(body->parts);
	text_done(&body->text);
	*body = (struct body){};
}
