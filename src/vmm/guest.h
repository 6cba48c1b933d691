/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.h - guest memory: regions of one memfd at guest addresses, reached only through checks.
 *
 * Regions are added before the first CPU runs and stay until guest_free(). The guest can change its
 * memory at any moment: read a header once with guest_read() and never look at it again in place.
 * Every function but guest_add() and guest_free() may be called by any thread.
 */
#pragma once

#include <stdatomic.h>

#include "base/base.h"
#include "base/error.h"

#define GUEST_PAGE        UINT64_C(4096)
#define GUEST_REGIONS_MAX 16
#define GUEST_MAPS_MAX    4

/* A guest address is a number, never a pointer, until guest_slice() has checked it. */
typedef uint64_t guest_addr;

enum guest_access { GUEST_RAM, GUEST_ROM };

struct guest_region {
	guest_addr at;
	uint64_t bytes;
	uint8_t *host;        /* mapped shared from the guest's memfd */
	uint64_t file_offset; /* of the region in the memfd */
	enum guest_access access;

	/*
	 * One word a page; bit n says that a CPU engine has decoded instructions from 64-byte line n.
	 * guest_wrote() and the engine look here.
	 */
	_Atomic uint64_t *watched;

	/* For each large page of the host: how often a page of it was looked up; see guest_used(). */
	_Atomic uint16_t *used;
};

enum guest_map { GUEST_MAP_READ, GUEST_MAP_SHARED };

struct guest {
	int memfd;
	uint64_t file_bytes;
	uint32_t region_count;
	struct guest_region regions[GUEST_REGIONS_MAX];
	uint32_t map_count; /* what guest_map() has put there */
	struct {
		guest_addr at;
		uint64_t bytes;
		enum guest_map how;
	} maps[GUEST_MAPS_MAX];
	int image_fd; /* of what was mapped to be read, if it can be executed where it is mapped elsewhere; -1: not */

	_Atomic uint32_t large_fails;

	/* Set by the CPU engine: a page with watched lines among these bytes was written. */
	void (*watch)(void *data, guest_addr at, uint64_t bytes);
	void *watch_data;
};

int guest_new(struct guest **ret, struct error *e) must_use;
void guest_free(struct guest *guest);
DEFINE_CLEANUP(struct guest *, guest_free);

/*
 * Adds zeroed memory at `at`; both numbers are multiples of GUEST_PAGE. ROM is written by the host
 * only. -EINVAL if it is empty or overlaps, -ENOSPC after GUEST_REGIONS_MAX, or errno.
 */
int guest_add(struct guest *guest, guest_addr at, uint64_t bytes, enum guest_access access,
	struct error *e) must_use;

/* The region that holds `at`, or NULL. */
const struct guest_region *guest_region(const struct guest *guest, guest_addr at);

/*
 * Host memory behind [at, at + bytes) or NULL if that is not wholly within one region. A slice for
 * writing is refused for ROM. After bytes have been written through a slice call guest_wrote().
 */
const void *guest_slice_const(const struct guest *guest, guest_addr at, uint64_t bytes);
void *guest_slice(const struct guest *guest, guest_addr at, uint64_t bytes);

/*
 * A CPU engine has looked up the page at `at`: what is used much goes into large pages of the host. What was given back does
 * not come again by that, unless it was all of one.
 */
void guest_used(struct guest *guest, guest_addr at);

/* Pages of one region's memfd go back to the host and read as zeroes from now on; the engine is told. -EINVAL: they are none. */
int guest_give_back(const struct guest *guest, guest_addr at, uint64_t bytes) must_use;

/* Tells the engine that the host (a device, a loader) has changed these bytes. */
void guest_wrote(const struct guest *guest, guest_addr at, uint64_t bytes);

/* Copies, also across regions that touch. -EFAULT, and nothing copied, if a byte is not there. */
int guest_read(const struct guest *guest, guest_addr at, void *to, uint64_t bytes) must_use;
int guest_write(
	const struct guest *guest, guest_addr at, const void *from, uint64_t bytes) must_use;

/*
 * Before it runs: a file's bytes appear at `at`, a multiple of GUEST_PAGE, without being read. What the guest writes goes
 * into the file, or into none: there may be one file that it only reads, what it writes to that is lost or seen by itself
 * alone. They are not in the memfd: no balloon, no state of such memory.
 */
int guest_map(struct guest *guest, guest_addr at, uint64_t bytes, int fd, enum guest_map how,
	struct error *e) must_use;

/* Whether the page at `at`, which is a region's, is the memfd's: whoever maps that sees what the guest sees. */
bool guest_in_memfd(const struct guest *guest, guest_addr at);

/* Likewise whether it is that of a file that is only read, and where it is in the file. */
bool guest_in_image(const struct guest *guest, guest_addr at, uint64_t *ret_offset);

/* Nothing of what the guest's CPU writes to this region's page is kept. */
bool guest_is_rom(const struct guest *guest, const struct guest_region *region, guest_addr at);

/* As guest_write(), into ROM too: for loaders. */
int guest_load(const struct guest *guest, guest_addr at, const void *from, uint64_t bytes) must_use;
