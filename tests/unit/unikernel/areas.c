/* SPDX-License-Identifier: Apache-2.0 */
/*
 * areas.c - one static program that does what programs do, area by area, and says what came of it.
 *
 * It runs on Linux and alone with the library OS, and what it says has to be the same.
 *
 * usage: areas AREA
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "areas.h"

void say(const char *what, long result)
{
	printf("%s: %ld%s%s\n", what, result, result < 0 ? " " : "",
		result < 0 ? strerrorname_np(errno) : "");
}

static volatile uintptr_t nowhere = 8;

/* What a descriptor's name stands for, and how nice a process is. */
static void names(void)
{
	int ends[2];
	char name[32];
	struct stat status = {};
	SAY(pipe(ends));
	(void)snprintf(name, sizeof(name), "/dev/fd/%d", ends[0]);
	SAY(stat(name, &status));
	SAY(S_ISFIFO(status.st_mode));
	SAY(access(name, R_OK));
	SAY(access(name, X_OK));
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[1] + 1);
	SAY(stat(name, &status));
	close(ends[0]);
	close(ends[1]);
	SAY(setpriority(PRIO_PROCESS, 0, 7));
	SAY(getpriority(PRIO_PROCESS, 0));
	SAY(nice(100));
	SAY(setpriority(4, 0, 0));
}

static void files(void)
{
	char text[64] = {};
	struct stat status;
	SAY(mkdir("/tmp/areas", 0700));
	SAY(chdir("/tmp/areas"));
	SAY(open("none", O_RDONLY));
	int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0640);
	SAY(fd);
	SAY(open("a", O_RDWR | O_CREAT | O_EXCL, 0640));
	SAY(write(fd, "hello world", 11));
	SAY(lseek(fd, -5, SEEK_END));
	SAY(read(fd, text, sizeof(text)));
	puts(text);
	SAY(pwrite(fd, "X", 1, 10000));
	SAY(fstat(fd, &status));
	printf("%o %ld %ld\n", status.st_mode, (long)status.st_size, (long)status.st_nlink);
	SAY(fallocate(fd, 0, 100, 20000));
	SAY(fallocate(fd, 0, 0, 10));
	SAY(fallocate(fd, 0, -1, 10));
	SAY(fallocate(fd, 0, 0, 0));
	SAY(fallocate(fd, 0, 1, INT64_MAX));
	SAY(lseek(fd, 0, SEEK_END));
	SAY(pread(fd, text, 1, 20099));
	SAY(text[0]);
	SAY(ftruncate(fd, 5));
	SAY(ftruncate(fd, 1 << 20));
	SAY(fstat(fd, &status));
	SAY(status.st_blocks);
	SAY(pwrite(fd, "X", 1, 500000));
	SAY(fstat(fd, &status));
	SAY(status.st_blocks);
	SAY(ftruncate(fd, 5));
	SAY(pread(fd, text, sizeof(text), 0));
	SAY(link("a", "b"));
	SAY(stat("b", &status));
	printf("%ld\n", (long)status.st_nlink);
	SAY(rename("b", "c"));
	SAY(unlink("a"));
	SAY(symlink("c", "link"));
	SAY(readlink("link", text, sizeof(text)));
	SAY(lstat("link", &status));
	printf("%o %ld\n", status.st_mode, (long)status.st_size);
	SAY(access("link", W_OK));
	SAY(symlink("loop", "loop"));
	SAY(open("loop", O_RDONLY));
	SAY(rmdir("/tmp/areas/c"));
	SAY(mkdir("d", 0755));
	SAY(rename("c", "d/c"));
	SAY(rmdir("d"));
	SAY(rename("d", "d/e"));
	SAY(open("d", O_WRONLY));
	SAY(read(99, text, 1));
	SAY(write(fd, (void *)nowhere, 4));
	int copy = fcntl(fd, F_DUPFD, 40);
	SAY(copy);
	SAY(lseek(copy, 0, SEEK_CUR) == lseek(fd, 0, SEEK_CUR));
	SAY(fcntl(copy, F_GETFD));
	SAY(fcntl(copy, F_SETFD, FD_CLOEXEC));
	SAY(fcntl(copy, F_GETFD));
	SAY(dup2(copy, 41));
	SAY(close(copy));
	SAY(close(copy));
	struct iovec parts[] = { { (char[]){ "ab" }, 2 }, { (char[]){ "cde" }, 3 } };
	SAY(writev(41, parts, 2));
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	printf("%.5s\n", (char *)map);
	memcpy(map, "J", 1);
	SAY(pread(fd, text, 5, 0));
	printf("%.5s\n", text);
	SAY(isatty(fd));
	printf("%s\n", getcwd(text, sizeof(text)));
	SAY(unlink("d/c"));
	SAY(unlink("link"));
	SAY(unlink("loop"));
	SAY(rmdir("d"));
	SAY(chdir("/"));
	SAY(rmdir("/tmp/areas"));
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);
	SAY(read(null, text, 5));
	SAY(read(zero, text, 5));
	SAY(write(open("/dev/full", O_WRONLY), "x", 1));
}

