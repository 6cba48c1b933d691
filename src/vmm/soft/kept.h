/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.h - what is known of a user's jumps is kept while CR3 changes, and asked again page by page.
 */
#pragma once

#include "vmm/soft/cpu.h"
#include "vmm/soft/emit.h"

/* The physical page and the physical address of nothing. */
#define KEPT_NOWHERE 1
#define KEPT_NONE    UINT64_MAX

/* A jump to another page; in the memory of translated code, so that its code can compare. */
struct far {
	guest_addr page;    /* of the block that it leads to, or KEPT_NOWHERE */
	const uint8_t *hot; /* behind the comparison */
	int64_t pages;      /* the distance of the target's page, | 1 as in fetch_entry.linear */
	uint32_t calm;      /* 0: what cpu->attention, which is beside the generation, has to be */
	uint32_t generation;
};

/* Offsets. */
struct kept_pieces {
	uint32_t link, jump;
};

/*
 * The user's. `link`: with the far at T2 and at T1 where to go on if it does not know. `jump`: with the target in T1,
 * at T2 where to go on if it does not know, else at cpu->native_code with T2 = the slot in the table of jumps.
 */
void kept_write(struct kept_pieces *pieces, struct emitter *to, const uint8_t *base);

/* The user's jumps to this physical address. */
void kept_remember(struct cpu *cpu, const uint8_t *code, guest_addr physical);
void kept_forget(struct cpu *cpu);
