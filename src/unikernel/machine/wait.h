/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.h - the processor's own interrupt controller, which wakes a sleeping machine.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void wait_init(void);

/* An interrupt controller for lines from `first` on, in place of what every PC has. */
void wait_add_controller(uint64_t physical, uint32_t first);

/* What the line reports wakes, too. False: no controller has it. */
bool wait_add_line(uint32_t line);
/* What it reports is told at once, asleep or not: an NMI. */
bool wait_add_outside(uint32_t line);

/* Where a device writes VECTOR_WAKE to wake the processor. */
uint32_t wait_message_address(void);

/* Sleeps until the monotonic clock passes `until_ns` (UINT64_MAX: for ever) or something wakes it; maybe sooner. */
void wait_until(uint64_t until_ns);
