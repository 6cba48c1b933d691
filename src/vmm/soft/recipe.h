/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recipe.h - flags that were not saved, and how they are had once more if somebody wants them.
 *
 * A block that ends by a call, a return or a jump to another page destroys the flags on the way, and hardly
 * anybody reads them behind. Where they are what a comparison, a sum or the like has said of registers that are still
 * there, the same is done once more by whoever does read them.
 */
#pragma once

#include "vmm/soft/block.h"

/* The flags behind the first `count` instructions; false: they cannot be had again. */
bool recipe_find(const struct writing *w, uint32_t count, struct recipe *ret);

/* Whether the flags before this instruction can be had again as long as somebody may read them. */
bool recipe_holds(const struct writing *w, uint32_t from);

/* Chooses what this instruction has to keep so that its flags can be; false: nothing helps. */
bool recipe_choose(struct writing *w, uint32_t number);

/* Does the present instruction with the operand at `at`, if that is kept; T2 is lost. */
bool recipe_keep(struct writing *w, const struct host_operand *at);

/* Behind it: stores the registers that are kept. T2 is lost, if need be. */
void recipe_store(struct writing *w);

/* Makes the flags; T2 is lost, and T1 unless it is direct. */
void recipe_write(struct writing *w, const struct recipe *recipe);
