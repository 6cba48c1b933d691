/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spin.h - PAUSE: a CPU that waits for another in a loop.
 */
#pragma once

#include "vmm/soft/cpu.h"

/*
 * One PAUSE. Returns at once, or later: then the host's processor was others' meanwhile, and who calls looks for attention
 * before the next instruction.
 */
void spin_pause(struct cpu *cpu);
