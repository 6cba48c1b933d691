/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice.h - what CPUs tell each other of code: `wrote` and `protect` of struct soft, and their answer.
 */
#pragma once

#include "vmm/soft/shared.h"

void notice_wrote(struct soft *soft, struct cpu *cpu, guest_addr at);
void notice_protect(struct soft *soft, struct cpu *cpu, guest_addr at);

/* As guest->watch; `data` is the struct soft. */
void notice_watched(void *data, guest_addr at, uint64_t bytes);

/* Does what the others have told this CPU; on its own thread. */
void notice_handle(struct cpu *cpu);
