/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pflash.c - one byte-wide chip: commands are writes, to any address of it.
 *
 * As on the boards that firmware knows, programming sets bytes to what is written (no erase is needed
 * before), and clearing the status clears the ready bit, too: OVMF tells flash from memory by that.
 */
#include "vmm/pflash.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/firmware.h"

#define STATUS_READY   0x80u
#define STATUS_ERASE   0x20u /* an erase failed, or a command made no sense */
#define STATUS_PROGRAM 0x10u /* programming failed */
#define MAKER          0x89u
#define MODEL          0x18u
#define PAGE_MODE_US   7 /* 2^7 microseconds */

static void keep(struct pflash *pflash, uint64_t at, uint64_t bytes, uint8_t failure)
{
	ssize_t n = pwrite(pflash->fd, pflash->data + at, bytes, (off_t)at);
	if (n != (ssize_t)bytes)
		pflash->status |= failure;
	pflash->status |= STATUS_READY;
	pflash->mode = PFLASH_STATUS;
}

static void confuse(struct pflash *pflash)
{
	pflash->status |= STATUS_READY | STATUS_ERASE | STATUS_PROGRAM;
	pflash->mode = PFLASH_STATUS;
}

static void command(struct pflash *pflash, uint64_t at, uint8_t value)
{
	switch (value) {
	case 0x10:
	case 0x40:
		pflash->mode = PFLASH_PROGRAM;
		break;
	case 0x20:
		pflash->mode = PFLASH_ERASE;
		break;
	case 0x50:
		pflash->status = 0;
		pflash->mode = PFLASH_ARRAY;
		break;
	case 0x70:
		pflash->mode = PFLASH_STATUS;
		break;
	case 0x90:
		pflash->mode = PFLASH_ID;
		break;
	case 0x98:
		pflash->mode = PFLASH_QUERY;
		break;
	case 0xe8:
		pflash->status |= STATUS_READY;
		pflash->buffer_at = at & ~(uint64_t)(PFLASH_BUFFER - 1);
		pflash->mode = PFLASH_COUNT;
		break;
	default:
		pflash->mode = PFLASH_ARRAY;
	}
}

static void erase(struct pflash *pflash, uint64_t at)
{
	at &= ~(uint64_t)(PFLASH_BLOCK - 1);
	memset(pflash->data + at, 0xff, PFLASH_BLOCK);
	keep(pflash, at, PFLASH_BLOCK, STATUS_ERASE);
}

static void begin_fill(struct pflash *pflash, uint8_t count)
{
	if (count >= PFLASH_BUFFER) {
		confuse(pflash);
		return;
	}
	/* What is not written stays as it is. */
	memcpy(pflash->buffer, pflash->data + pflash->buffer_at, PFLASH_BUFFER);
	pflash->buffer_expected = count + 1u;
	pflash->buffer_count = 0;
	pflash->mode = PFLASH_FILL;
}

static void fill(struct pflash *pflash, uint64_t at, uint8_t value)
{
	if (at - pflash->buffer_at >= PFLASH_BUFFER) {
		confuse(pflash);
		return;
	}
	pflash->buffer[at - pflash->buffer_at] = value;
	if (++pflash->buffer_count == pflash->buffer_expected)
		pflash->mode = PFLASH_CONFIRM;
}

static void write_byte(struct pflash *pflash, uint64_t at, uint8_t value)
{
	switch (pflash->mode) {
	case PFLASH_PROGRAM:
		pflash->data[at] = value;
		keep(pflash, at, 1, STATUS_PROGRAM);
		break;
	case PFLASH_ERASE:
		if (value == 0xd0)
			erase(pflash, at);
		else
			confuse(pflash);
		break;
	case PFLASH_COUNT:
		begin_fill(pflash, value);
		break;
	case PFLASH_FILL:
		fill(pflash, at, value);
		break;
	case PFLASH_CONFIRM:
		if (value != 0xd0) {
			confuse(pflash);
			break;
		}
		memcpy(pflash->data + pflash->buffer_at, pflash->buffer, PFLASH_BUFFER);
		keep(pflash, pflash->buffer_at, PFLASH_BUFFER, STATUS_PROGRAM);
		break;
	case PFLASH_ARRAY:
	case PFLASH_STATUS:
	case PFLASH_ID:
	case PFLASH_QUERY:
		command(pflash, at, value);
		break;
	}
}

static void pflash_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct pflash *pflash = data;
	/* A wider write is data for as many bytes; as a command only its first byte counts. */
	enum pflash_mode before = pflash->mode;
	for (uint32_t i = 0; i < bytes; i++) {
		write_byte(pflash, offset + i, (uint8_t)(value >> (8 * i)));
		if (before == PFLASH_PROGRAM && i + 1 < bytes)
			pflash->mode = PFLASH_PROGRAM;
		else if (before != PFLASH_FILL || pflash->mode != PFLASH_FILL)
			break;
	}
}

static uint64_t pflash_read(void *data, uint64_t offset, uint32_t bytes)
{
	const struct pflash *pflash = data;
	const uint8_t id[] = { MAKER, MODEL };
	switch (pflash->mode) {
	case PFLASH_ARRAY:
		return bytes_get(pflash->data, pflash->region.bytes, offset, bytes);
	case PFLASH_ID:
		return offset < sizeof(id) ? id[offset] : 0;
	case PFLASH_QUERY:
		return offset < PFLASH_QUERY_SIZE ? pflash->query[offset] : 0;
	case PFLASH_STATUS:
	case PFLASH_PROGRAM:
	case PFLASH_ERASE:
	case PFLASH_COUNT:
	case PFLASH_FILL:
	case PFLASH_CONFIRM:
		break;
	}
	return pflash->status * UINT64_C(0x0101010101010101);
}

