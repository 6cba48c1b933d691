/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pflash.h - flash memory with Intel's command set, where UEFI firmware keeps its variables: a file.
 *
 * Every access comes here: nothing runs from it, and it is read once a boot.
 */
#pragma once

#include "vmm/boot/image.h"
#include "vmm/bus.h"
#include "vmm/part.h"

#define PFLASH_BLOCK      4096u
#define PFLASH_BYTES_MAX  (8 * MIB)
#define PFLASH_BUFFER     128u
#define PFLASH_QUERY_SIZE 0x40

enum pflash_mode {
	PFLASH_ARRAY,   /* reads give the contents */
	PFLASH_STATUS,  /* the status register */
	PFLASH_ID,      /* maker and model */
	PFLASH_QUERY,   /* the table that describes it */
	PFLASH_PROGRAM, /* the next write is data */
	PFLASH_ERASE,   /* the next write confirms */
	PFLASH_COUNT,   /* the next write is a number of bytes, less one */
	PFLASH_FILL,    /* that many writes are data */
	PFLASH_CONFIRM, /* the next write confirms them */
};

struct pflash {
	struct part part;
	struct bus *bus;
	struct region region;
	uint8_t *data;
	int fd; /* owned */
	enum pflash_mode mode;
	uint8_t status;
	uint32_t buffer_count, buffer_expected;
	uint64_t buffer_at;
	uint8_t buffer[PFLASH_BUFFER];
	uint8_t query[PFLASH_QUERY_SIZE];
};

/*
 * Flash with the file's contents that ends at guest address `end`; what the guest writes goes to the
 * file at once. Takes the file's descriptor on success. -EINVAL if they are no variables of UEFI.
 */
int pflash_new(struct bus *bus, const struct image *file, uint64_t end, struct pflash **ret,
	struct error *e) must_use;
