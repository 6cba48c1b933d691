/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - clone, exec and pidfds.
 *
 * Theory of operation. process_spawn() makes the child with CLONE_VM and CLONE_VFORK on a stack of its
 * own: the caller's memory is shared, not copied, and the caller sleeps until the child has executed
 * the program or given up, so its failure is simply a variable. A child that shall be born in a cgroup
 * needs clone3, which glibc does not wrap, so that one is a fork and tells through a pipe.
 */
#include "host/process.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/text.h"

#define SPAWN_STACK_BYTES (64 * KIB)
#define FIRST_NAMED_FD    3

struct spawn {
	const struct process_options *options;
	char *const *args;
	char *const *env;
	sigset_t mask; /* of the caller */
	int failed;    /* errno */
	const char *failed_at;
};

static int give_up(struct spawn *spawn, const char *at)
{
	spawn->failed = errno;
	spawn->failed_at = at;
	return 127;
}

static void reset_signals(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL };
	for (int signal = 1; signal < NSIG; signal++)
		(void)sigaction(signal, &action, NULL);
	sigset_t none;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Moves `fd` out of the way of the numbers that will be given out. */
static int out_of_the_way(int fd, int above)
{
	if (fd < 0)
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	return fcntl(fd, F_DUPFD_CLOEXEC, above);
}

static int place_fds(const struct process_options *options)
{
	int above = FIRST_NAMED_FD + (int)options->fd_count;
	int moved[FIRST_NAMED_FD + PROCESS_FDS_MAX];
	int program = options->program_fd;
	const int standard[] = { options->stdin_fd, options->stdout_fd, options->stderr_fd };
	for (int i = 0; i < above; i++) {
		int fd = i < FIRST_NAMED_FD ? standard[i] : options->fds[i - FIRST_NAMED_FD].fd;
		moved[i] = out_of_the_way(fd, above + 1);
		if (moved[i] < 0)
			return -1;
	}
	if (program > 0) {
		program = fcntl(program, F_DUPFD_CLOEXEC, above + 1);
		if (program < 0 || dup3(program, above, O_CLOEXEC) < 0)
			return -1;
	}
	for (int i = 0; i < above; i++)
		if (dup2(moved[i], i) < 0)
			return -1;
	unsigned int first = (unsigned int)above + (program > 0);
	return close_range(first, ~0U, CLOSE_RANGE_CLOEXEC);
}

