/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code.h - the memory of translated code: blocks, the places where they leave, and links between them.
 *
 * The memory has a fixed size and two mappings, one to write and one to execute. Addresses in it are
 * offsets. When it is full all is forgotten.
 */
#pragma once

#include "vmm/soft/cpu.h"
#include "vmm/soft/emit.h"
#include "vmm/soft/pieces.h"

/* For each CPU; all CPUs together have four times as much. */
#define CODE_BYTES   (64 * MIB)
#define CODE_ALL     (4 * CODE_BYTES)
#define CODE_A_BLOCK 384 /* of code, about; more blocks or sites than that are not kept */
#define CODE_A_SITE  96
#define BLOCK_BYTES  (48u << 10) /* more than any block */
#define BLOCK_SITES  512u
#define CODE_HOT     3 / 8 /* of the memory */
#define CODE_SEEN    (64u << 10)
#define CODE_CAREFUL \
	0xff /* instead of how often code was met: its groups are not what they should be */
#define CODE_A_FAR 512 /* one link between pages */

enum site_kind {
	SITE_CALLOUT, /* the instruction is the interpreter's */
	SITE_JUMP,    /* to the address in cpu->native_linear, which no table has */
	SITE_MEMORY,  /* its operand is not in the TLB: cpu->native_linear */
	SITE_GROUP,   /* likewise, with others' behind it; see group.h */
	SITE_LINK,    /* goes on at `target` */
	SITE_NEED,    /* registers are not live: LIVE_... in `needs` */
	SITE_STALE,   /* the block was dropped */
};

/* Where a block is left; cpu->native_site is its number. */
struct site {
	uint32_t block;
	uint8_t kind;  /* enum site_kind */
	uint8_t live;  /* LIVE_... that the code behind relies on */
	uint8_t count; /* instructions of the block that are done */
	uint8_t access;
	uint8_t needs;
	uint16_t bytes;
	uint16_t offset; /* of the instruction in its page */
	uint16_t dead;   /* flags whose values are of no interest here */
	bool has_two;    /* MEMORY: one of two operands, which may push each other out of the TLB */
	/*
	 * MEMORY, GROUP: a page fault of the check is the instruction's, whose operand is `delta` behind the check's
	 * address: it has no other, and nothing that comes first.
	 */
	bool is_sole;
	int16_t delta;
	/* LINK: to another page, of the user's; with the flags in the host's register. */
	bool is_far, is_kept, is_host;
	int32_t target;         /* LINK: relative to the page; JUMP: what is added to RSP */
	uint32_t retry, resume; /* MEMORY, NEED: where it is done again, and what follows it */
	/* LINK: the displacement, where the unlinked jump goes, the generation or, if kept, its far. */
	uint32_t jump, stub, generation;
	/* LINK with a recipe, or 0: what makes the flags, and its jump to a block that wants them. */
	uint32_t maker, made;
	uint32_t to, next; /* LINK: the block it leads to, 0: none; the next that leads there */
};

struct block {
	guest_addr physical;
	uint32_t mode;
	uint32_t entry;      /* with the flags in cpu->flags */
	uint32_t entry_host; /* with the flags in the host's register; only links lead there */
	uint32_t entry_told; /* T1 is 0 or what puts the flags there; jumps by address lead there */
	uint32_t end;        /* of what runs mostly */
	uint32_t cold;       /* the rest of it */
	uint32_t stale;      /* what a dropped block's entries jump to; the last of the rest */
	uint32_t links;      /* sites that lead here */
	uint32_t next, next_in_page;
	/*
	 * A block of one instruction over the end of a page: the page where the rest is, and what
	 * stands for it among that page's blocks, whose `whole` is the block.
	 */
	guest_addr second;
	uint32_t whole;
	uint8_t count;      /* of instructions */
	uint8_t checks;     /* in lock-step */
	uint16_t undefined; /* flags that are so at its end */
	uint8_t failed;     /* how often a group was not what it should be */
	bool is_dropped;
	bool wants_flags; /* at its entry */
};

struct native {
	uint8_t *writable;
	const uint8_t *executable;
	/* What runs mostly is in front, what is reached seldom behind `cold`. */
	uint32_t bytes, used, fixed, cold, cold_used;
	uint32_t mapped;  /* with `fars`, which are the rest of it */
	struct far *fars; /* the first is not used */
	uint32_t blocks_max, sites_max, fars_max;
	uint32_t block_count, site_count, far_count;
	struct block *blocks; /* the first is not used */
	struct site *sites;   /* likewise */
	uint32_t *buckets, *pages;
	struct pieces pieces;
	uint8_t *heat;             /* of pages: how often their code was written */
	uint8_t *seen;             /* how often code was met that is not translated, by a hash */
	bool is_checked;           /* lock-step: nothing is linked */
	struct writing *writing;   /* the translator's own; NULL: none */
	struct lockstep *lockstep; /* its own; NULL: none */
	uint64_t checked, flushes, translated;
	uint64_t large; /* bits of pieces of the memory that were put into large pages */
	uint32_t hot_runs;
	uint32_t turn; /* of the two slots for jumps to an address */
	int map_fd;    /* see code_map.h; -1: none */
};

/* For one of `cpus` CPUs. */
int code_new(uint32_t cpus, struct native **ret, struct error *e) must_use;
void code_free(struct native *native);
void code_flush(struct cpu *cpu);

/* The number of the block, 0: none. */
uint32_t code_find(const struct native *native, guest_addr physical, uint32_t mode);

/* Takes up the block that was written; `cold_end` is where its rest ends. */
uint32_t code_add(struct native *native, const struct block *block, const uint8_t *cold_end);

static inline uint8_t *code_seen(const struct native *native, guest_addr physical, uint32_t mode)
{
	return &native->seen[cold_slot(physical) ^ mode];
}

/* Drops one block. */
void code_drop_block(struct native *native, uint32_t block);

/* Drops what was translated from the physical page; true if there was something. */
bool code_drop(struct native *native, guest_addr page);

/* Lets the site's jump lead to the block. */
void code_link(struct native *native, uint32_t site, uint32_t block, uint32_t generation);

static inline const uint8_t *code_at(const struct native *native, uint32_t offset)
{
	return native->executable + offset;
}
