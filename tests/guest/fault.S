/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.S - an exception without a table of handlers: a triple fault.
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	lidt nothing
	ud2
	.align 8
nothing:
	.skip 8
