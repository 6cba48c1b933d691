/* SPDX-License-Identifier: Apache-2.0 */
/*
 * count.S - writes the alphabet to the serial port, with work between the letters that keeps its state in
 * registers, memory and the stack, and with VECTORS in vector registers, too; ends with status 7 if all of
 * it is as it must be.
 */
#define WORK 4000

	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movl $stack_end, %esp
#ifdef VECTORS
	movl %cr4, %eax
	orl $0x600, %eax	/* SSE */
	movl %eax, %cr4
	movl $1, %eax
	movd %eax, %xmm3	/* counts, too */
	pxor %xmm4, %xmm4
#endif
	movl $'a', %ebx
	xorl %edi, %edi
letter:
	movl $0x3f8, %edx
	movb %bl, %al
	outb %al, %dx
	pushl %ebx
	movl $WORK, %ecx
1:	addl $3, %edi
#ifdef VECTORS
	paddd %xmm3, %xmm4
#endif
	incl counter
	loop 1b
	popl %ebx
	incl %ebx
	cmpl $'z', %ebx
	jbe letter
	movb $1, %al
	cmpl $(26 * WORK * 3), %edi
	jne end
	cmpl $(26 * WORK), counter
	jne end
#ifdef VECTORS
	movd %xmm4, %ecx
	cmpl $(26 * WORK), %ecx
	jne end
#endif
	cmpl $stack_end, %esp
	jne end
	movb $7, %al
end:	outb %al, $0xf4
2:	hlt
	jmp 2b

	.data
counter:
	.long 0

	.bss
	.skip 4096
stack_end:
