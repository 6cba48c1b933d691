/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers.h - what an instruction does to a general register. For the classes of effects that groups may hold;
 * of the others nothing is known.
 */
#pragma once

#include "vmm/soft/block.h"

bool registers_written(const struct step *step, uint32_t reg);

/* Whether the value afterwards is known from the one before, and by how much it differs. */
bool registers_moved(const struct step *step, uint32_t reg, int64_t *by);
