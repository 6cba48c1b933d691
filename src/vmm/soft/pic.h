/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pic.h - the two 8259 interrupt controllers. All holding soft->lock.
 */
#pragma once

#include "vmm/soft/shared.h"

void pic_reset(struct soft *soft);
uint8_t pic_read(struct soft *soft, uint32_t port);
void pic_write(struct soft *soft, uint32_t port, uint8_t value);
void pic_line(struct soft *soft, uint32_t line, bool level);

/* Whether the CPU's INTR pin is up; and the acknowledge cycle: the vector. */
bool pic_output(const struct soft *soft);
uint8_t pic_accept(struct soft *soft);
