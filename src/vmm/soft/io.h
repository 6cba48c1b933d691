/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.h - ports and memory-mapped devices: the chips of the engine, doorbells, or an exit.
 *
 * An access that needs the machine leaves run(). At the next run the instruction is done again from its
 * start, and what it had already done outside is answered from cpu->io[] in the same order.
 */
#pragma once

#include "vmm/soft/cpu.h"

uint64_t io_read(struct cpu *cpu, const struct op *op, uint64_t at, uint32_t bytes, bool is_port);
void io_write(struct cpu *cpu, const struct op *op, uint64_t at, uint32_t bytes, uint64_t value,
	bool is_port);

/* What the instruction has done so far is final: it goes on with its next part. */
static inline void io_commit(struct cpu *cpu)
{
	cpu->io_count = 0;
	cpu->io_next = 0;
}
