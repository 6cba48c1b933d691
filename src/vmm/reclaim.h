/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim.h - when memory that the guest has freed is taken from it before it reports it by itself. Pure.
 *
 * Linux reports free pages two seconds after the first. So the monitor looks at what its CPUs have used; if
 * that was something, it asks the guest how much is free; and if the host keeps more pages for it than it can
 * be using, twice in a row and no longer growing, then the guest is asked for hints until those pages are gone.
 * A guest that does nothing is left alone, and so is one whose last hints were dear.
 */
#pragma once

#include "base/base.h"

#define RECLAIM_MIN (16 * MIB) /* less than this waits for the guest's own report */

enum reclaim_action {
	RECLAIM_NOTHING,
	RECLAIM_ASK,  /* for new numbers of the guest */
	RECLAIM_TAKE, /* hints */
	RECLAIM_END,  /* no more hints */
	RECLAIM_REST, /* nothing goes on; no look until the guest does something */
};

/* What is seen at a look. */
struct reclaim_view {
	uint64_t now_ns;
	uint64_t cpu_ns;         /* used by the guest's CPUs since they are there */
	uint64_t resident_bytes; /* pages that the host keeps for the guest */
	uint64_t memory_bytes;   /* what the guest has, with what its balloon holds */
	uint64_t held_bytes;     /* in the balloon */
	uint64_t free_bytes, total_bytes;
	uint64_t answers; /* how often the guest has said these */
	uint64_t hinted_bytes;
	bool can_hint, is_hinting;
};

struct reclaim {
	enum { RECLAIM_LOOKS, RECLAIM_ASKED, RECLAIM_TAKES } phase;
	uint64_t cpu_ns, answers;
	uint64_t until_ns;      /* when this phase is given up */
	uint64_t not_before_ns; /* of the next question */
	uint64_t spare_bytes;   /* at the last look; 0: none */
	uint64_t stays_bytes;   /* what the last hints could not have */
	bool took;              /* the next answer says what stays */
	uint32_t quiet;         /* looks without anything done */

	/* Of the hints that are under way, when they began. */
	uint64_t began_cpu_ns, began_resident_bytes, began_hinted_bytes;
	uint64_t wanted_bytes; /* to be gone */
	uint64_t most_bytes;   /* to be hinted for that */
};

struct reclaim_step {
	enum reclaim_action action;
	uint64_t after_ns; /* when to look again */
};

struct reclaim_step reclaim_look(struct reclaim *reclaim, const struct reclaim_view *view);

/* The machine stood still, or begins anew: what was going on is no longer. */
void reclaim_forget(struct reclaim *reclaim);
