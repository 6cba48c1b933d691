/* SPDX-License-Identifier: Apache-2.0 */
/*
 * system.c - rows that need the kernel, or code that changes.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

#define FAULT_PAGES 256u
#define PAGE        4096u

/* What every row costs: the program's start and end. */
uint64_t row_nothing(uint64_t count)
{
	return count;
}

uint64_t row_getppid(uint64_t count)
{
	uint64_t calls = 0;
	while (count-- > 0)
		calls += syscall(SYS_getppid) >= 0;
	return calls;
}

uint64_t row_page_fault(uint64_t count)
{
	uint64_t sum = 0;
	while (count-- > 0) {
		uint8_t *pages = mmap(NULL, FAULT_PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pages == MAP_FAILED)
			abort();
		madvise(pages, FAULT_PAGES * PAGE, MADV_NOHUGEPAGE);
		for (uint32_t i = 0; i < FAULT_PAGES; i++)
			sum += ++pages[i * PAGE];
		munmap(pages, FAULT_PAGES * PAGE);
	}
	return sum;
}

uint64_t row_fork(uint64_t count)
{
	uint64_t sum = 0;
	while (count-- > 0) {
		int status;
		pid_t child = fork();
		if (child < 0)
			abort();
		if (child == 0)
			_exit((int)(count & 0x7f));
		waitpid(child, &status, 0);
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

static pid_t start_nothing(void)
{
	char path[] = "/proc/self/exe", name[] = "nothing", one[] = "1";
	char *const words[] = { path, name, one, NULL };
	pid_t child = vfork();
	if (child < 0)
		abort();
	if (child == 0) {
		close(1);
		execv(path, words);
		_exit(99);
	}
	return child;
}

uint64_t row_vfork_exec(uint64_t count)
{
	uint64_t sum = 0;
	while (count-- > 0) {
		int status;
		waitpid(start_nothing(), &status, 0);
		sum += (uint64_t)WEXITSTATUS(status);
	}
	return sum;
}

uint64_t row_pipe(uint64_t count)
{
	int there[2], back[2], status;
	uint64_t sum = 0;
	uint8_t ball = 0;
	if (pipe(there) < 0 || pipe(back) < 0)
		abort();
	pid_t child = fork();
	if (child < 0)
		abort();
	if (child == 0) {
		close(there[1]);
		while (read(there[0], &ball, 1) == 1) {
			ball++;
			if (write(back[1], &ball, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	while (count-- > 0) {
		if (write(there[1], &ball, 1) != 1 || read(back[0], &ball, 1) != 1)
			abort();
		sum += ball;
	}
	close(there[1]);
	waitpid(child, &status, 0);
	return sum + (uint64_t)WEXITSTATUS(status);
}

static volatile uint64_t caught;

static void handler(int number)
{
	caught += (uint64_t)number;
}

uint64_t row_signal(uint64_t count)
{
	signal(SIGUSR1, handler);
	while (count-- > 0)
		raise(SIGUSR1);
	return caught;
}

/* Writes a constant into a function and calls it, over and over. */
uint64_t row_rewrite(uint64_t count)
{
	/* mov $0, %eax; ret */
	static const uint8_t code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
	volatile uint8_t *page = mmap(
		NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		abort();
	union {
		volatile uint8_t *bytes;
		uint32_t (*call)(void);
	} function = { .bytes = page };
	for (size_t i = 0; i < sizeof(code); i++)
		page[i] = code[i];
	uint64_t sum = 0;
	for (uint64_t i = 0; i < count; i++) {
		page[1] = (uint8_t)i;
		page[2] = (uint8_t)(i >> 8);
		sum = sum * 31 + function.call();
	}
	return sum;
}

static uint64_t shared;

uint64_t row_xadd(uint64_t count)
{
	for (; count > 0; count--)
		__atomic_fetch_add(&shared, count, __ATOMIC_SEQ_CST);
	return shared;
}
