/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.c - the program's threads; which of them runs.
 */
#include "unikernel/kernel.h"

struct thread *current_thread;

static struct thread first_thread;

void thread_init(uint64_t kernel_stack_top)
{
	first_thread.id = 1;
	first_thread.kernel_sp = kernel_stack_top - 8;
	current_thread = &first_thread;
}
