/* SPDX-License-Identifier: Apache-2.0 */
/*
 * areas_processes.c - a parent that goes on beside its children, and what is theirs together.
 */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "areas.h"

static volatile int own = 1;
static volatile sig_atomic_t got;

static void nap(long ms)
{
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	nanosleep(&time, NULL);
}

static void on_signal(int signal)
{
	got += signal;
}

/* Each has its own memory while words go to and fro. */
static void talk(void)
{
	int to[2], from[2], status = 0;
	char *heap = malloc(100000), word[16] = {};
	SAY(pipe(to));
	SAY(pipe(from));
	memset(heap, 'p', 100000);
	pid_t child = fork();
	if (child == 0) {
		close(to[1]);
		close(from[0]);
		for (ssize_t size; (size = read(to[0], word, sizeof(word))) > 0;) {
			for (ssize_t i = 0; i < size; i++)
				word[i] = (char)(word[i] - 'a' + 'A');
			own++;
			memset(heap, word[0], 100000);
			if (write(from[1], word, (size_t)size) != size)
				_exit(1);
		}
		_exit(own + heap[99999]);
	}
	close(to[0]);
	close(from[1]);
	for (int i = 0; i < 5; i++) {
		SAY(write(to[1], "hello", 5));
		SAY(read(from[0], word, sizeof(word)));
		printf("%.5s %c %d\n", word, heap[50000], own);
	}
	SAY(waitpid(child, &status, WNOHANG));
	close(to[1]);
	SAY(waitpid(child, &status, 0) == child);
	SAY(WEXITSTATUS(status));
	SAY(read(from[0], word, sizeof(word)));
	close(from[0]);
	free(heap);
}

/* More than a pipe holds, from one child to another. */
static void pipeline(void)
{
	static char bytes[300000];
	int ends[2], status = 0;
	SAY(pipe(ends));
	pid_t writer = fork();
	if (writer == 0) {
		memset(bytes, 7, sizeof(bytes));
		_exit(write(ends[1], bytes, sizeof(bytes)) != sizeof(bytes));
	}
	pid_t reader = fork();
	if (reader == 0) {
		long sum = 0;
		close(ends[1]);
		for (ssize_t size; (size = read(ends[0], bytes, 10000)) > 0;)
			for (ssize_t i = 0; i < size; i++)
				sum += bytes[i];
		_exit(sum == 7 * 300000L ? 5 : 6);
	}
	close(ends[0]);
	close(ends[1]);
	SAY(waitpid(reader, &status, 0) == reader);
	SAY(WEXITSTATUS(status));
	SAY(waitpid(writer, &status, 0) == writer);
	SAY(WEXITSTATUS(status));
	SAY(wait(&status));
}

static void shared(void)
{
	int status = 0;
	char *both = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	atomic_int *word = (atomic_int *)(void *)both;
	SAY(both != MAP_FAILED);
	for (int i = 0; i < 3; i++)
		if (fork() == 0) {
			atomic_fetch_add(word, 10);
			(void)munmap(both + 4096, 4096);
			while (atomic_load(word + 1) == 0)
				syscall(SYS_futex, word + 1, FUTEX_WAIT, 0, NULL, NULL, 0);
			_exit(atomic_load(word + 1));
		}
	while (atomic_load(word) < 30)
		nap(1);
	both[4096] = 1;
	atomic_store(word + 1, 9);
	SAY(syscall(SYS_futex, word + 1, FUTEX_WAKE, 10, NULL, NULL, 0) >= 0);
	for (int i = 0; i < 3; i++) {
		SAY(wait(&status) > 0);
		SAY(WEXITSTATUS(status));
	}
	SAY(atomic_load(word));
	SAY(munmap(both, 8192));
}

static void killed(void)
{
	int status = 0;
	siginfo_t info = {};
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(1);
	}
	SAY(kill(child, 0));
	SAY(waitpid(child, &status, WNOHANG));
	SAY(kill(child, SIGTERM));
	SAY(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
	SAY(info.si_code == CLD_KILLED);
	SAY(info.si_status);
	SAY(waitpid(child, &status, 0) == child);
	SAY(WTERMSIG(status));
	SAY(kill(child, 0));
	signal(SIGUSR1, on_signal);
	signal(SIGCHLD, on_signal);
	pid_t parent = getpid();
	child = fork();
	if (child == 0) {
		(void)kill(parent, SIGUSR1);
		while (!got)
			nap(1);
		fflush(stdout);
		_exit(got);
	}
	while (got != SIGUSR1)
		pause();
	SAY(got);
	SAY(kill(child, SIGUSR1));
	while (got == SIGUSR1)
		pause();
	SAY(got);
	SAY(waitpid(child, &status, 0) == child);
	SAY(WEXITSTATUS(status));
	signal(SIGCHLD, SIG_IGN);
	if (fork() == 0)
		_exit(0);
	SAY(wait(&status));
	signal(SIGCHLD, SIG_DFL);
	/* Each has its own alarm. */
	got = 0;
	signal(SIGALRM, on_signal);
	child = fork();
	if (child == 0) {
		ualarm(20000, 0);
		pause();
		_exit(got);
	}
	SAY(alarm(100));
	SAY(waitpid(child, &status, 0) == child);
	SAY(WEXITSTATUS(status));
	SAY(got);
	SAY(alarm(0) > 90);
}

static void *wait_for_ever(void *data)
{
	pause();
	return data;
}

static void teams(void)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		SAY(getpgid(0) == getpgid(getppid()));
		SAY(setsid() == getpid());
		SAY(getsid(0) == getpid());
		SAY(getpgrp() == getpid());
		SAY(setsid());
		SAY(setpgid(0, 0));
		fflush(stdout);
		for (int i = 0; i < 2; i++)
			if (fork() == 0) {
				pause();
				_exit(0);
			}
		signal(SIGTERM, SIG_IGN);
		nap(10);
		SAY(kill(0, SIGTERM));
		for (int i = 0; i < 2; i++) {
			SAY(wait(&status) > 0);
			SAY(WTERMSIG(status));
		}
		fflush(stdout);
		/* Its threads end with it. */
		pthread_t thread;
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		nap(5);
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		_exit(3);
	}
	SAY(waitpid(child, &status, 0) == child);
	SAY(WEXITSTATUS(status));
	SAY(getpgid(child));
	/* A program that one of several threads executes is alone. */
	child = fork();
	if (child == 0) {
		pthread_t thread;
		pthread_create(&thread, NULL, wait_for_ever, NULL);
		nap(5);
		execl("/proc/self/exe", "areas", "nothing", NULL);
		_exit(1);
	}
	SAY(waitpid(child, &status, 0) == child);
	SAY(WEXITSTATUS(status));
}

void processes(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	talk();
	pipeline();
	shared();
	killed();
	teams();
}
