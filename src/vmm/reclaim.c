/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reclaim.c - looks at a guest's memory, and what follows from each.
 */
#include "vmm/reclaim.h"

#define MS(n)         (UINT64_C(1000000) * (n))
#define LOOK_NS       MS(150)
#define POLL_NS       MS(10)
#define ANSWER_NS     MS(300)
#define SILENCE_NS    MS(3000) /* of a guest that does not answer: until the next question */
#define TAKE_NS       MS(1000)
#define BUSY_NS       MS(1) /* used between two looks: something may have been freed */
#define QUIET_LOOKS   8
#define COST_SHARE    10 /* hints' CPU time is at most a tenth of what passes until the next */
#define GROWING       (8 * MIB)
#define RESERVE_MIN   (64 * MIB)
#define RESERVE_SHARE 8

/*
 * Linux's hints come from whole blocks, those that were hinted before first: so many more than are wanted may
 * have to be gone through.
 */
#define MOST_MORE (512 * MIB)

static struct reclaim_step step(enum reclaim_action action, uint64_t after_ns)
{
	return (struct reclaim_step){ action, after_ns };
}

/* What stays free in the guest while it hints, so that it never has to make room for this. */
static uint64_t reserve(const struct reclaim_view *view)
{
	uint64_t share = view->total_bytes / RESERVE_SHARE;
	return share > RESERVE_MIN ? share : RESERVE_MIN;
}

/* Pages that the host keeps although the guest cannot be using them: at least so many. */
static uint64_t spare(const struct reclaim_view *view)
{
	uint64_t idle = view->free_bytes + view->held_bytes;
	if (view->free_bytes > view->memory_bytes || idle > view->memory_bytes)
		return 0;
	uint64_t used = view->memory_bytes - idle;
	return view->resident_bytes > used ? view->resident_bytes - used : 0;
}

static struct reclaim_step to_looks(struct reclaim *reclaim)
{
	reclaim->phase = RECLAIM_LOOKS;
	return step(RECLAIM_NOTHING, LOOK_NS);
}

static struct reclaim_step ask(struct reclaim *reclaim, const struct reclaim_view *view)
{
	reclaim->phase = RECLAIM_ASKED;
	reclaim->answers = view->answers;
	reclaim->until_ns = view->now_ns + ANSWER_NS;
	reclaim->quiet = 0;
	return step(RECLAIM_ASK, POLL_NS);
}

static struct reclaim_step look(struct reclaim *reclaim, const struct reclaim_view *view)
{
	bool is_busy = view->cpu_ns - reclaim->cpu_ns >= BUSY_NS;
	reclaim->cpu_ns = view->cpu_ns;
	/* Once more if the last look saw something: all may be freed by now, and nothing run any more. */
	if (view->can_hint && (is_busy || reclaim->spare_bytes) &&
		view->now_ns >= reclaim->not_before_ns)
		return ask(reclaim, view);
	if (++reclaim->quiet < QUIET_LOOKS)
		return step(RECLAIM_NOTHING, LOOK_NS);
	reclaim->quiet = 0;
	return step(RECLAIM_REST, 0);
}

static struct reclaim_step take(
	struct reclaim *reclaim, const struct reclaim_view *view, uint64_t bytes)
{
	uint64_t most = view->free_bytes - reserve(view);
	reclaim->phase = RECLAIM_TAKES;
	reclaim->spare_bytes = 0;
	reclaim->wanted_bytes = bytes;
	reclaim->most_bytes = most < bytes + MOST_MORE ? most : bytes + MOST_MORE;
	reclaim->began_cpu_ns = view->cpu_ns;
	reclaim->began_resident_bytes = view->resident_bytes;
	reclaim->began_hinted_bytes = view->hinted_bytes;
	reclaim->until_ns = view->now_ns + TAKE_NS;
	return step(RECLAIM_TAKE, POLL_NS);
}

static void account(struct reclaim *reclaim, const struct reclaim_view *view)
{
	reclaim->not_before_ns = view->now_ns + COST_SHARE * (view->cpu_ns - reclaim->began_cpu_ns);
	reclaim->took = false;
}

static struct reclaim_step judge(struct reclaim *reclaim, const struct reclaim_view *view)
{
	uint64_t now = spare(view), before = reclaim->spare_bytes;
	if (reclaim->took || now < reclaim->stays_bytes)
		reclaim->stays_bytes = now;
	if (reclaim->took)
		account(reclaim, view);
	reclaim->spare_bytes = 0;
	if (now < reclaim->stays_bytes + RECLAIM_MIN ||
		view->free_bytes < reserve(view) + RECLAIM_MIN)
		return to_looks(reclaim);
	if (!before || now > before + GROWING) {
		reclaim->spare_bytes = now;
		return to_looks(reclaim);
	}
	return take(reclaim, view, (now < before ? now : before) - reclaim->stays_bytes);
}

static struct reclaim_step asked(struct reclaim *reclaim, const struct reclaim_view *view)
{
	if (view->answers != reclaim->answers)
		return judge(reclaim, view);
	if (view->now_ns < reclaim->until_ns)
		return step(RECLAIM_NOTHING, POLL_NS);
	/* Its driver does not say, or the guest has more to do. */
	if (reclaim->took)
		account(reclaim, view);
	reclaim->spare_bytes = 0;
	if (reclaim->not_before_ns < view->now_ns + SILENCE_NS)
		reclaim->not_before_ns = view->now_ns + SILENCE_NS;
	return to_looks(reclaim);
}

static struct reclaim_step takes(struct reclaim *reclaim, const struct reclaim_view *view)
{
	uint64_t began = reclaim->began_resident_bytes;
	uint64_t gone = view->resident_bytes < began ? began - view->resident_bytes : 0;
	if (view->is_hinting && gone < reclaim->wanted_bytes &&
		view->hinted_bytes - reclaim->began_hinted_bytes < reclaim->most_bytes &&
		view->now_ns < reclaim->until_ns)
		return step(RECLAIM_NOTHING, POLL_NS);
	/* What it says next is known when it has freed its pieces, so that all of the cost is in it. */
	reclaim->took = true;
	reclaim->phase = RECLAIM_LOOKS;
	reclaim->spare_bytes = 1;
	return step(RECLAIM_END, LOOK_NS);
}

struct reclaim_step reclaim_look(struct reclaim *reclaim, const struct reclaim_view *view)
{
	switch (reclaim->phase) {
	case RECLAIM_LOOKS:
		return look(reclaim, view);
	case RECLAIM_ASKED:
		return asked(reclaim, view);
	case RECLAIM_TAKES:
		return takes(reclaim, view);
	}
	return to_looks(reclaim);
}

void reclaim_forget(struct reclaim *reclaim)
{
	*reclaim = (struct reclaim){ .not_before_ns = reclaim->not_before_ns };
}
