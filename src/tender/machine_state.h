/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_state.h - a unikernel's machine in a file of snapshot_file.h, and from it.
 */
#pragma once

#include "tender/machine_parts.h"

/* Before the lock. What the file was made with: 0, or -EINVAL with why it is none for a machine. */
int machine_state_read(int fd, struct snapshot_place *ret, struct error *e) must_use;

/* Its memory, copy-on-write, in place of memory that is zero. */
int machine_state_map(struct machine *machine, struct error *e) must_use;
/* Its registers. */
int machine_state_load(const struct machine *machine, struct error *e) must_use;

/* How memory becomes zero again where it showed the file: the filter knows these flags. */
#define MACHINE_FRESH (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED)

/*
 * In a call of the guest: sends the machine through MACHINE_CHANNEL_FD, as it is when the call `at` has the result 1, then waits
 * for a word. `code` is 0 or the errno why there is nothing to send.
 */
void machine_state_send(struct machine *machine, struct machine_call *at, int code);
