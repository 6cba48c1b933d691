/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.h - a block while it is translated: its instructions, what is known about flags and registers
 * between two of them, the code so far, and what goes behind it.
 */
#pragma once

#include "vmm/soft/cache.h"
#include "vmm/soft/code.h"
#include "vmm/soft/effects.h"
#include "vmm/soft/emit.h"

#define BLOCK_INSNS 64

#define KEEPS_FIRST  0x1u
#define KEEPS_SECOND 0x2u

/* An operand: base + index << scale + disp; `disp` of RIP: relative to the page. */
struct reference {
	uint8_t base, index, scale, segment;
	uint8_t bytes, access;
	bool is_aligned;
	int64_t disp;
};

struct step {
	struct insn insn;
	struct effect effect;
	/* What was decoded is what is written, whatever another CPU of the guest does to its page meanwhile. */
	uint8_t bytes[DECODE_READS];
	uint16_t offset;
	uint16_t live_in, live_out; /* flags that somebody may read */
	uint16_t live_target;       /* by the code at the target of a direct jump */
	uint8_t group;              /* number + 1 of the one that its operand belongs to */
	uint8_t keeps; /* KEEPS_...: operands that are stored, so that its flags can be had again */
	/* Bits of general registers: see registers.h. */
	uint16_t written, touched;
	uint8_t part;        /* for a group: see group.h */
	struct reference to; /* if it has an operand */
};

/* Operands that one address is good for: the host's of base (and index) + origin, in T1 or parked. */
struct group {
	uint8_t base, first, last; /* its instructions, with others among them */
	bool is_parked;            /* in cpu->native_parked */
	int64_t origin;
};

#define GROUPS_MAX NATIVE_PARKED

/* What the code behind an instruction expects. */
struct after {
	uint8_t *at;
	bool in_host, in_cpu;
};

#define RECIPE_TEST 8
#define RECIPE_NEG  9

/* An operand that stands in cpu->native_kept; the second one is the next. */
#define RECIPE_KEPT 0x40

/* How flags are had again: `first` op `second`, or a constant; see recipe.h. */
struct recipe {
	bool is_there;
	uint8_t which; /* of the eight operations, or one of the above */
	uint8_t bytes, first, second;
	int32_t imm;
	int32_t moved;       /* what was added to `first` since */
	int32_t stack_moved; /* what the last instruction has added to RSP, too */
};

/* Code that is reached seldom; it follows the block. */
struct cold {
	uint8_t *from;   /* a displacement that shall lead here, or NULL */
	uint8_t *from_2; /* another, of a group */
	uint32_t site;
	bool saves_flags; /* from the host's register */
	bool checks;      /* LINK: attention or generation first, then jumps on */
	bool restores;    /* MEMORY: flags to the host's register before it goes on */
	uint8_t *back;    /* where it goes on */
	/* MEMORY and groups: where the check has passed. */
	uint8_t *found;
	uint8_t tlb, access;
	uint16_t bytes;
	/* A group whose instructions are written again, and what held before. */
	bool is_group, in_host, in_cpu;
	uint8_t first, live;
	uint16_t undefined;
	bool looks_beside; /* CALLOUT: in the other slot for the jump's target first */
	uint8_t mode;
	/* Flags that are had again and saved first; of a jump by address, what it tells its target of. */
	struct recipe recipe;
	bool is_told;
};

struct writing {
	struct cpu *cpu;
	struct native *native;
	struct emitter to;
	uint32_t mode;       /* enum native_mode, changes with STAC and CLAC */
	uint32_t block;      /* its number */
	const uint8_t *page; /* the guest's */
	guest_addr physical; /* of the page */
	/* The first instruction lies in two pages: its bytes, and the physical page of the rest. */
	uint8_t crossing[INSN_BYTES_MAX + 1];
	guest_addr second; /* 0: it does not */
	bool next_crosses; /* the one behind the block does */

	struct step steps[BLOCK_INSNS];
	uint32_t count, now; /* the one that is written */
	uint64_t watched;    /* lines of the page */

	/* Whether live flags are in the host's register, in cpu->flags. */
	bool flags_in_host, flags_in_cpu;
	struct recipe recipe; /* neither: they are had again */
	uint8_t live;         /* LIVE_... that hold from here on */
	uint8_t *retry;
	uint8_t *told; /* the jump from where jumps by address arrive to what makes the flags */
	int32_t stack_moved; /* what is to be added to RSP yet */
	bool has_two;        /* operands in memory, which may share a slot of the TLB */
	struct group groups[GROUPS_MAX];
	uint32_t group_count;
	uint32_t in_t1;  /* number + 1 of the group whose address is there */
	bool is_careful; /* no groups: one has failed */
	bool is_eager;   /* all groups are written once more */
	/* Behind each instruction; and before those that were written again, up to `careful_end`. */
	struct after after[BLOCK_INSNS], careful[BLOCK_INSNS];
	uint32_t careful_end;
	uint16_t undefined; /* flags that are so here */

	struct cold cold[BLOCK_SITES];
	uint32_t cold_count;
};

static inline const struct step *step_now(const struct writing *w)
{
	return &w->steps[w->now];
}

#define AT(field) offsetof(struct cpu, field)

/* Says that what stands there in the page is decoded, before it is. */
static inline void block_watch(struct writing *w, uint32_t offset)
{
	uint32_t end = offset + INSN_BYTES_MAX - 1;
	uint64_t lines =
		UINT64_C(1) << (offset / 64) | UINT64_C(1) << (end < GUEST_PAGE ? end / 64 : 63);
	if ((w->watched & lines) == lines)
		return;
	w->watched |= lines;
	cache_watch(w->cpu, w->physical + offset);
}

/* A new site at the present instruction; its number. */
uint32_t block_site(struct writing *w, enum site_kind kind);
struct cold *block_cold(struct writing *w, uint8_t *from, uint32_t site);

/* Flags. `temp` is a register that is free. */
void block_save_flags(struct emitter *to);
void block_restore_flags(struct emitter *to, uint32_t temp);

/* Leaves for the interpreter if the condition holds. */
void block_callout_if(struct writing *w, uint32_t condition);
void block_callout(struct writing *w);

/* Guest registers by number. */
void block_get(struct writing *w, uint32_t target, uint32_t guest);
void block_set(struct writing *w, uint32_t guest, uint32_t source);

/* T1 = address of the operand in the guest, of so many bytes; the other one without the segment's base. */
void block_address(struct writing *w, const struct insn *insn);
void block_address_of(
	struct writing *w, const struct reference *of, int64_t disp, uint32_t address_bytes);
void block_address_to(struct writing *w, const struct reference *of, int64_t disp,
	uint32_t address_bytes, uint32_t target);

/* The tag of the TLB's entry at T2. */
struct host_operand block_tag(uint32_t kind, uint32_t access);

/*
 * With the guest's address in T1: finds host memory for an access of `bytes`, or leaves. Then T1 + T2 is
 * the address, or T1 if `in_one`.
 */
void block_access(struct writing *w, uint32_t bytes, uint32_t access, bool is_aligned, bool in_one);

/*
 * Likewise for a group that begins; T1 is the address, and the present instruction's operand is `delta` behind it.
 * `align`: of the first byte, or 0. Where the check fails its instructions have one each, if `is_eager`.
 */
void block_access_group(struct writing *w, uint32_t bytes, uint32_t access, int64_t delta,
	uint32_t align, bool is_eager);
