/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate.h - the few things that only ring 0 can do, asked for from ring 3.
 */
#pragma once

#include <stdint.h>

#include "unikernel/machine/layout.h"

uint64_t machine_gate(uint64_t operation, uint64_t first, uint64_t second);

/* Sleeps until an interrupt comes; returns at once if one waits already. */
static inline void gate_halt(void)
{
	(void)machine_gate(GATE_HALT, 0, 0);
}

/* The processor forgets what it remembers of page tables. */
static inline void gate_flush(void)
{
	(void)machine_gate(GATE_FLUSH, 0, 0);
}

static inline void gate_write_register(uint32_t number, uint64_t value)
{
	(void)machine_gate(GATE_WRITE, number, value);
}

static inline uint64_t gate_read_register(uint32_t number)
{
	return machine_gate(GATE_READ, number, 0);
}
