/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.h - where a library OS that has a machine to itself sees what, and the numbers that boot.S, trap.S and C share.
 */
#pragma once

/* All memory of the machine, and its devices below 4 GiB, stands here one to one; what lies below is the program's. */
#define MACHINE_BASE   0x600000000000
#define MACHINE_KERNEL 0x100000 /* where the library OS is loaded */

#define MACHINE_APIC    0xfee00000
#define MACHINE_IO_APIC 0xfec00000

/* Selectors. Those of the library OS and its program are the ones that Linux's programs have. */
#define BOOT_CODE 0x08
#define BOOT_DATA 0x10
#define USER_DATA 0x2b
#define USER_CODE 0x33
#define TASK      0x38

/* Stacks of ring 0, by number in the task segment: never two of one kind at once. */
#define STACK_INTERRUPT 1
#define STACK_TRAP      2
#define STACK_OUTSIDE   3

/* Vectors. */
#define VECTOR_WAKE     0x50 /* all interrupts */
#define VECTOR_SPURIOUS 0xff

/* Among the signals from outside: somebody wants to keep the machine. The button has no such number. */
#define KEEP_SIGNAL 64

/* What gate.h asks for. */
#define GATE_HALT  0
#define GATE_FLUSH 1
#define GATE_WRITE 2
#define GATE_READ  3

/* struct trap, in trap.h */
#define TRAP_ADDRESS 168
#define TRAP_VECTOR  176
#define TRAP_SIZE    192