static const struct region_calls pflash_calls = { pflash_read, pflash_write };

/* The Common Flash Interface's table. */
static void describe(struct pflash *pflash)
{
	uint8_t *query = pflash->query;
	uint64_t bytes = pflash->region.bytes;
	uint32_t blocks = (uint32_t)(bytes / PFLASH_BLOCK - 1), log = 0;
	while (UINT64_C(1) << log < bytes)
		log++;
	memcpy(query + 0x10, "QRY\1", 4); /* Intel's command set */
	query[0x15] = 0x31;               /* where more would stand */
	query[0x1b] = 0x45;               /* 4.5 to 5.5 volts */
	query[0x1c] = 0x55;
	query[0x1f] = query[0x20] = PAGE_MODE_US;
	query[0x21] = 10; /* 2^10 milliseconds for a block */
	query[0x23] = query[0x24] = query[0x25] = 4;
	query[0x27] = (uint8_t)log;
	query[0x28] = 0; /* byte-wide */
	query[0x2a] = 7; /* a buffer of 2^7 */
	query[0x2c] = 1; /* one kind of block */
	query[0x2d] = (uint8_t)blocks;
	query[0x2e] = (uint8_t)(blocks >> 8);
	query[0x2f] = PFLASH_BLOCK / 256;
	memcpy(query + 0x31, "PRI10", 5);
}

static int read_file(struct pflash *pflash, const struct image *file, struct error *e)
{
	if (file->bytes < PFLASH_BLOCK || file->bytes > PFLASH_BYTES_MAX ||
		file->bytes % PFLASH_BLOCK)
		return error_set(e, -EINVAL,
			"%s: no variables of UEFI: %ju bytes are not whole blocks up to 8 MiB",
			file->name, (uintmax_t)file->bytes);
	pflash->data = alloc_array(file->bytes, uint8_t);
	int r = image_read(file, 0, pflash->data, file->bytes, e);
	if (r == 0 && !firmware_is_variables(pflash->data, file->bytes))
		r = error_set(e, -EINVAL,
			"%s: no variables of UEFI: a copy of OVMF_VARS*.fd is needed", file->name);
	return r;
}

static struct pflash *pflash_of(struct part *part)
{
	return container_of(part, struct pflash, part);
}

static void pflash_free(struct part *part)
{
	struct pflash *pflash = pflash_of(part);
	if (pflash->bus)
		bus_remove(pflash->bus, BUS_MEMORY, &pflash->region);
	if (pflash->fd >= 0)
		close(pflash->fd);
	free(pflash->data);
	free(pflash);
}

static void pflash_reset(struct part *part)
{
	struct pflash *pflash = pflash_of(part);
	pflash->mode = PFLASH_ARRAY;
	pflash->status = 0;
}

/* What it is told to keep is in the file at once: nothing is ever under way. */
static void pflash_pause(struct part *part, bool is_paused)
{
	(void)part;
	(void)is_paused;
}

struct pflash_saved {
	uint64_t buffer_at;
	uint32_t mode, status, buffer_count, buffer_expected;
	uint8_t buffer[PFLASH_BUFFER];
};
static_assert(sizeof(struct pflash_saved) == 24 + PFLASH_BUFFER, "layout");

static void pflash_save(const struct part *part, struct state *state)
{
	const struct pflash *pflash = (const void *)part;
	static_assert(offsetof(struct pflash, part) == 0, "layout");
	struct pflash_saved saved = {
		.buffer_at = pflash->buffer_at,
		.mode = pflash->mode,
		.status = pflash->status,
		.buffer_count = pflash->buffer_count,
		.buffer_expected = pflash->buffer_expected,
	};
	memcpy(saved.buffer, pflash->buffer, sizeof(saved.buffer));
	state_put(state, "pflash", 1, &saved, sizeof(saved));
}

static int pflash_load(struct part *part, const struct state *state, struct error *e)
{
	struct pflash *pflash = pflash_of(part);
	struct pflash_saved saved;
	int r = state_get(state, "pflash", 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.mode > PFLASH_CONFIRM || saved.buffer_at % PFLASH_BUFFER ||
		saved.buffer_at >= pflash->region.bytes || saved.buffer_expected > PFLASH_BUFFER ||
		saved.buffer_count > saved.buffer_expected)
		return error_set(e, -EINVAL, "saved state: pflash is in no state it can be in");
	pflash->mode = (enum pflash_mode)saved.mode;
	pflash->status = (uint8_t)saved.status;
	pflash->buffer_at = saved.buffer_at;
	pflash->buffer_count = saved.buffer_count;
	pflash->buffer_expected = saved.buffer_expected;
	memcpy(pflash->buffer, saved.buffer, sizeof(saved.buffer));
	return 0;
}

static const struct part_driver driver = {
	.reset = pflash_reset,
	.pause = pflash_pause,
	.save = pflash_save,
	.load = pflash_load,
	.free = pflash_free,
};

int pflash_new(struct bus *bus, const struct image *file, uint64_t end, struct pflash **ret,
	struct error *e)
{
	struct pflash *pflash = alloc(struct pflash);
	pflash->part.driver = &driver;
	pflash->fd = -1;
	int r = read_file(pflash, file, e);
	if (r == 0) {
		pflash->region =
			(struct region){ &pflash_calls, pflash, end - file->bytes, file->bytes };
		r = bus_add(bus, BUS_MEMORY, &pflash->region);
		if (r < 0)
			error_code(e, r, "%s: below the firmware", file->name);
	}
	if (r < 0) {
		pflash_free(&pflash->part);
		return r;
	}
	describe(pflash);
	pflash->bus = bus;
	pflash->fd = file->fd;
	*ret = pflash;
	return 0;
}
