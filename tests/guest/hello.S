/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello.S - says hello on the serial port and ends with status 42 (exit port 0xf4).
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movl $text, %esi
	movw $0x3f8, %dx
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, %dx
	jmp 1b
2:	movb $42, %al
	outb %al, $0xf4
3:	hlt
	jmp 3b

	.section .rodata
text:
	.asciz "hello from the guest\n"