static void waiting(void)
{
	int ends[2];
	char text[64];
	SAY(pipe2(ends, O_NONBLOCK));
	SAY(read(ends[0], text, 1));
	struct pollfd list[] = { { ends[0], POLLIN, 0 }, { ends[1], POLLOUT, 0 },
		{ 77, POLLIN, 0 } };
	SAY(poll(list, 3, 0));
	printf("%d %d %d\n", list[0].revents, list[1].revents, list[2].revents);
	SAY(poll(list, 1, 20));
	SAY(write(ends[1], "abc", 3));
	SAY(poll(list, 1, -1));
	int e = epoll_create1(0);
	struct epoll_event event = { EPOLLIN | EPOLLET, { .u64 = 5 } }, got[4];
	SAY(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &event));
	SAY(epoll_ctl(e, EPOLL_CTL_ADD, ends[0], &event));
	SAY(epoll_wait(e, got, 4, 10000));
	SAY(epoll_wait(e, got, 4, 0));
	SAY(write(ends[1], "d", 1));
	SAY(epoll_wait(e, got, 4, 10000));
	event.events = EPOLLIN | EPOLLONESHOT;
	SAY(epoll_ctl(e, EPOLL_CTL_MOD, ends[0], &event));
	SAY(epoll_wait(e, got, 4, 10000));
	SAY(epoll_wait(e, got, 4, 0));
	event.events = EPOLLIN;
	SAY(epoll_ctl(e, EPOLL_CTL_MOD, ends[0], &event));
	SAY(epoll_wait(e, got, 4, 0));
	SAY(epoll_wait(e, got, 4, 0));
	SAY(read(ends[0], text, sizeof(text)));
	SAY(close(ends[1]));
	SAY(poll(list, 1, 0));
	printf("%d\n", list[0].revents);
	SAY(read(ends[0], text, 1));
	int counter = eventfd(3, EFD_NONBLOCK);
	uint64_t value = 4;
	SAY(write(counter, &value, 8));
	SAY(read(counter, &value, 8));
	SAY(value);
	SAY(read(counter, &value, 8));
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec when = { { 0, 0 }, { 0, 20000000 } };
	SAY(timerfd_settime(timer, 0, &when, NULL));
	SAY(read(timer, &value, 8));
	SAY(value);
	int pair[2];
	SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	SAY(send(pair[0], "xyz", 3, 0));
	SAY(recv(pair[1], text, sizeof(text), 0));
	SAY(shutdown(pair[0], SHUT_WR));
	SAY(recv(pair[1], text, sizeof(text), 0));
	SAY(send(pair[0], "x", 1, MSG_NOSIGNAL));
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pair[1], &set);
	SAY(select(pair[1] + 1, &set, NULL, NULL, NULL));
	struct timespec before, after, nap = { 0, 30000000 };
	clock_gettime(CLOCK_MONOTONIC, &before);
	SAY(nanosleep(&nap, NULL));
	clock_gettime(CLOCK_MONOTONIC, &after);
	long ms =
		(after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	SAY(ms >= 29 && ms < 60000);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long turns;
static __thread long mine;

static void *take_turns(void *data)
{
	long self = (long)data;
	double sum = 0;
	for (int i = 0; i < 1000; i++) {
		pthread_mutex_lock(&lock);
		while (turns % 4 != self)
			pthread_cond_wait(&changed, &lock);
		turns++;
		mine++;
		sum += 1.0 / (double)(self + 1);
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return (void *)(long)(sum * 10 + (double)mine);
}

/* A bit for each that is as it should be, also after others have run. */
static void *thread_who(void *process)
{
	const pid_t self = gettid();
	long right = 0;
	for (int i = 0; i < 3; i++) {
		right |= gettid() == self ? 1 : 8;
		right |= (long)getpid() == (long)process ? 2 : 16;
		right |= (long)self != (long)process ? 4 : 32;
		sched_yield();
	}
	return (void *)right;
}

static int child_who(pid_t parent, int depth)
{
	int status = 0;
	if (fork() == 0)
		_exit((getppid() == parent) | (getpid() == gettid()) << 1 |
			(getpid() != parent) << 2 |
			(depth ? child_who(getpid(), depth - 1) : 0) << 3);
	wait(&status);
	return WEXITSTATUS(status);
}

static void who(void)
{
	const pid_t process = getpid(), parent = getppid();
	pthread_t list[3];
	SAY(gettid() == process);
	for (int i = 0; i < 3; i++)
		pthread_create(&list[i], NULL, thread_who, (void *)(long)process);
	for (int i = 0; i < 3; i++) {
		void *right = NULL;
		pthread_join(list[i], &right);
		printf("who: %ld\n", (long)right);
	}
	SAY(child_who(process, 1));
	SAY(getpid() == process && getppid() == parent && gettid() == process);
}

static void threads(void)
{
	who();
	pthread_t list[4];
	for (long i = 0; i < 4; i++)
		SAY(pthread_create(&list[i], NULL, take_turns, (void *)i));
	for (int i = 0; i < 4; i++) {
		void *result = NULL;
		pthread_join(list[i], &result);
		printf("thread %d: %ld\n", i, (long)result);
	}
	printf("turns %ld mine %ld\n", turns, mine);
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 20000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&lock);
	printf("%s\n", strerrorname_np(pthread_cond_timedwait(&changed, &lock, &until)));
	pthread_mutex_unlock(&lock);
}

static volatile int seen, seen_code;
static volatile double kept = 1.5;
static sigjmp_buf back;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	seen = number;
	seen_code = info->si_code;
	kept *= 3.0;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	printf("fault %d code %d at %ld\n", number, info->si_code,
		number == SIGSEGV ? (long)info->si_addr : 0L);
	siglongjmp(back, 1);
}

