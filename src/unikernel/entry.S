/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.S - from the program into the library OS and back.
 *
 * unikernel_entry is what the slot of a rewritten program holds: a trampoline calls it in place of a system
 * call. unikernel_trap is where a platform continues after it has stored the registers of a real system call
 * (struct registers) on the thread's kernel stack and set the stack pointer to them. Both serve the call on the
 * kernel stack of the thread. rcx and r11 are free: a system call destroys them. Who wants a thread to go on
 * elsewhere (signals, new threads) calls unikernel_resume; returning from unikernel_after goes back to the site.
 */
#include "unikernel/registers_offsets.h"

/* Flags that sahf sets (CF PF AF ZF SF) and those that always read as set (IF, bit 1). */
#define FLAGS_EASY     0x2d7
/* Not for our own code: direction, nested task (iretq fails with it), alignment check. */
#define FLAGS_NONE     0x44400
#define FLAGS_OURS     0x2

	.text
	.globl unikernel_entry
	.type unikernel_entry, @function
	.balign 64
unikernel_entry:
	mov current_thread(%rip), %rcx
	mov %rsp, %r11
	mov (%rcx), %rsp
	/* cs and ss stand there already; rcx, r11 and rax have nothing that anybody wants. */
	lea REGISTERS_RFLAGS + 8 - REGISTERS_SIZE(%rsp), %rsp
	pushf
	lea -REGISTERS_RFLAGS(%rsp), %rsp
	testl $FLAGS_NONE, REGISTERS_RFLAGS(%rsp)
	jnz 2f
1:	mov (%r11), %rcx
	add $8, %r11
	mov %rcx, REGISTERS_RIP(%rsp)
	mov %r11, REGISTERS_RSP(%rsp)
	mov %rax, REGISTERS_NUMBER(%rsp)
	mov %rdi, 112(%rsp)
	mov %rsi, 104(%rsp)
	mov %rdx, 96(%rsp)
	mov %r8, 72(%rsp)
	mov %r9, 64(%rsp)
	mov %r10, 56(%rsp)
	mov %rbx, 40(%rsp)
	mov %rbp, 32(%rsp)
	mov %r12, 24(%rsp)
	mov %r13, 16(%rsp)
	mov %r14, 8(%rsp)
	mov %r15, (%rsp)
	cmp $CALLS_IN_TABLE, %rax
	jae 3f
	lea calls_table(%rip), %rcx
	mov %rsp, %rdi
	call *(%rcx, %rax, 8)
	mov %rax, REGISTERS_RAX(%rsp)
	mov %rsp, %rdi
	call unikernel_after
4:	testq $~FLAGS_EASY, REGISTERS_RFLAGS(%rsp)
	jnz unikernel_resume
	/* The callee kept rbx, rbp, r12 to r15, and nobody else has changed them. */
	movb REGISTERS_RFLAGS(%rsp), %ah
	mov 56(%rsp), %r10
	mov 64(%rsp), %r9
	mov 72(%rsp), %r8
	mov 96(%rsp), %rdx
	mov 104(%rsp), %rsi
	mov 112(%rsp), %rdi
	sahf
	mov REGISTERS_RAX(%rsp), %rax
	mov REGISTERS_RSP(%rsp), %rsp
	/* Back by ret, not by a jump: the trampoline called, and the processor predicts in pairs. */
	lea -8(%rsp), %rsp
	ret
2:	push $FLAGS_OURS /* slow, and hardly ever needed */
	popf
	jmp 1b
3:	mov %rsp, %rdi
	call unikernel_call
	jmp 4b
	.size unikernel_entry, . - unikernel_entry

	.globl unikernel_trap
	.type unikernel_trap, @function
unikernel_trap:
	push $FLAGS_OURS
	popf
	mov %rsp, %rdi
	call unikernel_call
	jmp unikernel_resume
	.size unikernel_trap, . - unikernel_trap

/* Where a platform continues after a fault of the processor: rdi is its struct fault, on a kernel stack. */
	.globl unikernel_trap_fault
	.type unikernel_trap_fault, @function
unikernel_trap_fault:
	push $FLAGS_OURS
	popf
	call unikernel_fault
	ud2
	.size unikernel_trap_fault, . - unikernel_trap_fault

/* void unikernel_start(uint64_t rip, uint64_t rsp): the first instruction of a program, registers zero. */
	.globl unikernel_start
	.type unikernel_start, @function
unikernel_start:
	mov %rsi, %rsp
	mov %rdi, %rcx
	xor %eax, %eax
	xor %ebx, %ebx
	xor %edx, %edx
	xor %esi, %esi
	xor %edi, %edi
	xor %ebp, %ebp
	xor %r8d, %r8d
	xor %r9d, %r9d
	xor %r10d, %r10d
	xor %r11d, %r11d
	xor %r12d, %r12d
	xor %r13d, %r13d
	xor %r14d, %r14d
	xor %r15d, %r15d
	jmp *%rcx
	.size unikernel_start, . - unikernel_start

	.section .note.GNU-stack, "", @progbits
