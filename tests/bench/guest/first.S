/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first.S - a guest whose first instructions say so on the serial port; then it sleeps.
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movw $0x3f8, %dx
	movb $'!', %al
	outb %al, %dx
	movb $'\n', %al
	outb %al, %dx
1:	hlt
	jmp 1b
