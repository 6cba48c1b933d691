/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alone.c - a program that runs alone with the library OS; it tells what it finds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A real system call that no rewriter can see: behind a jump into the middle of an instruction. */
static long hidden_getppid(void)
{
	long result;
	__asm__ volatile("jmp 1f + 2\n"
			 "1:\n\t"
			 ".byte 0x48, 0xb8\n\t" /* movabs: its 8 bytes are the code that runs */
			 "mov $110, %%eax\n\t"
			 "syscall\n\t"
			 "nop\n\t"
			 : "=a"(result)
			 :
			 : "rcx", "r11", "memory");
	return result;
}

int main(int count, char **words)
{
	printf("%d words, the last is %s, HOME is %s\n", count, words[count - 1], getenv("HOME"));
	printf("pid %d, parent %d, by a real call %ld\n", getpid(), getppid(), hidden_getppid());
	char *memory = malloc(3 << 20);
	memset(memory, 7, 3 << 20);
	printf("byte %d, a third %.3f\n", memory[3 << 19], 1.0 / 3);
	errno = 0;
	void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("executable memory: %s\n", code == MAP_FAILED ? strerror(errno) : "given");
	printf("no such call: %s\n",
		syscall(SYS_io_uring_setup, 1, NULL) < 0 ? strerror(errno) : "?");
	return 41;
}
