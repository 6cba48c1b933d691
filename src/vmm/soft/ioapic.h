/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioapic.h - the IOAPIC: 24 interrupt lines to messages.
 */
#pragma once

#include "vmm/soft/shared.h"

#define IOAPIC_AT UINT64_C(0xfec00000)

void ioapic_reset(struct soft *soft);
uint32_t ioapic_read(struct soft *soft, uint32_t offset);
void ioapic_write(struct soft *soft, uint32_t offset, uint32_t value);

/* The level of a line; holding soft->lock. */
void ioapic_line(struct soft *soft, uint32_t line, bool level);

/* A CPU has ended this level-triggered vector. */
void ioapic_ended(struct soft *soft, uint32_t vector);
