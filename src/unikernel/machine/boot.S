/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.S - from the PVH entry to C in ring 3.
 *
 * Theory of operation. Library OS and program run in ring 3 from here on: where a host interprets ring 0 both run
 * natively all the same, and elsewhere nothing is lost, for a rewritten system call stays in its ring. The task
 * segment's bitmap opens all ports. What ring 0 needs (page tables, descriptors) stands ready in the file, so that
 * few instructions are left to do.
 */
#include "unikernel/machine/layout.h"

#define PHYSICAL(symbol) ((symbol) - MACHINE_BASE)

#define PRESENT  0x001
#define OPEN     0x007 /* present, writable, for all rings */
#define BIG      0x080

#define CR0_START  0x00010033 /* WP NE ET MP PE */
#define CR0_PAGING 0x80000000
#define CR4_START  0x00000620 /* OSXMMEXCPT OSFXSR PAE */
#define CR4_FSBASE 16
#define CR4_XSAVE  18
#define EFER       0xc0000080
#define EFER_START 0x901 /* NXE LME SCE */
#define STAR       0xc0000081
#define LSTAR      0xc0000082
#define FMASK      0xc0000084
#define FMASK_ALL  0x00257fd5 /* as Linux: all but the reserved ones */
#define XCR0_MOST  0xe7       /* x87 SSE AVX AVX-512 */

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long PHYSICAL(machine_boot)

	.section .boot, "ax", @progbits
	.code32
	.globl machine_boot
machine_boot:
	cli
	cld
	mov $PHYSICAL(machine_task), %eax
	mov %ax, PHYSICAL(segments) + TASK + 2
	shr $16, %eax
	mov %al, PHYSICAL(segments) + TASK + 4
	mov %ah, PHYSICAL(segments) + TASK + 7
	mov $PHYSICAL(machine_pages), %eax
	mov %eax, %cr3
	mov $CR4_START, %eax
	mov %eax, %cr4
	mov $EFER, %ecx
	rdmsr
	or $EFER_START, %eax
	wrmsr
	mov $(CR0_START | CR0_PAGING), %eax
	mov %eax, %cr0
	lgdt PHYSICAL(segments_first)
	ljmp $BOOT_CODE, $PHYSICAL(in_long_mode)

	.code64
in_long_mode:
	movabs $above, %rax
	jmp *%rax
above:
	mov $BOOT_DATA, %eax
	mov %eax, %ss
	mov %ebx, machine_start_info(%rip)
	lea machine_stack_end(%rip), %rsp
	lgdt segments_all(%rip)
	lidt vectors_all(%rip)
	mov $TASK, %eax
	ltr %ax
	xor %edx, %edx
	mov $STAR, %ecx
	mov $((USER_DATA - 8) << 16 | BOOT_CODE), %edx
	xor %eax, %eax
	wrmsr
	mov $LSTAR, %ecx
	lea machine_syscall(%rip), %rax
	mov %rax, %rdx
	shr $32, %rdx
	wrmsr
	mov $FMASK, %ecx
	mov $FMASK_ALL, %eax
	xor %edx, %edx
	wrmsr
	/* The processor's own abilities. */
	mov $CR4_START, %esi
	mov $7, %eax
	xor %ecx, %ecx
	cpuid
	test $1, %ebx
	jz 1f
	bts $CR4_FSBASE, %esi
1:	mov $1, %eax
	cpuid
	bt $26, %ecx
	jnc 2f
	bts $CR4_XSAVE, %esi
2:	mov %rsi, %cr4
	bt $CR4_XSAVE, %esi
	jnc 3f
	mov $0xd, %eax
	xor %ecx, %ecx
	cpuid
	and $XCR0_MOST, %eax
	xor %edx, %edx
	xor %ecx, %ecx
	xsetbv
3:	push $USER_DATA
	lea machine_stack_end(%rip), %rax
	push %rax
	push $2
	push $USER_CODE
	lea in_ring_3(%rip), %rax
	push %rax
	iretq
in_ring_3:
	mov $USER_DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	xor %ebp, %ebp
	mov machine_start_info(%rip), %edi
	push $0
	jmp machine_main

	.data
	.balign 4096
	.globl machine_pages
machine_pages: /* the first entry only until C runs */
	.quad PHYSICAL(gigabytes) + OPEN
	.fill (MACHINE_BASE >> 39) - 1, 8, 0
	.quad PHYSICAL(gigabytes) + OPEN
	.fill 512 - (MACHINE_BASE >> 39) - 1, 8, 0
gigabytes:
	.quad PHYSICAL(first_gigabyte) + OPEN
	.fill 511, 8, 0
first_gigabyte:
	.set page, OPEN + BIG
	.rept 512
	.quad page
	.set page, page + 0x200000
	.endr

	.balign 16
segments:
	.quad 0
	.quad 0x00af9b000000ffff /* BOOT_CODE */
	.quad 0x00cf93000000ffff /* BOOT_DATA */
	.quad 0, 0
	.quad 0x00cff3000000ffff /* USER_DATA */
	.quad 0x00affb000000ffff /* USER_CODE */
	.quad 0x0000890000000000 + (machine_task_end - machine_task - 1) /* TASK: boot sets its place */
	.quad MACHINE_BASE >> 32
segments_end:
	.word 0
segments_first:
	.word segments_end - segments - 1
	.long PHYSICAL(segments)
	.balign 4
	.word 0
segments_all:
	.word segments_end - segments - 1
	.quad segments
	.balign 4
	.word 0
vectors_all:
	.word 4095
	.quad machine_vectors

	.balign 4096
	.globl machine_task, machine_task_end
machine_task:
	.long 0
	.quad 0, 0, 0, 0
	.quad interrupt_stack_end, trap_stack_end, outside_stack_end, 0, 0, 0, 0
	.quad 0
	.word 0
	.word 104 /* where the bitmap begins */
	.fill 8192, 1, 0
	.byte 0xff
machine_task_end:

	.globl machine_start_info
machine_start_info:
	.long 0

	.bss
	.balign 4096
	.globl machine_vectors
machine_vectors:
	.skip 4096
	.skip 1024
	.globl machine_gate_stack_end
machine_gate_stack_end:
	.skip 1024
interrupt_stack_end:
	.skip 1024
trap_stack_end:
	.skip 1024
outside_stack_end:
	.skip 32768
machine_stack_end:

	.section .note.GNU-stack, "", @progbits
