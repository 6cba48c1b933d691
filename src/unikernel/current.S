/* SPDX-License-Identifier: Apache-2.0 */
/*
 * current.S - what each call reads, side by side in one line of the cache (thread.h, kernel.h).
 */
	.bss
	.balign 64
	.globl current_registers, current_thread, unikernel_must_look
current_registers:
	.quad 0
current_thread:
	.quad 0
unikernel_must_look:
	.quad 0

	.section .note.GNU-stack, "", @progbits
