/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.c - reads and writes whole frames.
 */
#include "agent/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

static int read_all(int fd, void *data, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = read(fd, (uint8_t *)data + done, bytes - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return done == 0 ? 0 : -EPROTO;
		done += (size_t)n;
	}
	return 1;
}

int frame_read(int fd, struct frame *ret)
{
	struct agent_header header;
	int r = read_all(fd, &header, sizeof(header));
	if (r <= 0)
		return r;
	if (header.version != AGENT_VERSION || header.bytes > AGENT_FRAME_MAX)
		return -EPROTO;
	ret->type = (enum agent_type)header.type;
	ret->bytes = header.bytes;
	r = header.bytes ? read_all(fd, ret->data, header.bytes) : 1;
	ret->data[header.bytes] = '\0';
	return r == 0 ? -EPROTO : r;
}

int frame_write(int fd, enum agent_type type, const void *head, size_t head_bytes, const void *tail,
	size_t tail_bytes)
{
	struct agent_header header = {
		.bytes = (uint32_t)(head_bytes + tail_bytes),
		.version = AGENT_VERSION,
		.type = (uint16_t)type,
	};
	if (head_bytes + tail_bytes > AGENT_FRAME_MAX)
		return -EMSGSIZE;
	uint8_t buffer[sizeof(header) + AGENT_FRAME_MAX / 8];
	size_t bytes = sizeof(header) + head_bytes;
	assert(bytes <= sizeof(buffer));
	memcpy(buffer, &header, sizeof(header));
	if (head_bytes)
		memcpy(buffer + sizeof(header), head, head_bytes);
	const uint8_t *parts[] = { buffer, tail };
	const size_t sizes[] = { bytes, tail_bytes };
	for (int i = 0; i < 2; i++)
		for (size_t done = 0; done < sizes[i];) {
			ssize_t n = send(fd, parts[i] + done, sizes[i] - done,
				MSG_NOSIGNAL | (i == 0 && tail_bytes ? MSG_MORE : 0));
			/* What is a socket to the host is the console to the agent of a unikernel. */
			if (n < 0 && errno == ENOTSOCK)
				n = write(fd, parts[i] + done, sizes[i] - done);
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				return -errno;
			done += (size_t)n;
		}
	return 0;
}

int frame_done(int fd)
{
	return frame_write(fd, AGENT_DONE, NULL, 0, NULL, 0);
}

int frame_error(int fd, int code, const char *text)
{
	const struct agent_error error = { .code = code };
	if (!text || !*text)
		text = strerror(-code);
	return frame_write(fd, AGENT_ERROR, &error, sizeof(error), text, strlen(text));
}
