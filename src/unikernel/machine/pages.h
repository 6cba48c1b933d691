/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.h - the machine's memory and its page tables: the part of platform.h that is about memory.
 */
#pragma once

#include "unikernel/kernel.h"
#include "unikernel/machine/layout.h"

struct pages_range {
	uint64_t start, bytes; /* physical */
};

/*
 * All of the memory from `start` on becomes visible at MACHINE_BASE, and so do devices below 4 GiB; tables come from the
 * head of `free`, which is whole pages that are zero. What is left of `free` is returned.
 */
struct pages_range pages_init(uint64_t end, struct pages_range free);

/* Registers of a device, whole pages around them, wherever they are; NULL if there are too many or nothing can be there. */
volatile uint8_t *pages_map_device(uint64_t physical, uint64_t bytes);

/* What can show pages of the image (physical). */
void pages_set_image(struct pages_range image);

/* Who takes whole pages and gives them back empty, a negative errno if it does not; nobody, if it is not said. */
void pages_set_give_back(int64_t (*function)(uint64_t physical, uint64_t bytes));

/* A page that shows the image is written to: it becomes one of its own. False if this one does not, or may not. */
bool pages_take(uint64_t address);

/*
 * Where `address` is, and for how many of `size` bytes memory goes on there; 0: it is not for the program. What is to be
 * filled from outside becomes the program's own and counts as written to.
 */
uint64_t pages_piece(uint64_t address, uint64_t size, bool is_filled, uint64_t *ret_physical);

static inline void *pages_see(uint64_t physical)
{
	return at(MACHINE_BASE + physical);
}

static inline uint64_t pages_physical(const void *pointer)
{
	return address_of(pointer) - MACHINE_BASE;
}
