/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - the saved state of a machine: named, versioned sections of fixed-width structs.
 *
 * Every device and engine puts its state as sections ("serial", "pci.3", "virtio.3.queue.0") and gets
 * them back. A section is the bytes of one packed or naturally padded little-endian struct, or an array
 * of them; a change of its layout is a new version. What is written: a header (magic, format, length,
 * checksum), then each section: name, version, length, bytes padded to 8.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define STATE_NAME_SIZE 40
#define STATE_LIMIT     (64 * MIB)

struct state {
	uint8_t *data;
	size_t length;
	size_t size;
};

void state_done(struct state *state);
static inline void state_done_cleanup(struct state *local)
{
	state_done(local);
}

/* Appends a section. A name may stand once; it is shorter than STATE_NAME_SIZE. */
void state_put(
	struct state *state, const char *name, uint32_t version, const void *data, size_t length);

/* Copies the section into `data`. -ENOENT if it is missing, -EINVAL if version or length differ. */
int state_get(const struct state *state, const char *name, uint32_t version, void *data,
	size_t length, struct error *e) must_use;

/* The section's bytes, borrowed, of any length. -ENOENT, or -EINVAL if its version differs. */
int state_find(const struct state *state, const char *name, uint32_t version,
	const uint8_t **ret_data, size_t *ret_length, struct error *e) must_use;

/* A name with a number: state_name(buffer, "pci", 3) is "pci.3". Returns `buffer`. */
char *state_name(char buffer[STATE_NAME_SIZE], const char *what, uint32_t number);

/* Writes the whole state to `fd`. */
int state_write(const struct state *state, int fd, struct error *e) must_use;

/* Reads a state from `fd` into the empty *state; -EINVAL with what is wrong if it is no whole one. */
int state_read(struct state *state, int fd, struct error *e) must_use;
