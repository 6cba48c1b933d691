/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resume.S - from the library OS to a thread: with every register, or to where it switched away.
 */
	.text
/* void unikernel_continue(struct registers *registers) */
	.globl unikernel_continue
	.type unikernel_continue, @function
unikernel_continue:
	mov %rdi, %rsp
	jmp unikernel_resume
	.size unikernel_continue, . - unikernel_continue

/* void thread_switch(uint64_t *save_sp, uint64_t sp): goes on where `sp` was saved, or begins there. */
	.globl thread_switch
	.type thread_switch, @function
thread_switch:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.size thread_switch, . - thread_switch

/* Continues a thread from the struct registers that the stack pointer points to, every register. */
	.globl unikernel_resume
	.type unikernel_resume, @function
unikernel_resume:
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rax
	pop %rcx
	pop %rdx
	pop %rsi
	pop %rdi
	add $8, %rsp
	iretq
	.size unikernel_resume, . - unikernel_resume

	.section .note.GNU-stack, "", @progbits
