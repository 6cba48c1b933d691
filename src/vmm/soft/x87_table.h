/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87_table.h - which x87 instructions there are. Pure.
 */
#pragma once

#include "vmm/soft/decode.h"

/* Bytes of the memory operand; 0: no instruction; negative: it is written. */
int32_t x87_size(const struct insn *insn);

/* Whether the register form does not exist. */
bool x87_is_missing(const struct insn *insn);

/* Whether it exists and neither changes the control word nor the exceptions nor stores addresses. */
bool x87_is_simple(const struct insn *insn);
