/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - sections in one growing buffer; checked as a whole when it is read.
 */
#include "vmm/state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define STATE_MAGIC  "berthvmm"
#define STATE_FORMAT 1u

struct file_header {
	char magic[8];
	uint32_t format;
	uint32_t reserved;
	uint64_t length; /* of the sections */
	uint64_t checksum;
};
static_assert(sizeof(struct file_header) == 32, "layout");

struct section_header {
	char name[STATE_NAME_SIZE]; /* NUL-terminated */
	uint32_t version;
	uint32_t reserved;
	uint64_t length; /* without the padding */
};
static_assert(sizeof(struct section_header) == 56, "layout");

void state_done(struct state *state)
{
	free(state->data);
	*state = (struct state){};
}

/* FNV-1a: it finds a torn file, it does not guard against a forged one. */
static uint64_t checksum(const uint8_t *data, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < length; i++)
		sum = (sum ^ data[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static size_t padded(size_t length)
{
	return (length + 7) & ~(size_t)7;
}

static void append(struct state *state, const void *data, size_t length)
{
	size_t wanted = padded(length);
	if (state->size - state->length < wanted) {
		state->size = (state->length + wanted) * 2;
		state->data = alloc_resize(state->data, state->size, 1);
	}
	if (length)
		memcpy(state->data + state->length, data, length);
	memset(state->data + state->length + length, 0, wanted - length);
	state->length += wanted;
}

void state_put(
	struct state *state, const char *name, uint32_t version, const void *data, size_t length)
{
	struct section_header header = { .version = version, .length = length };
	assert(strlen(name) < sizeof(header.name));
	snprintf(header.name, sizeof(header.name), "%s", name);
	append(state, &header, sizeof(header));
	append(state, data, length);
}

int state_find(const struct state *state, const char *name, uint32_t version,
	const uint8_t **ret_data, size_t *ret_length, struct error *e)
{
	struct section_header header;
	for (size_t at = 0; at < state->length; at += sizeof(header) + padded(header.length)) {
		memcpy(&header, state->data + at, sizeof(header));
		if (strcmp(header.name, name) != 0)
			continue;
		if (header.version != version)
			return error_set(e, -EINVAL, "saved state: %s has version %u, not %u", name,
				header.version, version);
		*ret_data = state->data + at + sizeof(header);
		*ret_length = header.length;
		return 0;
	}
	return error_set(e, -ENOENT, "saved state: %s is missing", name);
}

int state_get(const struct state *state, const char *name, uint32_t version, void *data,
	size_t length, struct error *e)
{
	const uint8_t *found;
	size_t found_length;
	int r = state_find(state, name, version, &found, &found_length, e);
	if (r < 0)
		return r;
	if (found_length != length)
		return error_set(e, -EINVAL, "saved state: %s has %zu bytes, not %zu", name,
			found_length, length);
	if (length)
		memcpy(data, found, length);
	return 0;
}

char *state_name(char buffer[STATE_NAME_SIZE], const char *what, uint32_t number)
{
	snprintf(buffer, STATE_NAME_SIZE, "%s.%u", what, number);
	return buffer;
}

int state_write(const struct state *state, int fd, struct error *e)
{
	struct file_header header = {
		.magic = STATE_MAGIC,
		.format = STATE_FORMAT,
		.length = state->length,
		.checksum = checksum(state->data, state->length),
	};
	int r = file_write_all(fd, &header, sizeof(header));
	if (r == 0)
		r = file_write_all(fd, state->data, state->length);
	return r < 0 ? error_code(e, r, "write the saved state") : 0;
}

static int read_all(int fd, void *data, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t n = read(fd, (char *)data + done, length - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		done += (size_t)n;
	}
	return 0;
}

/* Every section lies inside, its name ends, and nothing is left over. */
static bool is_well_formed(const uint8_t *data, size_t length)
{
	struct section_header header;
	size_t at = 0;
	while (length - at >= sizeof(header)) {
		memcpy(&header, data + at, sizeof(header));
		if (!memchr(header.name, '\0', sizeof(header.name)))
			return false;
		at += sizeof(header);
		if (header.length > STATE_LIMIT || padded(header.length) > length - at)
			return false;
		at += padded(header.length);
	}
	return at == length;
}

int state_read(struct state *state, int fd, struct error *e)
{
	struct file_header header;
	int r = read_all(fd, &header, sizeof(header));
	if (r == -ENODATA)
		return error_set(e, -EINVAL, "saved state: it ends inside its header");
	if (r < 0)
		return error_code(e, r, "read the saved state");
	if (memcmp(header.magic, STATE_MAGIC, sizeof(header.magic)) != 0)
		return error_set(e, -EINVAL, "saved state: this is none");
	if (header.format != STATE_FORMAT)
		return error_set(e, -EINVAL, "saved state: format %u, this berth knows %u",
			header.format, STATE_FORMAT);
	cleanup(free) uint8_t *data = alloc_try(1, header.length + 1, STATE_LIMIT);
	if (!data)
		return error_set(e, -EINVAL, "saved state: %ju bytes are too many",
			(uintmax_t)header.length);
	r = read_all(fd, data, header.length);
	if (r == -ENODATA)
		return error_set(e, -EINVAL, "saved state: it is cut off");
	if (r < 0)
		return error_code(e, r, "read the saved state");
	if (checksum(data, header.length) != header.checksum)
		return error_set(e, -EINVAL, "saved state: its checksum is wrong");
	if (!is_well_formed(data, header.length))
		return error_set(e, -EINVAL, "saved state: its sections do not fit");
	*state = (struct state){
		.length = header.length,
		.size = header.length,
		.data = TAKE_PTR(data),
	};
	return 0;
}
