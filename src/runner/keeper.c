/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.c - the parent of an instance's first process: its console, its exit status, its news.
 */
#include "runner/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "host/cgroup_usage.h"
#include "host/jail.h"
#include "host/process.h"
#include "runner/console.h"
#include "runner/console_request.h"
#include "runner/exit_file.h"

#define GREETING_NS   (10 * NS_PER_SEC)
#define OOM_LATER_NS  (50 * NS_PER_MS)
#define STOP_FIRST_NS (5 * NS_PER_MS)

struct keeper {
	struct keeper_options options;
	struct loop *loop;
	struct control *control;
	struct console *console;
	struct source *child;
	struct source *oom_source;
	struct source *oom_timer;
	struct source *patience;
	bool has_channel;
	int dir;
	int pidfd;
	int exit_file; /* opened before rights are given up; gets its name at the end */
	int oom;
	bool oom_is_v2;
	char *memory_dir;
	int stop_signal;
	int status; /* /proc/PID/status of the first process */
	struct source *stop_timer;
	uint64_t stop_delay_ns;
	struct runner_state state;
};

/* Whether the first process has a handler for the signal: the kernel drops what an init does not handle. */
static bool is_caught(const struct keeper *k, int signal)
{
	char text[4096];
	ssize_t length = pread(k->status, text, sizeof(text) - 1, 0);
	text[length > 0 ? length : 0] = '\0';
	const char *caught = strstr(text, "\nSigCgt:");
	return !caught || strtoull(caught + strlen("\nSigCgt:"), NULL, 16) >> (signal - 1) & 1;
}

/* A stop that comes before the first process has set its handler waits for it. */
static void stop_when_caught(void *data)
{
	struct keeper *k = data;
	if (is_caught(k, k->stop_signal)) {
		(void)!process_signal(k->pidfd, k->stop_signal);
		return;
	}
	k->stop_delay_ns = k->stop_delay_ns < NS_PER_SEC ? k->stop_delay_ns * 2 : NS_PER_SEC;
	timer_set_after(k->stop_timer, k->stop_delay_ns);
}

static void stop_later(struct keeper *k)
{
	if (!k->stop_timer)
		k->stop_timer = loop_add_timer(k->loop, stop_when_caught, k);
	k->stop_delay_ns = STOP_FIRST_NS;
	timer_set_after(k->stop_timer, k->stop_delay_ns);
}

static void stop_request(struct keeper *k, struct control_peer *peer,
	const struct runner_header *request, int signal)
{
	int r = signal > 0 && signal < NSIG ? process_signal(k->pidfd, signal) : -EINVAL;
	if (r < 0)
		control_answer_error(peer, request, r, "the signal cannot be sent");
	else
		control_answer_done(peer, request);
}

static void resize_request(
	struct keeper *k, struct control_peer *peer, const struct runner_header *request)
{
	const struct runner_size *size = (const void *)request;
	int r = k->console ? console_resize(k->console, size->columns, size->rows) : -ENOTTY;
	if (r < 0)
		control_answer_error(peer, request, r, "resize the console");
	else
		control_answer_done(peer, request);
}

/* Who attaches says how large its window is, or nothing. */
static void resize_to(const struct keeper *k, const struct runner_attach *attach)
{
	if (k->console && attach->columns && attach->rows)
		(void)!console_resize(k->console, attach->columns, attach->rows);
}

static void refuse_request(
	const struct keeper *k, struct control_peer *peer, const struct runner_header *request)
{
	char text[RUNNER_TEXT_MAX];
	snprintf(text, sizeof(text), "a %s is not asked for this: its cgroup is", k->options.what);
	control_answer_error(peer, request, -EOPNOTSUPP, text);
}

