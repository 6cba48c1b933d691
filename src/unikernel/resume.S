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

/* int snapshot_mark(void *to): 0; snapshot_back(const void *to) returns from it once more, with 1. */
	.globl snapshot_mark
	.type snapshot_mark, @function
snapshot_mark:
	mov %rbx, (%rdi)
	mov %rbp, 8(%rdi)
	mov %r12, 16(%rdi)
	mov %r13, 24(%rdi)
	mov %r14, 32(%rdi)
	mov %r15, 40(%rdi)
	lea 8(%rsp), %rax
	mov %rax, 48(%rdi)
	mov (%rsp), %rax
	mov %rax, 56(%rdi)
	xor %eax, %eax
	ret
	.size snapshot_mark, . - snapshot_mark

	.globl snapshot_back
	.type snapshot_back, @function
snapshot_back:
	mov (%rdi), %rbx
	mov 8(%rdi), %rbp
	mov 16(%rdi), %r12
	mov 24(%rdi), %r13
	mov 32(%rdi), %r14
	mov 40(%rdi), %r15
	mov 48(%rdi), %rsp
	mov $1, %eax
	jmp *56(%rdi)
	.size snapshot_back, . - snapshot_back

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
	.globl unikernel_resume_end
unikernel_resume_end:
	.size unikernel_resume, . - unikernel_resume

	.section .note.GNU-stack, "", @progbits
