/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.h - operands in memory near each other have one check.
 *
 * When an operand is to be checked, the instructions behind it are searched for others with the same
 * registers. If there are some, the check is for all their bytes, T1 keeps the host's address and the others
 * have none. If operands with other registers are among them the address is parked in struct cpu and loaded again.
 * Where the check fails the page is looked up, and it is made again. If that is of no use - another page, the end of one -
 * the interpreter does what is left of the block. Where that happens often, or where it is not certain that what the
 * group writes is written, the instructions of this and of all groups that reach into it are written once more behind the
 * block, each with a check of its own.
 */
#pragma once

#include "vmm/soft/block.h"

/* step->part: has no operand, has one, or must be outside. */
enum group_part { GROUP_NOTHING, GROUP_OPERAND, GROUP_STRANGER };

/* Sets step->part and step->to. */
void group_prepare(struct step *step);

/* Whether the operand of this instruction is one of a group that was checked. */
bool group_covers(const struct writing *w);

/*
 * Where this instruction's operand is, checked now or with a group; a group is not begun if it is `alone`.
 * It needs T2 to stay as it is unless `in_one` is set.
 */
struct host_operand group_operand(
	struct writing *w, const struct reference *to, uint32_t address_bytes, bool in_one);

struct reference group_reference(const struct step *step);

/* The eight bytes at the guest's stack pointer and `disp`; T2 is free behind it. */
struct host_operand group_stack(struct writing *w, int32_t disp, uint32_t access);

/* After an instruction was written. */
void group_step(struct writing *w);

/* The last instruction of this group and of those that reach into it. */
uint32_t group_end(const struct writing *w, uint32_t first);

/* Forgets all but the first `count`. */
void group_forget(struct writing *w, uint32_t count);

/* Groups end before the present instruction. */
void group_close(struct writing *w);
