/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crossing.h - SYSCALL, SYSRET and IRET without leaving translated code.
 */
#pragma once

#include "vmm/soft/cpu.h"
#include "vmm/soft/emit.h"

/*
 * Where the pieces are that translated code jumps to; offsets. Before, cpu->native_site is set for the case that the
 * interpreter does the instruction, and the flags are in cpu->flags. SYSCALL: the return address is in T1. IRET:
 * its frame is in cpu->crossing.
 */
struct crossing_pieces {
	uint32_t syscall, sysret, iret;
};

/* After STAR, LSTAR, FMASK, EFER, CR0 or CR4 may have changed. */
void crossing_update(struct cpu *cpu);

/* Writes them; the way out is at `leave`, the jump of kept.h at `kept`. */
void crossing_write(struct crossing_pieces *pieces, struct emitter *to, const uint8_t *base,
	const uint8_t *leave, const uint8_t *kept);
