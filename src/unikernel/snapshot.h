/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - a unikernel that waits, as somebody else can go on with it.
 *
 * The platform keeps three things: what unikernel_snapshot_runs() names, the variables of the library OS (the sections
 * unikernel_data and unikernel_bss), and nothing else. In another process it puts them at the same addresses and calls
 * unikernel_go(): unikernel_pause() returns there once more.
 */
#pragma once

#include "unikernel/memory_runs.h"

/* Calls `each` for all memory of the program and of the library OS. 0; what `each` said; -EBUSY while a child runs. */
int unikernel_snapshot_runs(memory_each_run *each, void *data);

/*
 * `suspend` is called for this signal from outside, which the program does not see: in a call, while it waits, or where
 * it is interrupted. It may call unikernel_pause().
 */
void unikernel_set_suspend(int signal, void (*suspend)(void));

/* In platform_wait(), or there: calls `write`, and returns what it says; or, in another process, 1. */
int unikernel_pause(int (*write)(void *data), void *data);

/* There: what `boot` has that the other had not (random bytes, a card) is taken, and it goes on. 0 or -ENOMEM. */
int unikernel_renew(const struct boot *boot);
void unikernel_go(void) __attribute__((__noreturn__));
