/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registers_offsets.h - offsets in struct registers, for entry.S; registers.h holds them against the struct.
 */
#pragma once

#define REGISTERS_RAX    80
#define REGISTERS_NUMBER 120
#define REGISTERS_RIP    128
#define REGISTERS_RFLAGS 144
#define REGISTERS_RSP    152
#define REGISTERS_SIZE   168
