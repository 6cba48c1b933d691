/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.S - from the program into the library OS and back.
 *
 * unikernel_entry is what the slots of a rewritten program hold: a trampoline calls it in place of a system
 * call; unikernel_answer is in those whose answer is a word that is known (answers.h). unikernel_trap is where a platform continues after it has stored the registers of a real system call
 * (struct registers) on the thread's kernel stack and set the stack pointer to them. Both serve the call on the
 * kernel stack of the thread. rcx and r11 are free: a system call destroys them. Who wants a thread to go on
 * elsewhere (signals, new threads) calls unikernel_resume; returning from unikernel_after goes back to the site.
 * That is called only where unikernel_must_look says so, or the flags are such as sahf cannot set.
 */
#include "unikernel/registers_offsets.h"

/* Flags that sahf sets (CF PF AF ZF SF) and those that always read as set (IF, bit 1). */
#define FLAGS_EASY    0x2d7
#define FLAG_OVERFLOW 0x800
/* For our own code: without direction, nested task (iretq fails with it), alignment check. */
#define FLAGS_OURS    0x2

/* The stack pointer is at struct registers, r11 was it before; and rdi becomes what a call is given. */
.macro save_registers
	mov (%r11), %rcx
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
	mov %rsp, %rdi
.endm

/* All but rax and the stack pointer: C kept rbx, rbp, r12 to r15, and nobody else has changed them. */
.macro load_registers
	movb REGISTERS_RFLAGS(%rsp), %ah
	mov 56(%rsp), %r10
	mov 64(%rsp), %r9
	mov 72(%rsp), %r8
	mov 96(%rsp), %rdx
	mov 104(%rsp), %rsi
	mov 112(%rsp), %rdi
	sahf
.endm

/* By ret, not by a jump: the trampoline called, and the processor predicts in pairs. */
.macro go_back
	mov REGISTERS_RSP(%rsp), %rsp
	lea -8(%rsp), %rsp
	ret
.endm

	.text
	.globl unikernel_entry
	.type unikernel_entry, @function
	.balign 64
unikernel_entry:
	mov current_registers(%rip), %rcx
	mov %rsp, %r11
	/* cs and ss stand there already; rcx, r11 and rax have nothing that anybody wants. */
	lea REGISTERS_RFLAGS + 8(%rcx), %rsp
	pushf
	mov %rcx, %rsp
	testl $~FLAGS_EASY, REGISTERS_RFLAGS(%rsp)
	jnz 1f
	save_registers
	cmp $CALLS_IN_TABLE, %rax
	jae 2f
	lea calls_table(%rip), %rcx
	call *(%rcx, %rax, 8)
	cmpl $0, unikernel_must_look(%rip)
	jne 3f
	mov %rax, %r11
	load_registers
	mov %r11, %rax
	go_back
1:	push $FLAGS_OURS
	popf
	save_registers
2:	call unikernel_call
	jmp 4f
3:	mov %rax, REGISTERS_RAX(%rsp)
	mov %rsp, %rdi
	call unikernel_after
4:	testl $~(FLAGS_EASY | FLAG_OVERFLOW), REGISTERS_RFLAGS(%rsp)
	jnz unikernel_resume
	movb REGISTERS_RFLAGS + 1(%rsp), %al
	and $(FLAG_OVERFLOW >> 8), %al
	add $(0x80 - (FLAG_OVERFLOW >> 8)), %al /* overflows if that is set */
	load_registers
	mov REGISTERS_RAX(%rsp), %rax
	go_back
	.size unikernel_entry, . - unikernel_entry

/* A call whose answer is a word: nothing but rax and rcx is touched, so nothing is kept. */
	.globl unikernel_answer
	.type unikernel_answer, @function
	.balign 64
unikernel_answer:
	mov unikernel_must_look(%rip), %rcx
	jrcxz 1f
	jmp unikernel_entry
1:	lea answers(%rip), %rcx
	mov (%rcx, %rax, 8), %rax
	ret
	.size unikernel_answer, . - unikernel_answer

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
