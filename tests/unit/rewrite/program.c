/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.c - what test_rewrite rewrites: calls, signals, threads, a child, and registers that must last.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t seen;

/* No function, though it looks like a locked instruction, which a test looks for by what stands before it. */
__asm__(".text\n"
	".ascii \"not code\"\n"
	".byte 0xf0, 0x48, 0x01, 0x08\n");

static void on_signal(int number)
{
	seen = number;
}

static void *work(void *argument)
{
	for (int i = 0; i < 1000; i++)
		(void)!write(-1, "", 0);
	return argument;
}

/* Every register that a system call leaves alone, the red zone and the flags, around one site. */
static uint64_t registers_kept(void)
{
	uint64_t result = 1, red = 0;
	__asm__ volatile("movq $0x1111, %%rbx\n\t"
			 "movq $0x2222, %%r12\n\t"
			 "movq $0x3333, %%r13\n\t"
			 "movq $0x4444, %%r8\n\t"
			 "movq $0x5555, %%rdi\n\t"
			 "movq $0x6666, -8(%%rsp)\n\t"
			 "movq $0x7777, -120(%%rsp)\n\t"
			 "movl $110, %%eax\n\t"
			 "cmpq %%rax, %%rax\n\t" /* sets the zero flag */
			 "syscall\n\t"
			 "nopl 0(%%rax,%%rax,1)\n\t"
			 "setz %%al\n\t"
			 "movzbl %%al, %%eax\n\t"
			 "movq %%rax, %0\n\t"
			 "addq %%rbx, %0\n\t"
			 "addq %%r12, %0\n\t"
			 "addq %%r13, %0\n\t"
			 "addq %%r8, %0\n\t"
			 "addq %%rdi, %0\n\t"
			 "movq -8(%%rsp), %1\n\t"
			 "addq -120(%%rsp), %1\n\t"
			 : "=&r"(result), "=&r"(red)
			 :
			 : "rax", "rbx", "rcx", "r8", "r11", "r12", "r13", "rdi", "memory", "cc");
	return result + red;
}

int main(void)
{
	pthread_t threads[4];
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0)
		_exit(42);
	int status = 0;
	waitpid(child, &status, 0);
	printf("signal %d, child %d, float %.3f\n", (int)seen, WEXITSTATUS(status), 1.0 / 3);
	printf("registers %#llx\n", (unsigned long long)registers_kept());
	return 7;
}
