/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults.c - faults that cannot be delivered, or that come again for ever: each case ends as on Linux.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "unikernel/thread.h"

#define PAGE 4096u
#define FAR  (INT64_C(1) << 62) /* no address that a processor has */

static char other_stack[65536];
static char hidden[PAGE] __attribute__((__aligned__(4096))) = "written";
static int returns;

static void catch_by(
	int signal, void (*handler)(int signal, siginfo_t *info, void *data), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };
	sigaction(signal, &action, NULL);
}

static void say(int signal, siginfo_t *info, void *data)
{
	(void)info;
	(void)data;
	_exit(signal);
}

static void go_far(int signal, siginfo_t *info, void *data)
{
	(void)signal;
	(void)info;
	if (returns++)
		_exit(3);
	((ucontext_t *)data)->uc_mcontext.gregs[REG_RIP] = FAR;
}

static void go_back(int signal, siginfo_t *info, void *data)
{
	(void)signal;
	(void)info;
	(void)data;
}

/* The top of a stack that has no room for a frame; nor is there any behind its page. */
static char *small_stack(void)
{
	char *pages = mmap(
		NULL, 3 * (size_t)PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(pages, PAGE, PROT_NONE);
	mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
	return pages + PAGE + 512;
}

static void fault_on(char *stack)
{
	__asm__ volatile("mov %0, %%rsp\n\tmov 0, %%rax\n\thlt" : : "r"(stack) : "rax", "memory");
}

static void kill_self_on(char *stack)
{
	__asm__ volatile("mov %0, %%rsp\n\tsyscall\n\tmov $60, %%eax\n\tmov $9, %%edi\n\tsyscall"
			 :
			 : "r"(stack), "a"(SYS_kill), "D"(getpid()), "S"(SIGUSR1)
			 : "rcx", "r11", "memory");
}

static void set_other_stack(void)
{
	const stack_t stack = { .ss_sp = other_stack, .ss_size = sizeof(other_stack) };
	sigaltstack(&stack, NULL);
}

/* A call with the flag of nested tasks and that of alignment, which iretq and unaligned words do not like. */
static void call_nested(void)
{
	int64_t id = SYS_getpid;
	__asm__ volatile("pushf\n\torl $0x44000, (%%rsp)\n\tpopf\n\tsyscall\n\t"
			 "pushf\n\tandl $~0x44000, (%%rsp)\n\tpopf"
			 : "+a"(id)
			 :
			 : "rcx", "r11", "memory", "cc");
	_exit(id > 0 ? 0 : 1);
}

/* What a child hid is its parent's again, and what a parent hid is no reason not to fork. */
static void hide_in_child(void)
{
	int status = 1;
	if (fork() == 0) {
		hidden[0] = 'W';
		mprotect(hidden, PAGE, PROT_NONE);
		_exit(7);
	}
	wait(&status);
	if (hidden[0] == 'w') {
		mprotect(hidden, PAGE, PROT_NONE);
		if (fork() == 0)
			_exit(0);
		mprotect(hidden, PAGE, PROT_READ);
	}
	_exit(WEXITSTATUS(status) == 7 && strcmp(hidden, "written") == 0 ? 0 : 1);
}

static void *end_badly(void *data)
{
	syscall(SYS_set_tid_address, FAR);
	for (;;)
		syscall(SYS_exit, 0);
	return data;
}

/*
 * Breaks what only the library OS has, which lies in the same memory: a signal waits whose description is nowhere, or (`all`)
 * there is no thread. Its entry begins with reading a word beside that which says what the thread is: mov disp32(%rip), %rcx.
 */
static void break_library(bool all)
{
	uint8_t *entry = *(uint8_t *volatile *)(uintptr_t)BOOT_SLOT;
	int32_t distance;
	memcpy(&distance, entry + 3, sizeof(distance));
	struct thread **thread = (void *)(entry + 7 + distance + 8);
	catch_by(SIGSEGV, go_back, 0);
	(*thread)->pending |= UINT64_C(1) << (SIGUSR1 - 1);
	(*thread)->pending_info[SIGUSR1] = (void *)(uintptr_t)FAR;
	if (all)
		*thread = NULL;
	fault_on((char *)__builtin_frame_address(0) - PAGE);
}

int main(int count, char **words)
{
	const char *wanted = count > 1 ? words[1] : "";
	if (strcmp(wanted, "write") == 0) {
		catch_by(SIGSEGV, say, 0);
		fault_on(small_stack());
	} else if (strcmp(wanted, "deliver") == 0) {
		catch_by(SIGUSR1, say, 0);
		kill_self_on(small_stack());
	} else if (strcmp(wanted, "aside") == 0) {
		set_other_stack();
		catch_by(SIGUSR1, say, 0);
		catch_by(SIGSEGV, say, SA_ONSTACK);
		kill_self_on(small_stack());
	} else if (strcmp(wanted, "return") == 0) {
		catch_by(SIGUSR1, go_far, 0);
		catch_by(SIGSEGV, go_far, 0);
		kill(getpid(), SIGUSR1);
	} else if (strcmp(wanted, "frame") == 0) {
		__asm__ volatile("mov %0, %%rsp\n\tsyscall"
				 :
				 : "r"(small_stack() + PAGE - 520), "a"(SYS_rt_sigreturn)
				 : "rcx", "r11", "memory");
	} else if (strcmp(wanted, "nested") == 0) {
		call_nested();
	} else if (strcmp(wanted, "hidden") == 0) {
		hide_in_child();
	} else if (strcmp(wanted, "thread") == 0) {
		pthread_t thread;
		pthread_create(&thread, NULL, end_badly, NULL);
		usleep(100000);
	} else if (strcmp(wanted, "ever") == 0) {
		catch_by(SIGSEGV, go_back, 0);
		__asm__ volatile("mov 0, %%rax" : : : "rax");
	} else if (strcmp(wanted, "own") == 0 || strcmp(wanted, "all") == 0) {
		break_library(wanted[0] == 'a');
	} else {
		return 2;
	}
	return 0;
}
