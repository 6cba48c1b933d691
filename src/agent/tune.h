/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune.h - what the host changes in a running guest: how many CPUs it uses, its memory, what time it is.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* Takes the first `count` CPUs of those that are there into use, and no other. */
int tune_cpus(int32_t count, struct error *e) must_use;

/* Memory that comes while the guest runs is used as it comes, and that which came before, too. */
void tune_memory(void);

/* Sets the clock; after a machine stood still its own is late. */
int tune_clock(uint64_t since_epoch_ns, struct error *e) must_use;