static void on_request(void *data, struct control_peer *peer, const struct runner_header *request,
	const int *fds, size_t fd_count)
{
	struct keeper *k = data;
	if (request->type == RUNNER_ATTACH)
		resize_to(k, (const void *)request);
	if (console_request(k->console, peer, request, fds, fd_count))
		return;
	bool is_answered = k->options.request &&
		k->options.request(k->options.data, peer, request, fd_count ? fds[0] : -1);
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (is_answered)
		return;
	switch ((enum runner_type)request->type) {
	case RUNNER_SIGNAL:
		stop_request(k, peer, request,
			(int)((const struct runner_number *)(const void *)request)->value);
		break;
	case RUNNER_STOP:
		if (k->stop_signal > 0 && !is_caught(k, k->stop_signal))
			stop_later(k);
		stop_request(k, peer, request, k->stop_signal);
		break;
	case RUNNER_RESIZE:
		resize_request(k, peer, request);
		break;
	case RUNNER_ATTACH:
	case RUNNER_CONSOLE_LOG:
	case RUNNER_CONSOLE_CLEAR:
	case RUNNER_HELLO:
	case RUNNER_PAUSE:
	case RUNNER_RESUME:
	case RUNNER_RESET:
	case RUNNER_PLUG:
	case RUNNER_UNPLUG:
	case RUNNER_SUSPEND:
	case RUNNER_DISK_RATES:
	case RUNNER_BALLOON:
	case RUNNER_STATS:
	case RUNNER_BEGIN:
	case RUNNER_STATE:
	case RUNNER_EVENT:
	case RUNNER_DONE:
	case RUNNER_ERROR:
		refuse_request(k, peer, request);
		break;
	}
}

static void on_detached(void *data)
{
	struct keeper *k = data;
	if (k->control)
		control_tell_event(k->control, RUNNER_EVENT_DETACHED, 0);
}

static void count_oom(struct keeper *k)
{
	if (k->oom < 0)
		return;
	int64_t kills = cgroup_oom_kills(k->oom, k->memory_dir, k->oom_is_v2);
	if (kills > (int64_t)k->state.oom_kills) {
		k->state.oom_kills = (uint32_t)kills;
		control_tell_event(k->control, RUNNER_EVENT_OOM, (uint64_t)kills);
	}
}

static void on_oom_later(void *data)
{
	count_oom(data);
}

/* v1 reports that memory ran out before it has counted whom it kills. */
static void on_oom(void *data, int fd, uint32_t events)
{
	struct keeper *k = data;
	(void)fd;
	(void)events;
	count_oom(k);
	timer_set_after(k->oom_timer, OOM_LATER_NS);
}

static void end(void *data)
{
	struct keeper *k = data;
	loop_stop(k->loop, 0);
}

static void on_exit_of_child(void *data, pid_t pid, int wait_status)
{
	(void)pid;
	struct keeper *k = data;
	k->child = NULL;
	if (k->console)
		console_drain(k->console);
	count_oom(k);
	if (k->options.ended)
		k->options.ended(k->options.data, k->dir);
	k->state.status = RUNNER_EXITED;
	k->state.wait_status = wait_status;
	k->state.ended_ns = loop_wall_clock();
	exit_file_write(k->exit_file, k->dir, &k->state, NULL);
	/* The kernel tells so of an init that called reboot(2). */
	if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGHUP)
		control_tell_event(k->control, RUNNER_EVENT_REBOOT, 0);
	control_set_state(k->control, &k->state, -1);
	/* A daemon that has just started us may not have asked yet: it shall hear that the instance ran. */
	if (!k->has_channel || control_when_greeted(k->control, end, k)) {
		end(k);
		return;
	}
	k->patience = loop_add_timer(k->loop, end, k);
	timer_set_after(k->patience, GREETING_NS);
}

static int open_files(struct keeper *k, struct error *e)
{
	k->dir = process_named_fd("dir");
	if (k->dir == -ENOENT)
		return 0; /* by hand: nothing is written */
	if (k->dir < 0)
		return error_code(e, k->dir, "the descriptor dir");
	return exit_file_open(k->dir, &k->exit_file, e);
}

static int open_control(struct keeper *k, struct error *e)
{
	int listener = process_named_fd("control");
	int channel = process_named_fd("channel");
	int r = control_new(k->loop, listener, on_request, k, &k->control, e);
	k->has_channel = channel >= 0;
	if (r == 0 && channel >= 0)
		r = control_add(k->control, channel);
	return r;
}

