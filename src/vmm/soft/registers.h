/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers.h - what an instruction does to a general register. For the classes of effects that groups may hold;
 * of the others nothing is known.
 */
#pragma once

#include "vmm/soft/block.h"

/* Sets step->written and step->touched. */
void registers_find(struct step *step);

static inline bool registers_written(const struct step *step, uint32_t reg)
{
	return reg < 16 && (step->written >> reg & 1);
}

/* Whether the value afterwards is known from the one before, and by how much it differs. */
bool registers_moved_by(const struct step *step, uint32_t reg, int64_t *by);

static inline bool registers_moved(const struct step *step, uint32_t reg, int64_t *by)
{
	*by = 0;
	return reg >= 16 || !(step->touched >> reg & 1) || registers_moved_by(step, reg, by);
}
