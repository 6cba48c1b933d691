/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.S - from the program into the library OS and back.
 *
 * unikernel_entry is what the slot of a rewritten program holds: a trampoline calls it in place of a system
 * call. unikernel_trap is where a platform continues after it has stored the registers of a real system call
 * (struct registers) on the thread's kernel stack and set the stack pointer to them. Both serve the call on the
 * kernel stack of the thread. rcx and r11 are free: a system call destroys them. Who wants a thread to go on
 * elsewhere (signals, new threads) calls unikernel_resume; returning from unikernel_call goes back to the site.
 */
#include "unikernel/registers_offsets.h"

#define USER_CS 0x33
#define USER_SS 0x2b

/* Flags that sahf sets (CF PF AF ZF SF) and those that always read as set (IF, bit 1). */
#define FLAGS_EASY     0x2d7
#define FLAG_DIRECTION 0x400

	.text
	.globl unikernel_entry
	.type unikernel_entry, @function
	.balign 64
unikernel_entry:
	mov current_thread(%rip), %rcx
	mov %rsp, %r11
	mov (%rcx), %rsp
	push $USER_SS
	lea 8(%r11), %rcx
	push %rcx
	pushf
	testl $FLAG_DIRECTION, (%rsp)
	jnz 2f
1:	push $USER_CS
	push (%r11)
	push %rax
	push %rdi
	push %rsi
	push %rdx
	push %rcx
	push %rax
	push %r8
	push %r9
	push %r10
	push %r11
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, %rdi
	call unikernel_call
	testq $~FLAGS_EASY, REGISTERS_RFLAGS(%rsp)
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
2:	cld /* slow, and hardly ever needed */
	jmp 1b
	.size unikernel_entry, . - unikernel_entry

	.globl unikernel_trap
	.type unikernel_trap, @function
unikernel_trap:
	cld
	mov %rsp, %rdi
	call unikernel_call
	jmp unikernel_resume
	.size unikernel_trap, . - unikernel_trap

/* Where a platform continues after a fault of the processor: rdi is its struct fault, on a kernel stack. */
	.globl unikernel_trap_fault
	.type unikernel_trap_fault, @function
unikernel_trap_fault:
	cld
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
