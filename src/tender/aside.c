/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aside.c - a second process of an instance: the same image, user, groups and limits, and the same files, beside the first.
 */
#include "tender/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "abi/boot.h"
#include "base/file.h"
#include "host/process.h"
#include "tender/build.h"
#include "tender/enter.h"
#include "tender/process.h"

/* Killed before the first process when memory is short. */
#define OOM_FIRST "1000"

struct made {
	const struct aside *aside;
	int image, volume, ready[2];
	const void *root, *program;
	uint64_t root_bytes, volume_bytes;
	size_t program_bytes;
	struct report *report; /* says whether it began */
};

static int map_file(
	int fd, const char *path, const void **ret, uint64_t *ret_bytes, struct error *e)
{
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open %s", path);
	void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return error_errno(e, "map %s", path);
	*ret = data;
	*ret_bytes = (uint64_t)status.st_size;
	return 0;
}

static int open_volume(struct made *made, struct error *e)
{
	const struct aside *aside = made->aside;
	if (!aside->plan->volume)
		return 0;
	made->volume = open(
		aside->plan->volume, (aside->writes ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC);
	off_t bytes = made->volume < 0 ? -1 : lseek(made->volume, 0, SEEK_END);
	if (bytes < 0)
		return error_errno(e, "open %s", aside->plan->volume);
	made->volume_bytes = (uint64_t)bytes;
	return aside->writes ? build_volume(made->volume, made->volume_bytes, e) : 0;
}

static int open_all(struct made *made, struct error *e)
{
	const struct aside *aside = made->aside;
	uint64_t bytes = 0;
	int r = build_image(aside->plan, e);
	if (r < 0)
		return r;
	made->image = open(aside->plan->image, O_RDONLY | O_CLOEXEC);
	r = map_file(made->image, aside->plan->image, &made->root, &made->root_bytes, e);
	if (r == 0 && aside->program) {
		cleanup(close) int fd = open(aside->program, O_RDONLY | O_CLOEXEC);
		r = map_file(fd, aside->program, &made->program, &bytes, e);
		made->program_bytes = bytes;
	}
	if (r == 0)
		r = open_volume(made, e);
	if (r < 0)
		return r;
	made->report = mmap(NULL, sizeof(*made->report), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made->report == MAP_FAILED)
		return error_errno(e, "map a page");
	return pipe2(made->ready, O_CLOEXEC) < 0 ? error_errno(e, "make a pipe") : 0;
}

static void close_all(struct made *made)
{
	int *const fds[] = { &made->image, &made->volume, &made->ready[0], &made->ready[1] };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (*fds[i] >= 0)
			close(TAKE_FD(*fds[i]));
	if (made->root)
		munmap((void *)(uintptr_t)made->root, made->root_bytes);
	if (made->program)
		munmap((void *)(uintptr_t)made->program, made->program_bytes);
	if (made->report && made->report != MAP_FAILED)
		munmap(made->report, sizeof(*made->report));
}

static int take_streams(const struct aside *aside, struct error *e)
{
	if (setsid() < 0 || (aside->has_terminal && ioctl(aside->stdio[0], TIOCSCTTY, 0) < 0))
		return error_errno(e, "take the terminal");
	int kept[3];
	for (int i = 0; i < 3; i++) {
		kept[i] = aside->stdio[i] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC)
					      : fcntl(aside->stdio[i], F_DUPFD_CLOEXEC, 10);
		if (kept[i] < 0)
			return error_errno(e, "take the streams");
	}
	for (int i = 0; i < 3; i++)
		if (dup2(kept[i], i) < 0)
			return error_errno(e, "take the streams");
	return 0;
}

/* In the child: returns only if it failed. */
static int become(const struct made *made, pid_t parent, struct error *e)
{
	const struct aside *aside = made->aside;
	const struct tender_plan *plan = aside->plan;
	struct card none = {}; /* but the name */
	cleanup(free) char *name = alloc_printf("--host-name=%s", plan->name);
	int named = card_take_option(&none, name, e);
	if (named < 0)
		return named;
	struct unikernel_options options = { .memory_bytes = plan->memory_bytes,
		.root = made->root,
		.root_bytes = made->root_bytes,
		.root_fd = made->image,
		.card = &none,
		.volume_fd = made->volume < 0 ? 0 : made->volume,
		.volume_bytes = made->volume_bytes,
		.is_volume_private = made->volume >= 0 && !aside->writes,
		.is_named = !aside->program,
		.directory = aside->cwd,
		.ready_fd = made->ready[1],
		.report = made->report };
	options.arguments = enter_words(aside->arguments, &options.argument_count);
	options.environment = enter_words(aside->environment, &options.environment_count);
	int r = enter_groups(plan->cgroups, e);
	if (r == 0)
		(void)!file_write_value_f(AT_FDCWD, "/proc/self/oom_score_adj", OOM_FIRST);
	if (r == 0)
		r = take_streams(aside, e);
	if (r == 0)
		r = enter_nothing(plan->uid, e);
	if (r < 0)
		return r;
	/* After the last change of user, which would undo it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		return error_set(e, -ESRCH, "the helper has gone");
	return process_run(made->program, made->program_bytes, &options, e);
}

static int why_ended(int status, struct error *e)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == BOOT_NOT_FOUND)
		return error_set(e, -ENOENT, "the image has no such program");
	if (WIFEXITED(status) && WEXITSTATUS(status) == BOOT_NOT_A_PROGRAM)
		return error_set(e, -EACCES, "it is no program of the image that can run");
	return error_set(e, -EIO, "it ended before its program began (status %d)", status);
}

static int wait_until_locked(
	const struct made *made, const struct aside_process *process, struct error *e)
{
	struct error told = {};
	int status;
	ssize_t got;
	do
		got = read(made->ready[0], &told, sizeof(told));
	while (got < 0 && errno == EINTR);
	if (got != sizeof(told) && __atomic_load_n(&made->report->started_ns, __ATOMIC_RELAXED))
		return 0;
	(void)!process_signal(process->pidfd, SIGKILL);
	int r = process_wait(process->pidfd, &status);
	close(process->pidfd);
	if (got == sizeof(told)) {
		told.text[sizeof(told.text) - 1] = '\0';
		return error_set(e, -EIO, "%s", told.text);
	}
	return r < 0 ? error_code(e, r, "wait for it") : why_ended(status, e);
}

int aside_start(const struct aside *aside, struct aside_process *ret, struct error *e)
{
	struct made made = { .aside = aside, .image = -1, .volume = -1, .ready = { -1, -1 } };
	struct aside_process process = { .pidfd = -1 };
	pid_t parent = getpid();
	int r = open_all(&made, e);
	if (r < 0) {
		close_all(&made);
		return r;
	}
	cleanup(close) int group = enter_open_group(aside->plan->cgroups);
	process.pid = process_clone(0, group, &process.pidfd);
	if (process.pid == 0) {
		struct error why = {};
		(void)!become(&made, parent, &why);
		(void)!write(made.ready[1], &why, sizeof(why));
		_exit(BOOT_NOT_A_PROGRAM);
	}
	if (process.pid < 0) {
		r = error_code(e, process.pid, "start a process");
	} else {
		close(TAKE_FD(made.ready[1]));
		r = wait_until_locked(&made, &process, e);
	}
	close_all(&made);
	if (r == 0)
		*ret = process;
	return r;
}
