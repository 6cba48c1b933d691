/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.c - the page that trampolines call through: an entry for each call, and that of the first serves any number.
 */
#include "unikernel/slots.h"

#include "unikernel/answers.h"
#include "unikernel/calls.h"

static_assert(COUNT(calls_table) == BOOT_SLOTS, "a slot for each");

void unikernel_answer(void); /* entry.S */

static uint64_t entry_of(size_t number)
{
	return address_of(
		(void *)(uintptr_t)(calls_table[number] == answers_serve ? unikernel_answer
									 : unikernel_entry));
}

int unikernel_make_slots(void)
{
	uint64_t *slots = at(BOOT_SLOT);
	int r = platform_map(BOOT_SLOT, BOOT_SLOTS * sizeof(*slots));
	if (r < 0)
		return r;
	for (size_t i = 0; i < BOOT_SLOTS; i++)
		slots[i] = entry_of(i);
	return platform_protect(BOOT_SLOT, BOOT_SLOTS * sizeof(*slots), PLATFORM_READ);
}
