/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - a file that goes into guest memory before the first instruction: read with care, it may be
 * cut off, corrupt or too big; then the sentence names it.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "vmm/guest.h"

struct image {
	int fd;
	const char *name; /* for sentences */
	uint64_t bytes;
};

/* Takes the size of an open file. -EINVAL if it is empty or no regular file. */
int image_init(struct image *image, int fd, const char *name, struct error *e) must_use;

/* Reads exactly `bytes` at `offset`; -EINVAL if the file ends before. */
int image_read(const struct image *image, uint64_t offset, void *data, size_t bytes,
	struct error *e) must_use;

/* Reads a part of the file into guest memory, which is all 0 there. -EINVAL if the one or the other does not hold it. */
int image_load(const struct image *image, uint64_t offset, uint64_t bytes, struct guest *guest,
	guest_addr at, struct error *e) must_use;