static void signals(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	sigset_t set, pending;
	char byte;
	int ends[2];
	SAY(sigaction(SIGUSR1, &action, NULL));
	SAY(sigaction(SIGALRM, &action, NULL));
	SAY(raise(SIGUSR1));
	printf("%d %d %.2f\n", seen, seen_code, kept);
	SAY(kill(getpid(), SIGUSR1));
	printf("%d %d\n", seen, seen_code);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	seen = 0;
	SAY(sigprocmask(SIG_BLOCK, &set, NULL));
	SAY(raise(SIGUSR1));
	SAY(seen);
	SAY(sigpending(&pending));
	SAY(sigismember(&pending, SIGUSR1));
	SAY(sigprocmask(SIG_UNBLOCK, &set, NULL));
	SAY(seen);
	SAY(pipe(ends));
	/* Again and again: on a busy host the first one may come before the call that it shall end. */
	struct itimerval soon = { { 0, 30000 }, { 0, 30000 } };
	SAY(setitimer(ITIMER_REAL, &soon, NULL));
	SAY(read(ends[0], &byte, 1));
	soon = (struct itimerval){};
	SAY(setitimer(ITIMER_REAL, &soon, NULL));
	SAY(seen);
	SAY(sigaction(SIGPIPE, &action, NULL));
	SAY(close(ends[0]));
	SAY(write(ends[1], "x", 1));
	SAY(seen);
	action.sa_sigaction = on_fault;
	SAY(sigaction(SIGSEGV, &action, NULL));
	SAY(sigaction(SIGFPE, &action, NULL));
	SAY(sigaction(SIGILL, &action, NULL));
	if (!sigsetjmp(back, 1))
		*(volatile int *)16 = 1;
	volatile int zero = 0;
	if (!sigsetjmp(back, 1))
		printf("%d\n", 1 / zero);
	if (!sigsetjmp(back, 1))
		__builtin_trap();
	SAY(read(ends[1], &byte, 1));
}

static void memory(void)
{
	char *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SAY(map != MAP_FAILED);
	memset(map, 7, 1 << 20);
	SAY(munmap(map + 4096, 4096));
	SAY(madvise(map, 4096, MADV_DONTNEED));
	SAY(map[0]);
	SAY(map[8192]);
	char *more = mremap(map + 8192, (1 << 20) - 8192, 4 << 20, MREMAP_MAYMOVE);
	SAY(more != MAP_FAILED);
	SAY(more[100]);
	SAY(more[3 << 20]);
	SAY(mprotect(more, 4096, PROT_READ));
	SAY(munmap(more, 4 << 20));
	int file = open("/tmp/areas-map", O_RDWR | O_CREAT | O_TRUNC, 0600);
	SAY(ftruncate(file, 10000));
	char *shared = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	SAY(shared != MAP_FAILED);
	memcpy(shared + 4090, "across pages", 12);
	SAY(msync(shared, 10000, MS_SYNC));
	char text[16] = {};
	SAY(pread(file, text, 12, 4090));
	puts(text);
	shared[9999] = 'z';
	SAY(munmap(shared, 10000));
	SAY(pread(file, text, 12, 9990));
	SAY(text[9]);
	close(file);
	SAY(unlink("/tmp/areas-map"));
	char *list[100];
	for (int i = 0; i < 100; i++)
		memset(list[i] = malloc((size_t)i * 5000 + 1), i, (size_t)i * 5000 + 1);
	long sum = 0;
	for (int i = 0; i < 100; i++) {
		sum += list[i][i * 5000];
		free(list[i]);
	}
	SAY(sum);
}

int main(int count, char **words)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} areas[] = { { "names", names }, { "files", files }, { "waiting", waiting },
		{ "threads", threads }, { "signals", signals }, { "memory", memory },
		{ "sockets", sockets }, { "processes", processes }, { "spells", spells },
		{ "missing", missing }, { "edges", edges } };
	for (size_t i = 0; count == 2 && i < sizeof(areas) / sizeof(areas[0]); i++)
		if (strcmp(words[1], areas[i].name) == 0) {
			areas[i].run();
			return 0;
		}
	return 2;
}
