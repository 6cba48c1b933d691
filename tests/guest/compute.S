/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compute.S - a little of everything that changes registers and flags, then the exit port: both engines
 * must stop with the same registers.
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movl $stack_end, %esp
	movl $0x12345678, %eax
	movl $0x9abcdef0, %edx
	imull %edx, %eax
	movl $1000, %ecx
1:	rorl $7, %eax
	xorl %ecx, %eax
	adcl $0x1f3, %edx
	bsrl %eax, %esi
	shldl $3, %edx, %eax
	loop 1b
	pushl %eax
	call f
	popl %ebx
	cld
	movl $stack_end - 256, %edi
	movl $64, %ecx
	rep stosb
	movl $stack_end - 256, %esi
	lodsl
	movl %eax, %ebp
	sahf
	setc %cl
	das
	bswap %ebx
	xaddl %ebx, %ebp
	mull %ebx
	movl %esp, %esi
	pushl %es
	pushl %ss
	pushl %ds
	pushl %cs
	subl %esp, %esi
	movzwl (%esp), %edi
	addl $16, %esp
	cmpl $16, %esi
	jne 2f
	movl $17, %ecx
	xorl %edx, %edx
	divl %ecx
	cmpl %eax, %ebx
	movb $9, %al
	outb %al, $0xf4
2:	hlt
	jmp 2b
f:	negl 4(%esp)
	movswl 6(%esp), %ebx
	addl %ebx, 4(%esp)
	ret

	.bss
	.skip 4096
stack_end:
