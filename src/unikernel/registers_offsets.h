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

/* The program's selectors: those of Linux. They stand at the top of each thread's kernel stack from its beginning on. */
#define USER_CS 0x33
#define USER_SS 0x2b

#define CALLS_IN_TABLE 512
