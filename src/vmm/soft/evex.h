/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evex.h - AVX-512: instructions with an EVEX prefix, one by one.
 */
#pragma once

#include "vmm/soft/bind.h"
#include "vmm/soft/evex_table.h"
#include "vmm/soft/stub.h"

/* Likewise, but only if this host has it. */
const struct evex_row *evex_row_here(const struct insn *insn);

/* NULL: there is none. */
op_run *evex_bind(struct stubs *stubs, const struct insn *insn, struct op *op);
