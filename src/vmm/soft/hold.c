/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold.c - saves flags, or does not.
 */
#include "vmm/soft/hold.h"

#include "vmm/soft/recipe.h"

static void save(struct writing *w)
{
	if (w->recipe.is_there)
		recipe_write(w, &w->recipe);
	block_save_flags(&w->to);
	w->flags_in_cpu = true;
	w->recipe.is_there = false;
}

static void begin(struct writing *w, bool is_live)
{
	w->flags_in_host = !is_live;
	w->retry = w->to.at;
}

void hold_begin(struct writing *w)
{
	bool is_live = step_now(w)->live_in != 0;
	bool is_nowhere = is_live && !w->flags_in_cpu;
	if (is_nowhere && !w->recipe.is_there) {
		if (recipe_holds(w, w->now))
			recipe_find(w, w->now, &w->recipe);
		else
			save(w);
	}
	begin(w, is_live);
}

void hold_begin_saved(struct writing *w)
{
	bool is_live = step_now(w)->live_in != 0;
	if (is_live && !w->flags_in_cpu)
		save(w);
	begin(w, is_live);
}

void hold_need(struct writing *w)
{
	if (w->flags_in_host)
		return;
	if (w->recipe.is_there)
		recipe_write(w, &w->recipe);
	else
		block_restore_flags(&w->to, HOST_T2);
	w->recipe.is_there = false;
	w->flags_in_host = true;
}

void hold_step(struct writing *w)
{
	w->recipe.is_there = false;
	if (step_now(w)->live_in && !w->flags_in_host && !w->flags_in_cpu)
		recipe_find(w, w->now, &w->recipe);
}

void hold_like(struct writing *w, bool in_host, bool in_cpu)
{
	w->recipe.is_there = false;
	if (!w->flags_in_host && !w->flags_in_cpu && (in_host || in_cpu)) {
		recipe_find(w, w->now, &w->recipe);
		recipe_write(w, &w->recipe);
		w->flags_in_host = true;
	}
	if (in_cpu && !w->flags_in_cpu)
		block_save_flags(&w->to);
	if (in_host && !w->flags_in_host)
		block_restore_flags(&w->to, HOST_T2);
}
