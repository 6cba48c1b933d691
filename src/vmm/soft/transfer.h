/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.h - far jumps, calls and returns, gates, interrupts by instruction, IRET; the stack's
 * instructions outside of 64-bit code; segment registers.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind transfer_bind;
op_bind stack_bind;
