/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placeless.h - registers of the guest that have none of the host: which instructions take them where they are, in
 * struct cpu, and which need not load what they only write. Pure.
 */
#pragma once

#include "vmm/soft/block.h"

/* ModRM.reg, ModRM.rm as a register: written, all of it, whatever it was before. */
bool placeless_reg_is_new(const struct insn *insn);
bool placeless_rm_is_new(const struct insn *insn);

/* The register ModRM.rm has no place, and memory instead of it means the same. */
bool placeless_rm_is_memory(const struct step *step);

/* ModRM.reg has no place, and means the same in the place of ModRM.rm, which has one; then the other opcode. */
bool placeless_swaps(const struct step *step, uint8_t *opcode);
