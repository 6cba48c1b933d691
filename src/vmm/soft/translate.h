/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translate.h - a block of the guest's code into host code.
 */
#pragma once

#include "vmm/soft/code.h"

/*
 * Translates what begins at the physical address, whose page is at `page` in this process. There must be
 * room: see translate_has_room(). Returns the block's number.
 */
struct second_page {
	guest_addr physical;
	const uint8_t *host;
};
uint32_t translate(struct cpu *cpu, guest_addr physical, const uint8_t *page, uint32_t mode,
	const struct second_page *second);

/* Whether the instruction there goes on in another page, which is the `second` then. */
bool translate_crosses(guest_addr physical, const uint8_t *page);

bool translate_has_room(const struct native *native);
