/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.c - the life of a unikernel: load, lock, run, exit.
 */
#include "unikernel/kernel.h"

#define STACK_BYTES (8u << 20)

void kernel_panic(const char *sentence)
{
	static const char head[] = "unikernel: ";
	platform_console_write(head, sizeof(head) - 1);
	platform_console_write(sentence, strlen(sentence));
	platform_console_write("\n", 1);
	platform_exit(255);
}

void kernel_main(const struct boot *boot)
{
	struct program program;
	if (boot->version != BOOT_VERSION || boot->size != sizeof(*boot))
		kernel_panic("this library OS does not know what it was started by");
	if (load_program(boot, &program) < 0)
		kernel_panic("the program is no static x86-64 executable that could be loaded");
	memory_init(boot->memory_address, boot->memory_bytes, program.end);

	uint64_t stack_bytes =
		boot->memory_bytes / 4 < STACK_BYTES ? boot->memory_bytes / 4 : STACK_BYTES;
	uint64_t stack = memory_alloc(stack_bytes & ~(uint64_t)(KERNEL_PAGE - 1));
	uint64_t kernel_stack = memory_alloc(KERNEL_STACK);
	if (!stack || !kernel_stack)
		kernel_panic("there is not enough memory for the program's stack");
	thread_init(kernel_stack + KERNEL_STACK);
	uint64_t sp =
		load_stack(boot, &program, stack + (stack_bytes & ~(uint64_t)(KERNEL_PAGE - 1)));
	if (platform_lock() < 0)
		kernel_panic("the process could not be locked");
	unikernel_start(program.entry, sp);
}
