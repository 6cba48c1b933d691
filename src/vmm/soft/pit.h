/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pit.h - the 8254 timer: channel 0 drives line 0, channel 2 the speaker port. All holding soft->lock.
 */
#pragma once

#include "vmm/soft/shared.h"

void pit_reset(struct soft *soft);
uint8_t pit_read(struct soft *soft, uint32_t port);
void pit_write(struct soft *soft, uint32_t port, uint8_t value);

/* Whether channel 0 ticks at `now`; when it does next goes to *next (UINT64_MAX: never). */
bool pit_tick(struct soft *soft, uint64_t now, uint64_t *next);

void pit_save(const struct soft *soft, struct chips_state *state);
void pit_load(struct soft *soft, const struct chips_state *state);
