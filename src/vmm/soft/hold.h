/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold.h - flags held over what destroys them in the host's register.
 *
 * A check of an operand in memory is one. Before it, live flags are saved in cpu->flags, unless they can be had again as
 * long as somebody may read them (recipe.h).
 */
#pragma once

#include "vmm/soft/block.h"

/* From here to the end of the instruction flags in the host's register are lost; it may begin again here. */
void hold_begin(struct writing *w);

/* Likewise; live flags are in cpu->flags behind it. */
void hold_begin_saved(struct writing *w);

/* Live flags are in the host's register behind it. T2 is lost, and T1 where the instruction has no operand in memory. */
void hold_need(struct writing *w);

/* The present instruction begins: the recipe of flags that are nowhere. */
void hold_step(struct writing *w);

/* Behind a group's instructions that were written again: flags are where the block goes on with them. */
void hold_like(struct writing *w, bool in_host, bool in_cpu);
