/* SPDX-License-Identifier: Apache-2.0 */
/*
 * devices.h - what the fuzzers of devices share: the input, taken piece by piece, and wires that lead nowhere.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "vmm/guest.h"

struct input {
	const uint8_t *data;
	size_t size;
};

static inline void must(int r)
{
	if (r < 0)
		abort();
}

/* The next `bytes`, at most 8; what is not there is zero. */
static inline uint64_t take(struct input *input, size_t bytes)
{
	uint64_t value = 0;
	size_t n = bytes < input->size ? bytes : input->size;
	memcpy(&value, input->data, n);
	input->data += n;
	input->size -= n;
	return value;
}

/* As many into the guest's memory; nothing is taken if they do not fit there. */
static inline bool take_to_guest(
	struct input *input, struct guest *guest, uint64_t at, size_t bytes)
{
	size_t n = bytes < input->size ? bytes : input->size;
	if (guest_write(guest, at, input->data, n) < 0)
		return false;
	input->data += n;
	input->size -= n;
	return true;
}

static inline void no_line(void *data, uint32_t number, bool level)
{
	(void)data;
	(void)number;
	(void)level;
}

static inline void no_message(void *data, uint64_t address, uint32_t value)
{
	(void)data;
	(void)address;
	(void)value;
}

static inline int no_doorbell(void *data, uint64_t at, int event_fd, bool on)
{
	(void)data;
	(void)at;
	(void)event_fd;
	(void)on;
	return -1;
}
