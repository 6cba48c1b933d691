/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trap.h - the processor's exceptions, as trap.S leaves them on a stack of the thread.
 */
#pragma once

#include "unikernel/kernel.h"

struct trap {
	struct registers registers; /* `number` is the error code */
	uint64_t address;           /* CR2 */
	uint64_t vector;
	uint64_t reserved;
};

/* Fills the table of vectors that boot.S has told the processor of. */
void trap_init(void);

/* Says at the end of a verbose run how often the program came in by a real system call. */
void trap_report_at_end(void);
void trap_report(void);

/* How often the program came in by a real system call. */
extern uint64_t machine_traps;

/* Where an NMI asks whether the machine shall be kept; 0: it does not. */
extern uint32_t machine_keep_port;
