/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_segments.h - a program that is linked to an address: its segments lie outside the region, at the same place for
 * whoever runs it.
 */
#pragma once

#include "unikernel/kernel.h"

#define SEGMENTS_MOST 64u

struct segments {
	uint32_t count;
	struct segment {
		uint64_t start, end;
		bool is_writable;
	} list[SEGMENTS_MOST];
};

/* What there is, and a copy of what of it is writable (NULL if nothing is); false without memory. */
bool segments_keep(struct segments *ret, uint8_t **ret_bytes);

/* Of such a copy. */
uint64_t segments_bytes(const struct segments *segments);

/* Its bytes come back; the segments are there. */
void segments_put_back(const struct segments *segments, const uint8_t *bytes);
