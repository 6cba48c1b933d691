/* SPDX-License-Identifier: Apache-2.0 */
/*
 * off.S - turns the machine off by ACPI's sleep register; in vain, if it comes back.
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movw $0x604, %dx
	movw $0x2000, %ax
	outw %ax, %dx
	movb $1, %al
	outb %al, $0xf4
1:	hlt
	jmp 1b
