/* SPDX-License-Identifier: Apache-2.0 */
/*
 * areas_spells.c - who computes is interrupted for others and for its timers, and what runtimes of languages do with addresses.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "areas.h"

static atomic_int turn;

static void *compute(void *data)
{
	while (!atomic_load(&turn))
		;
	return data;
}

static void on_alarm(int signal)
{
	atomic_store(&turn, signal);
}

static void interrupted(void)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	const struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
	pthread_t thread;
	SAY(pthread_create(&thread, NULL, compute, NULL));
	nanosleep(&moment, NULL);
	puts("while another computes");
	atomic_store(&turn, 1);
	SAY(pthread_join(thread, NULL));
	atomic_store(&turn, 0);
	signal(SIGALRM, on_alarm);
	SAY(setitimer(ITIMER_REAL, &soon, NULL));
	compute(NULL);
	SAY(atomic_load(&turn));
	/* To a thread that computes, as Go does. */
	atomic_store(&turn, 0);
	signal(SIGURG, on_alarm);
	SAY(pthread_create(&thread, NULL, compute, NULL));
	nanosleep(&moment, NULL);
	SAY(pthread_kill(thread, SIGURG));
	SAY(pthread_join(thread, NULL));
	SAY(atomic_load(&turn));
}

#define WIDE   (UINT64_C(1) << 36)
#define MIB(n) ((size_t)(n) << 20)

static void reserved(void)
{
	int ends[2];
	char *wide =
		mmap(NULL, WIDE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	SAY(wide != MAP_FAILED);
	SAY(pipe(ends));
	SAY(write(ends[1], wide + MIB(5), 1));
	SAY(mprotect(wide + MIB(5) + 4096, MIB(2), PROT_READ | PROT_WRITE));
	SAY(write(ends[1], wide + MIB(5), 1));
	SAY(write(ends[1], wide + MIB(5) + 4096, 1));
	SAY(wide[MIB(6)]);
	memset(wide + MIB(6), 7, MIB(1));
	SAY(mmap(wide + MIB(6) + 8192, 4096, PROT_READ | PROT_WRITE,
		    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == wide + MIB(6) + 8192);
	SAY(wide[MIB(6) + 8192]);
	SAY(wide[MIB(6) + 4096]);
	SAY(madvise(wide + MIB(6), 4096, MADV_DONTNEED));
	SAY(wide[MIB(6)]);
	wide[MIB(6)] = 1;
	pid_t child = fork();
	if (child == 0) {
		wide[MIB(6)] += 40;
		(void)mprotect(wide + (WIDE >> 1), 4096, PROT_READ | PROT_WRITE);
		_exit(wide[MIB(6)] + wide[MIB(6) + 4096]);
	}
	int status = 0;
	SAY(waitpid(child, &status, 0) == child);
	SAY(WEXITSTATUS(status));
	SAY(wide[MIB(6)]);
	SAY(write(ends[1], wide + (WIDE >> 1), 1));
	SAY(mprotect(wide + MIB(6), 4096, PROT_READ));
	SAY(read(ends[0], wide + MIB(6), 1));
	SAY(munmap(wide + MIB(6), MIB(64)));
	SAY(write(ends[1], wide + MIB(6), 1));
	SAY(mprotect(wide + MIB(6), 4096, PROT_READ));
	SAY(mprotect(wide + MIB(80), 4096, PROT_READ | PROT_WRITE));
	wide[MIB(80)] = 3;
	SAY(munmap(wide, WIDE));
	SAY(write(ends[1], wide + MIB(80), 1));
	close(ends[0]);
	close(ends[1]);
}

/* By a call whose number nobody sees in the program: the child uses the parent's stack until it ends. */
static void lent(void)
{
	volatile long number = SYS_vfork;
	long id = number;
	int status = 0;
	__asm__ volatile("syscall" : "+a"(id) : : "rcx", "r11", "memory");
	if (id == 0) {
		(void)getppid();
		_exit(9);
	}
	siginfo_t info = {};
	SAY(id > 0);
	SAY(waitid(P_PID, (id_t)id, &info, WEXITED | WNOWAIT));
	SAY(info.si_status);
	SAY(waitpid((pid_t)id, &status, 0) == id);
	SAY(WEXITSTATUS(status));
	SAY(waitpid((pid_t)id, &status, 0));
}

/* Linux's answers, but for memory that becomes executable: that is never there, and said at the end. */
void missing(void)
{
	SAY(syscall(999));
	SAY(syscall((UINT64_C(1) << 40) + SYS_close, -1));
	SAY(mprotect(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		4096, PROT_READ | PROT_EXEC));
}

void spells(void)
{
	interrupted();
	reserved();
	lent();
}