static int run_child(void *data)
{
	struct spawn *spawn = data;
	const struct process_options *options = spawn->options;
	reset_signals();
	if (options->new_session)
		(void)setsid();
	if (options->die_with_us && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return give_up(spawn, "prctl");
	if (place_fds(options) < 0)
		return give_up(spawn, "descriptors");
	if (options->same_addresses)
		(void)personality((unsigned long)personality(UINT32_MAX) | ADDR_NO_RANDOMIZE);
	if (options->program_fd > 0)
		syscall(SYS_execveat, FIRST_NAMED_FD + (int)options->fd_count, "", spawn->args,
			spawn->env, AT_EMPTY_PATH);
	else
		execve(options->program, spawn->args, spawn->env);
	return give_up(spawn, "execute");
}

static int spawn_shared(struct spawn *spawn, struct process *ret)
{
	char *stack = mmap(NULL, SPAWN_STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	int pidfd = -1;
	/* Handlers of the caller must not run in the child that shares its memory. */
	sigset_t all, before;
	sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	pid_t pid = clone(run_child, stack + SPAWN_STACK_BYTES,
		CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD |
			(spawn->options->own_pids ? CLONE_NEWPID : 0),
		spawn, &pidfd);
	int code = pid < 0 ? -errno : 0;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	munmap(stack, SPAWN_STACK_BYTES);
	if (code < 0)
		return code;
	*ret = (struct process){ .pid = pid, .pidfd = pidfd };
	return 0;
}

static int spawn_forked(struct spawn *spawn, struct process *ret)
{
	int tell[2];
	if (pipe2(tell, O_CLOEXEC) < 0)
		return -errno;
	int pidfd = -1;
	pid_t pid = process_clone(
		spawn->options->own_pids ? CLONE_NEWPID : 0, spawn->options->cgroup_fd, &pidfd);
	if (pid == 0) {
		/* The number may be one that is given out: keep the pipe away from them. */
		int away = fcntl(tell[1], F_DUPFD_CLOEXEC, 3 * PROCESS_FDS_MAX);
		if (away >= 0) {
			run_child(spawn);
			(void)!write(away, &spawn->failed, sizeof(spawn->failed));
		}
		_exit(127);
	}
	close(tell[1]);
	if (pid > 0) {
		int failed = 0;
		if (read(tell[0], &failed, sizeof(failed)) == sizeof(failed)) {
			spawn->failed = failed;
			spawn->failed_at = "execute";
		}
		*ret = (struct process){ .pid = pid, .pidfd = pidfd };
	}
	close(tell[0]);
	return pid < 0 ? pid : 0;
}

static char *named_fds(const struct process_options *options)
{
	struct text text = {};
	text_add(&text, "BERTH_FDS=");
	for (size_t i = 0; i < options->fd_count; i++)
		text_printf(
			&text, "%s%s=%zu", i ? "," : "", options->fds[i].name, i + FIRST_NAMED_FD);
	return text_take(&text);
}

/* The environment of the program: an array the caller frees, of borrowed strings. */
static char **make_env(const struct process_options *options, char *fds)
{
	const char *const *from =
		options->env ? options->env : (const char *const *)(uintptr_t)environ;
	size_t count = 0;
	while (from && from[count])
		count++;
	char **env = alloc_array(count + 2, char *);
	size_t used = 0;
	for (size_t i = 0; i < count; i++)
		if (!text_starts(from[i], "BERTH_FDS="))
			env[used++] = (char *)(uintptr_t)from[i];
	if (options->fd_count > 0)
		env[used] = fds;
	return env;
}

int process_spawn(const struct process_options *options, struct process *ret, struct error *e)
{
	assert(options->fd_count <= PROCESS_FDS_MAX);
	cleanup(free) char *fds = named_fds(options);
	cleanup(free) char **env = make_env(options, fds);
	const char *const fallback[] = { options->program, NULL };
	const char *const *args = options->args ? options->args : fallback;
	struct spawn spawn = {
		.options = options,
		.args = (char *const *)(uintptr_t)args,
		.env = env,
	};
	struct process process = { .pidfd = -1 };
	int r = options->cgroup_fd > 0 ? spawn_forked(&spawn, &process)
				       : spawn_shared(&spawn, &process);
	const char *name = options->program ? options->program : args[0];
	if (r < 0)
		return error_code(e, r, "start %s", name);
	if (spawn.failed) {
		int status;
		(void)!process_wait(process.pidfd, &status);
		close(process.pidfd);
		return error_code(e, -spawn.failed, "start %s: %s", name, spawn.failed_at);
	}
	*ret = process;
	return 0;
}

pid_t process_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
	int pidfd = -1;
	struct clone_args args = {
		.flags = flags | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	if (cgroup_fd > 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return -errno;
	if (pid > 0)
		*ret_pidfd = pidfd;
	return (pid_t)pid;
}

int process_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return fd < 0 ? -errno : fd;
}

int process_signal(int pidfd, int signal)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int process_wait(int pidfd, int *ret_wait_status)
{
	siginfo_t info = {};
	int r;
	do
		r = waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (info.si_code == CLD_EXITED)
		*ret_wait_status = (info.si_status & 0xff) << 8;
	else
		*ret_wait_status = info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
	return 0;
}

int process_named_fd(const char *name)
{
	const char *fds = getenv("BERTH_FDS");
	size_t length = strlen(name);
	for (const char *at = fds; at && *at; at += strcspn(at, ","), at += *at == ',') {
		if (strncmp(at, name, length) != 0 || at[length] != '=')
			continue;
		const char *digits = at + length + 1;
		cleanup(free) char *number = alloc_text_n(digits, strcspn(digits, ","));
		uint64_t fd;
		if (text_to_u64(number, &fd) < 0 || fd < FIRST_NAMED_FD || fd > 65535)
			return -EINVAL;
		if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
		return (int)fd;
	}
	return -ENOENT;
}

void process_advise_program(int advice)
{
	extern const Elf64_Ehdr __ehdr_start; /* the linker's: where the program lies */
	uintptr_t program = (uintptr_t)&__ehdr_start;
	const Elf64_Phdr *header = (const Elf64_Phdr *)(program + __ehdr_start.e_phoff);
	uintptr_t bias = __ehdr_start.e_type == ET_DYN ? program : 0;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	for (unsigned i = 0; i < __ehdr_start.e_phnum; i++) {
		if (header[i].p_type != PT_LOAD || (header[i].p_flags & PF_W))
			continue;
		uintptr_t start = (bias + header[i].p_vaddr) & ~(page - 1);
		uintptr_t end = bias + header[i].p_vaddr + header[i].p_memsz;
		(void)madvise((void *)start, end - start, advice);
	}
}
