/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trap.S - all of ring 0 after the start: it sorts what comes in and goes back to ring 3 at once.
 *
 * No interrupt is served but while the processor sleeps in the gate, so nothing here is ever interrupted.
 */
#include "abi/keep.h"
#include "unikernel/machine/layout.h"
#include "unikernel/registers_offsets.h"

#define RED_ZONE     128
#define APIC_SEND    0x300
#define APIC_TO_SELF 0x44000
#define BUTTON_PRESSED 0x100
#define KERNEL_STACK 32768 /* kernel.h; trap.c holds it against that */

/* The registers as struct registers has them, below the number of the call. */
.macro push_registers
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
.endm

	.text
/* A system call that was not rewritten: its registers go where entry.S would have put them. */
	.globl machine_syscall
machine_syscall:
	mov %rsp, program_stack(%rip)
	lea machine_gate_after(%rip), %rsp
	cmp %rsp, %rcx
	je serve_gate
	mov current_thread(%rip), %rsp
	mov (%rsp), %rsp
	push $USER_DATA
	push program_stack(%rip)
	push %r11
	push $USER_CODE
	push %rcx
	push %rax
	push_registers
	incq machine_traps(%rip)
	lea unikernel_trap(%rip), %rax
	mov %rsp, %rcx
	push $USER_DATA
	push %rcx
	push $2
	push $USER_CODE
	push %rax
	iretq

/*
 * uint64_t machine_gate(uint64_t operation, uint64_t first, uint64_t second): what only ring 0 can do. A system call, known
 * by where it comes from. Some hosts that interpret ring 0 stay in ring 3 then (which is all the same to the program's own
 * calls): there the fault of an instruction that ring 3 may not execute gets to ring 0.
 */
	.globl machine_gate
machine_gate:
	syscall
machine_gate_after:
	ret

serve_gate:
	mov %cs, %eax
	test $3, %al
	jz in_gate
stays_in_ring_3:
	hlt
in_gate:
	lea machine_gate_stack_end(%rip), %rsp
	cmp $GATE_FLUSH, %edi
	je 1f
	cmp $GATE_WRITE, %edi
	je 2f
	cmp $GATE_READ, %edi
	je 3f
	sti
	hlt
	cli
	jmp 4f
1:	mov %cr3, %rax
	mov %rax, %cr3
	jmp 4f
2:	mov %esi, %ecx
	mov %edx, %eax
	shr $32, %rdx
	wrmsr
	jmp 4f
3:	mov %esi, %ecx
	rdmsr
	shl $32, %rdx
	or %rdx, %rax
4:	push $USER_DATA
	push program_stack(%rip)
	push $2
	push $USER_CODE
	lea machine_gate_after(%rip), %rcx
	push %rcx
	iretq

/* All interrupts say the same: look again. */
	.globl machine_wake
machine_wake:
	push %rax
	movabs $(MACHINE_BASE + MACHINE_APIC + 0xb0), %rax
	movl $0, (%rax)
	pop %rax
machine_spurious:
	iretq
	.globl machine_spurious

.macro trap number, has_code
trap_\number:
	.if \has_code == 0
	push $0
	.endif
	movl $\number, vector(%rip)
	jmp trap
.endm
	trap 0, 0
	trap 1, 0
/* Somebody outside wants something (NMI): of the program, or at its next call, which sees it by itself. */
trap_2:
	movq $1, unikernel_must_look(%rip)
	push %rax
	push %rdx
	mov machine_keep_port(%rip), %edx
	test %edx, %edx
	jz 3f
	in %dx, %al
	test $KEEP_WANTED, %al
	jz 3f
	btsq $(KEEP_SIGNAL - 1), platform_signals(%rip)
	movabs $(MACHINE_BASE + MACHINE_APIC + APIC_SEND), %rax
	movl $(APIC_TO_SELF | VECTOR_WAKE), (%rax) /* ends the sleep that is about to begin */
3:	cmpq $0, machine_button_signals(%rip)
	je 2f
	mov machine_button_port(%rip), %edx
	in %dx, %ax
	test $BUTTON_PRESSED, %eax
	jz 2f /* it is somebody else's */
	mov machine_button_signals(%rip), %rax
	or %rax, platform_signals(%rip)
	movl $1, machine_button_pressed(%rip)
	movabs $(MACHINE_BASE + MACHINE_APIC + APIC_SEND), %rax
	movl $(APIC_TO_SELF | VECTOR_WAKE), (%rax)
2:	pop %rdx
	lea machine_image(%rip), %rax
	cmp %rax, 8(%rsp)
	jb 1f
	lea machine_constants(%rip), %rax
	cmp %rax, 8(%rsp)
	jae 1f
	pop %rax
	iretq
1:	pop %rax
	push $0
	movl $2, vector(%rip)
	jmp trap
	trap 3, 0
	trap 4, 0
	trap 5, 0
	trap 6, 0
	trap 7, 0
	trap 8, 1
	trap 9, 0
	trap 10, 1
	trap 11, 1
	trap 12, 1
trap_13:
	push %rax
	lea stays_in_ring_3(%rip), %rax
	cmp %rax, 16(%rsp)
	pop %rax
	je in_gate
	movl $13, vector(%rip)
	jmp trap
	trap 14, 1
	trap 15, 0
	trap 16, 0
	trap 17, 1
	trap 18, 0
	trap 19, 0
	trap 20, 0
	trap 21, 1

/* A fault: its struct trap goes onto a stack of the thread, where C in ring 3 takes it. */
trap:
	push_registers
	cld
	mov REGISTERS_RSP(%rsp), %rdi
	mov current_thread(%rip), %rcx
	test %rcx, %rcx
	jz 1f
	mov (%rcx), %rcx
	mov %rcx, %rax
	sub %rdi, %rax
	cmp $KERNEL_STACK, %rax
	jb 1f
	lea -REGISTERS_SIZE(%rcx), %rdi /* the program was at work: its stack is none of ours */
	jmp 2f
1:	sub $RED_ZONE, %rdi
2:	sub $TRAP_SIZE, %rdi
	and $-16, %rdi
	mov %rdi, %rdx
	mov %rsp, %rsi
	mov $(REGISTERS_SIZE / 8), %ecx
	rep movsq
	mov %cr2, %rax
	mov %rax, TRAP_ADDRESS(%rdx)
	invlpg (%rax)
	mov vector(%rip), %eax
	mov %rax, TRAP_VECTOR(%rdx)
	mov %rdx, %rdi
	lea machine_trap(%rip), %rax
	lea -8(%rdx), %rcx
	push $USER_DATA
	push %rcx
	push $2
	push $USER_CODE
	push %rax
	iretq

	.section .rodata
	.balign 8
	.globl machine_trap_entries
machine_trap_entries:
	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21
	.quad trap_\number
	.endr

	.data
	.balign 8
program_stack:
	.quad 0
vector:
	.long 0, 0
	.globl machine_button_signals, machine_button_port, machine_button_pressed, machine_keep_port
machine_button_signals:
	.quad 0
machine_button_port:
	.long 0
machine_button_pressed:
	.long 0
machine_keep_port:
	.long 0, 0
	.globl machine_traps
machine_traps:
	.quad 0

	.section .note.GNU-stack, "", @progbits
