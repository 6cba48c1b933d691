/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.h - the code between the C of the monitor and translated code.
 */
#pragma once

#include "vmm/soft/crossing.h"
#include "vmm/soft/kept.h"

/* Where they are; offsets. */
struct pieces {
	void (*enter)(struct cpu *cpu, const void *code, uint32_t live);
	uint32_t leave;
	uint32_t arrive;             /* leaves with site 0: rip is known already */
	uint32_t miss[TLB_KINDS][2]; /* of a read, of a write */
	struct crossing_pieces crossing;
	struct kept_pieces kept;
};

/* Runs code. Upper halves that are not all 0 are live with the lower ones, as a VEX instruction clears them. */
static inline void pieces_enter(
	const struct pieces *pieces, struct cpu *cpu, const void *code, uint32_t live)
{
	cpu->has_high |= (live & LIVE_HIGH) != 0;
	cpu->has_upper |= (live & LIVE_UPPER) != 0;
	if (cpu->has_upper && (live & LIVE_SSE))
		live |= LIVE_UPPER;
	pieces->enter(cpu, code, live);
}

/* Writes them; `base` is where the memory is written, `executable` where it runs. */
void pieces_write(
	struct pieces *pieces, struct emitter *to, const uint8_t *base, const uint8_t *executable);

/*
 * Where jumps by address arrive: T1 is 0 or the code that puts the flags to cpu->flags and goes on at
 * cpu->native_code, which is behind this.
 */
void pieces_take_flags(struct emitter *to);
