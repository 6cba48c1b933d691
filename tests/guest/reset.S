/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reset.S - resets the machine by port 0xcf9 until the clock's memory says that it did so twice, then ends
 * with status 5. Memory must be as the kernel file says each time.
 */
	.code32
	.section .multiboot, "a"
	.align 4
	.long 0x1badb002, 0, -0x1badb002

	.text
	.globl _start
_start:
	movb $1, %al
	cmpl $77, mark
	jne end
	movl $78, mark
	movb $0x50, %al
	outb %al, $0x70
	inb $0x71, %al
	cmpb $2, %al
	je done
	incb %al
	movb %al, %ah
	movb $0x50, %al
	outb %al, $0x70
	movb %ah, %al
	outb %al, $0x71
	movw $0xcf9, %dx
	movb $6, %al
	outb %al, %dx
1:	jmp 1b
done:	movb $5, %al
end:	outb %al, $0xf4
2:	hlt
	jmp 2b

	.data
mark:	.long 77
