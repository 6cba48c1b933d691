/* SPDX-License-Identifier: Apache-2.0 */
/*
 * futex.h - threads that wait for a word of memory.
 */
#pragma once

#include "unikernel/thread.h"

int64_t futex_wait(uint64_t address, uint32_t value, uint32_t bits, uint64_t deadline_ns);
int64_t futex_wake(uint64_t address, uint32_t count, uint32_t bits);
int64_t futex_requeue(uint64_t from, uint32_t wake, uint32_t move, uint64_t to);

/* A thread ends: the locks of its robust list are told so. */
void futex_end_robust(uint64_t list, int32_t thread_id);
