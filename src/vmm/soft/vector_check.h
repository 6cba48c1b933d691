/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector_check.h - what comes before each instruction on vector registers.
 */
#pragma once

#include "vmm/soft/bind.h"

/* The #UD, #NM and #MF that come before an instruction of each class. */
enum vector_class { CLASS_SSE, CLASS_AVX, CLASS_MMX, CLASS_512 };
void vector_check(struct cpu *cpu, const struct op *op, enum vector_class class);

/* A run() for when there was no room for a stub: flushes and comes again. */
op_run vector_no_room;
