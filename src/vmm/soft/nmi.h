/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nmi.h - NMIs that wait, and whether they are blocked.
 *
 * One may be in its handler and one more behind it; what comes then is lost. Any thread sends, and the CPU takes and
 * unblocks: how many may wait and how many do is one word, so that none is lost in between.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* Of cpu->nmi. */
#define NMI_ONE 1u
#define NMI_WAITING \
	3u /* how many: two, the one that comes next and one behind it, if none is in its handler */
#define NMI_BLOCKED 4u

/* The word when one more was sent. */
static inline uint32_t nmi_with_one_more(uint32_t nmi)
{
	uint32_t most = nmi & NMI_BLOCKED ? 1 : 2;
	return (nmi & NMI_WAITING) < most ? nmi + NMI_ONE : nmi;
}

/* Any thread. */
void nmi_raise(struct cpu *cpu);

/* The CPU's own: true if one is to be delivered now, from when on they are blocked. */
bool nmi_take(struct cpu *cpu);

/* IRET. */
void nmi_unblock(struct cpu *cpu);