static int open_console(struct keeper *k, int terminal, uint64_t log_bytes, struct error *e)
{
	if (terminal < 0)
		return 0;
	int log = -1;
	if (k->dir >= 0)
		log = openat(k->dir, RUNNER_CONSOLE_FILE,
			O_CREAT | O_TRUNC | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
	return console_new(&(struct console_options){ .loop = k->loop,
				   .terminal = terminal,
				   .log = log,
				   .log_bytes = log_bytes,
				   .detached = on_detached,
				   .data = k },
		&k->console, e);
}

static int give_up_rights(struct keeper *k, struct error *e)
{
	cleanup(close) int memory = k->memory_dir ? open(k->memory_dir, O_PATH | O_CLOEXEC) : -1;
	const struct jail_path paths[] = {
		{ k->dir,
			LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
				LANDLOCK_ACCESS_FS_WRITE_FILE },
		{ memory, LANDLOCK_ACCESS_FS_READ_FILE },
	};
	size_t first = k->dir < 0;
	size_t count = ARRAY_SIZE(paths) - first - (memory < 0);
	return jail_enter(&(struct jail){ .drop_capabilities = true,
				  .paths = paths + first,
				  .path_count = count,
				  .limit_paths = true },
		e);
}

/* The memory group, of v1 or v2; without one there is no news of this sort. */
void keeper_watch_memory(struct keeper *k, const char *const *cgroups)
{
	for (size_t i = 0; cgroups && cgroups[i]; i++) {
		cleanup(free) char *v1 = alloc_printf("%s/memory.oom_control", cgroups[i]);
		cleanup(free) char *v2 = alloc_printf("%s/memory.events", cgroups[i]);
		k->oom_is_v2 = access(v1, F_OK) < 0;
		if (k->oom_is_v2 && access(v2, F_OK) < 0)
			continue;
		uint32_t events;
		if (cgroup_oom_watch(cgroups[i], k->oom_is_v2, &k->oom, &events, NULL) < 0)
			return;
		k->memory_dir = alloc_text(cgroups[i]);
		k->oom_timer = loop_add_timer(k->loop, on_oom_later, k);
		if (loop_add_fd(k->loop, k->oom, events, on_oom, k, &k->oom_source) < 0)
			close(TAKE_FD(k->oom));
		return;
	}
}

/*
 * Lets go of the program's own pages: most of them set up the instance and are not needed while it runs.
 * They stay in the page cache and come back when they are touched.
 */
static void forget_program(void *data)
{
	(void)data;
	process_advise_program(MADV_DONTNEED);
}

int keeper_open(const struct keeper_options *options, struct keeper **ret, struct error *e)
{
	struct keeper *k = alloc(struct keeper);
	*k = (struct keeper){ .options = *options,
		.dir = -1,
		.pidfd = -1,
		.exit_file = -1,
		.oom = -1,
		.status = -1,
		.state.status = RUNNER_STARTING };
	(void)signal(SIGPIPE, SIG_IGN);
	/* A runner ends with its instance, not by the terminal of who started it. */
	(void)signal(SIGHUP, SIG_IGN);
	int r = loop_new(&k->loop, e);
	if (r == 0)
		r = open_control(k, e);
	if (r == 0)
		r = open_files(k, e);
	if (r < 0) {
		keeper_fail(k, r, e);
		keeper_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	source_free(k->patience);
	console_free(k->console);
	control_free(k->control);
	loop_free(k->loop);
	free(k->memory_dir);
	free(k);
}

int keeper_dir(const struct keeper *k)
{
	return k->dir;
}

int keeper_take(struct keeper *k, const struct keeper_process *process, struct error *e)
{
	k->pidfd = process->pidfd;
	k->stop_signal = process->stop_signal;
	cleanup(free) char *status = alloc_printf("/proc/%d/status", process->pid);
	k->status = open(status, O_RDONLY | O_CLOEXEC); /* without it a stop is sent at once */
	k->state.pid = process->pid;
	k->state.started_ns = loop_wall_clock();
	k->state.start_took_ns = loop_now() - k->options.began_ns;
	k->state.status = RUNNER_RUNNING;
	int r = open_console(k, process->terminal, process->log_bytes, e);
	if (r == 0)
		r = loop_add_child(
			k->loop, process->pid, process->pidfd, on_exit_of_child, k, &k->child);
	if (r == 0)
		control_set_state(k->control, &k->state, k->pidfd);
	return r;
}

int keeper_run(struct keeper *k, struct error *e)
{
	int r = give_up_rights(k, e);
	if (r < 0)
		return r;
	(void)malloc_trim(0);
	/* Not at once: the first questions come now. */
	cleanup(source_free) struct source *settled = loop_add_timer(k->loop, forget_program, NULL);
	timer_set_after(settled, NS_PER_SEC);
	return loop_run(k->loop);
}

void keeper_fail(struct keeper *k, int code, const struct error *e)
{
	k->state.status = RUNNER_EXITED;
	k->state.ended_ns = loop_wall_clock();
	exit_file_write(k->exit_file, k->dir, &k->state, e->text);
	if (k->control) {
		control_tell_error(k->control, code, e->text);
		control_set_state(k->control, &k->state, -1);
	}
}
