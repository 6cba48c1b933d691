/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ports.h - IN and OUT, and who may.
 */
#pragma once

#include "vmm/soft/bind.h"

/* #GP unless IOPL or the task's permission map allows the ports. */
void port_check(struct cpu *cpu, const struct op *op, uint32_t port, uint32_t bytes);

op_bind ports_bind;
