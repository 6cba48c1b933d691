/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unikernel_calls.c - what a system call costs: prints the ns of one.
 *
 * usage: unikernel_calls [NAME]     getppid if there is none; pause: says "ready" and waits to be looked at
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CALLS 5000 /* short runs, so that some of them meet nobody else */
#define RUNS  300

static int ends[2], event;
static uint64_t word = 1;

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* With the number just before it, as a libc has it. */
#define CALL(number, first, second, third) \
	do { \
		uint64_t result; \
		__asm__ volatile("mov %1, %%eax\n\tsyscall" \
				 : "=&a"(result) \
				 : "i"(number), "D"(first), "S"(second), "d"(third) \
				 : "rcx", "r11", "memory"); \
	} while (0)

#define MANY(name, ...) \
	static void name(void) \
	{ \
		for (int i = 0; i < CALLS; i++) { \
			__VA_ARGS__; \
		} \
	}

MANY(ask_parent, CALL(SYS_getppid, 0, 0, 0))
MANY(ask_descriptor, CALL(SYS_fcntl, ends[0], F_GETFD, 0))
MANY(through_event, CALL(SYS_write, event, &word, sizeof(word));
	CALL(SYS_read, event, &word, sizeof(word)))
MANY(through_pipe, CALL(SYS_write, ends[1], &word, 1); CALL(SYS_read, ends[0], &word, 1))
MANY(wake_nobody, CALL(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1))

static const struct {
	const char *name;
	void (*make)(void);
} kinds[] = {
	{ "getppid", ask_parent },
	{ "fcntl", ask_descriptor },
	{ "eventfd", through_event },
	{ "pipe", through_pipe },
	{ "futex", wake_nobody },
};

int main(int count, char **words)
{
	const char *name = count > 1 ? words[1] : "getppid";
	double best = 1e9;
	if (strcmp(name, "pause") == 0) {
		puts("ready");
		fflush(stdout);
		pause();
	}
	event = eventfd(0, 0);
	if (event < 0 || pipe(ends) < 0)
		return 1;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, name) != 0)
			continue;
		for (int run = 0; run < RUNS; run++) {
			uint64_t start = now();
			kinds[i].make();
			double each = (double)(now() - start) / CALLS;
			best = each < best ? each : best;
		}
		printf("%.2f\n", best);
		return 0;
	}
	return 2;
}
