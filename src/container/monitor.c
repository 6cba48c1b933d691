/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.c - the parent of a container's first process: its console, its exit status, its news.
 *
 * When the container runs it gives up all that was needed to make it. What is left: to answer on
 * `control`, to write console.log, and to write `exit`, through descriptors that are open already.
 */
#include "container/monitor.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/text.h"
#include "container/plan.h"
#include "container/seal.h"
#include "container/start.h"
#include "host/cgroup_usage.h"
#include "host/jail.h"
#include "host/process.h"
#include "runner/console.h"
#include "runner/control.h"

#define OOM_LATER_NS (50 * NS_PER_MS)

struct monitor {
	struct loop *loop;
	struct control *control;
	struct console *console;
	struct source *child;
	struct source *oom_source;
	struct source *oom_timer;
	int dir;
	int pidfd;
	int exit_file; /* opened before rights are given up; gets its name at the end */
	int oom;
	bool oom_is_v2;
	char *memory_dir;
	int stop_signal;
	struct runner_state state;
	uint64_t began_ns;
	char **argv;
};

static void stop_request(struct monitor *m, struct control_peer *peer,
	const struct runner_header *request, int signal)
{
	int r = signal > 0 && signal < NSIG ? process_signal(m->pidfd, signal) : -EINVAL;
	if (r < 0)
		control_answer_error(peer, request, r, "the signal cannot be sent");
	else
		control_answer_done(peer, request);
}

static void attach_request(struct monitor *m, struct control_peer *peer,
	const struct runner_header *request, const int *fds, size_t fd_count)
{
	const struct runner_attach *attach = (const void *)request;
	if (fd_count != 1 || !m->console) {
		for (size_t i = 0; i < fd_count; i++)
			close(fds[i]);
		control_answer_error(peer, request, m->console ? -EINVAL : -ENOTTY,
			m->console ? "one descriptor is wanted" : "there is no console");
		return;
	}
	if (attach->columns && attach->rows)
		(void)!console_resize(m->console, attach->columns, attach->rows);
	int r = console_attach(m->console, fds[0], attach->flags & RUNNER_ATTACH_STEAL,
		attach->flags & RUNNER_ATTACH_REPLAY);
	if (r < 0) {
		close(fds[0]);
		control_answer_error(peer, request, r,
			r == -EBUSY ? "the console is attached elsewhere" : "attach the console");
		return;
	}
	control_answer_done(peer, request);
}

static void console_request(
	struct monitor *m, struct control_peer *peer, const struct runner_header *request)
{
	struct runner_console_log log = { .header.type = RUNNER_CONSOLE_LOG };
	cleanup(free) uint8_t *bytes = alloc_array(RUNNER_CONSOLE_MAX, uint8_t);
	size_t count = 0;
	if (m->console) {
		log.total_bytes = console_total(m->console);
		count = console_last(m->console, bytes, RUNNER_CONSOLE_MAX);
	}
	control_answer(peer, request, &log, sizeof(log), bytes, count);
}

static void resize_request(
	struct monitor *m, struct control_peer *peer, const struct runner_header *request)
{
	const struct runner_size *size = (const void *)request;
	int r = m->console ? console_resize(m->console, size->columns, size->rows) : -ENOTTY;
	if (r < 0)
		control_answer_error(peer, request, r, "resize the console");
	else
		control_answer_done(peer, request);
}

static void on_request(void *data, struct control_peer *peer, const struct runner_header *request,
	const int *fds, size_t fd_count)
{
	struct monitor *m = data;
	if (request->type == RUNNER_ATTACH) {
		attach_request(m, peer, request, fds, fd_count);
		return;
	}
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	switch ((enum runner_type)request->type) {
	case RUNNER_SIGNAL:
		stop_request(m, peer, request,
			(int)((const struct runner_number *)(const void *)request)->value);
		break;
	case RUNNER_STOP:
		stop_request(m, peer, request, m->stop_signal);
		break;
	case RUNNER_RESIZE:
		resize_request(m, peer, request);
		break;
	case RUNNER_CONSOLE_LOG:
		console_request(m, peer, request);
		break;
	case RUNNER_CONSOLE_CLEAR:
		if (m->console)
			console_clear(m->console);
		control_answer_done(peer, request);
		break;
	case RUNNER_ATTACH:
	case RUNNER_HELLO:
	case RUNNER_PAUSE:
	case RUNNER_RESUME:
	case RUNNER_RESET:
	case RUNNER_BALLOON:
	case RUNNER_STATS:
	case RUNNER_STATE:
	case RUNNER_EVENT:
	case RUNNER_DONE:
	case RUNNER_ERROR:
		control_answer_error(peer, request, -EOPNOTSUPP,
			"a container is not asked for this: its cgroup is");
		break;
	}
}

static void on_detached(void *data)
{
	struct monitor *m = data;
	if (m->control)
		control_tell_event(m->control, RUNNER_EVENT_DETACHED, 0);
}

static void count_oom(struct monitor *m)
{
	if (m->oom < 0)
		return;
	int64_t kills = cgroup_oom_kills(m->oom, m->memory_dir, m->oom_is_v2);
	if (kills > (int64_t)m->state.oom_kills) {
		m->state.oom_kills = (uint32_t)kills;
		control_tell_event(m->control, RUNNER_EVENT_OOM, (uint64_t)kills);
	}
}

static void on_oom_later(void *data)
{
	count_oom(data);
}

/* v1 reports that memory ran out before it has counted whom it kills. */
static void on_oom(void *data, int fd, uint32_t events)
{
	struct monitor *m = data;
	(void)fd;
	(void)events;
	count_oom(m);
	timer_set_after(m->oom_timer, OOM_LATER_NS);
}

/* The file `exit` appears whole: written under another name, which was opened early. */
static void write_exit(struct monitor *m, const char *why)
{
	if (m->exit_file < 0)
		return;
	cleanup(text_done) struct text text = {};
	text_printf(&text,
		"{\"wait_status\": %d, \"started_ns\": %" PRIu64 ", \"ended_ns\": %" PRIu64
		", \"oom_kills\": %u",
		m->state.wait_status, m->state.started_ns, m->state.ended_ns, m->state.oom_kills);
	if (why) {
		text_add(&text, ", \"error\": \"");
		for (; *why; why++) {
			if (*why == '"' || *why == '\\')
				text_add_char(&text, '\\');
			text_add_char(&text, (unsigned char)*why < ' ' ? ' ' : *why);
		}
		text_add(&text, "\"");
	}
	text_add(&text, "}\n");
	if (file_write_all(m->exit_file, text_str(&text), text.length) == 0)
		(void)renameat(m->dir, RUNNER_EXIT_FILE ".new", m->dir, RUNNER_EXIT_FILE);
}

static void on_exit_of_child(void *data, pid_t pid, int wait_status)
{
	(void)pid;
	struct monitor *m = data;
	m->child = NULL;
	if (m->console)
		console_drain(m->console);
	count_oom(m);
	m->state.status = RUNNER_EXITED;
	m->state.wait_status = wait_status;
	m->state.ended_ns = loop_wall_clock();
	write_exit(m, NULL);
	/* The kernel tells so of an init that called reboot(2). */
	if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGHUP)
		control_tell_event(m->control, RUNNER_EVENT_REBOOT, 0);
	control_set_state(m->control, &m->state, -1);
	loop_stop(m->loop, 0);
}

static int open_files(struct monitor *m, struct error *e)
{
	m->dir = process_named_fd("dir");
	if (m->dir == -ENOENT)
		return 0; /* by hand: nothing is written */
	if (m->dir < 0)
		return error_code(e, m->dir, "the descriptor dir");
	m->exit_file = openat(m->dir, RUNNER_EXIT_FILE ".new",
		O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (m->exit_file < 0)
		return error_errno(e, "open %s", RUNNER_EXIT_FILE ".new");
	return 0;
}

static int open_control(struct monitor *m, struct error *e)
{
	int listener = process_named_fd("control");
	int channel = process_named_fd("channel");
	int r = control_new(m->loop, listener, on_request, m, &m->control, e);
	if (r == 0 && channel >= 0)
		r = control_add(m->control, channel);
	return r;
}

static int open_console(
	struct monitor *m, const struct container *container, int terminal, struct error *e)
{
	if (terminal < 0)
		return 0;
	int log = -1;
	if (m->dir >= 0)
		log = openat(m->dir, RUNNER_CONSOLE_FILE,
			O_CREAT | O_TRUNC | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
	return console_new(&(struct console_options){ .loop = m->loop,
				   .terminal = terminal,
				   .log = log,
				   .log_bytes = container->console_bytes,
				   .detached = on_detached,
				   .data = m },
		&m->console, e);
}

/* The memory group, of v1 or v2; a container without one has no news of this sort. */
static void watch_memory(struct monitor *m, const struct container *c)
{
	for (size_t i = 0; c->cgroups && c->cgroups[i]; i++) {
		cleanup(free) char *v1 = alloc_printf("%s/memory.oom_control", c->cgroups[i]);
		cleanup(free) char *v2 = alloc_printf("%s/memory.events", c->cgroups[i]);
		m->oom_is_v2 = access(v1, F_OK) < 0;
		if (m->oom_is_v2 && access(v2, F_OK) < 0)
			continue;
		uint32_t events;
		if (cgroup_oom_watch(c->cgroups[i], m->oom_is_v2, &m->oom, &events, NULL) < 0)
			return;
		m->memory_dir = alloc_text(c->cgroups[i]);
		m->oom_timer = loop_add_timer(m->loop, on_oom_later, m);
		if (loop_add_fd(m->loop, m->oom, events, on_oom, m, &m->oom_source) < 0)
			close(TAKE_FD(m->oom));
		return;
	}
}

static int give_up_rights(struct monitor *m, struct error *e)
{
	cleanup(close) int memory = m->memory_dir ? open(m->memory_dir, O_PATH | O_CLOEXEC) : -1;
	const struct jail_path paths[] = {
		{ m->dir,
			LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
				LANDLOCK_ACCESS_FS_WRITE_FILE },
		{ memory, LANDLOCK_ACCESS_FS_READ_FILE },
	};
	size_t first = m->dir < 0;
	size_t count = ARRAY_SIZE(paths) - first - (memory < 0);
	return jail_enter(&(struct jail){ .drop_capabilities = true,
				  .paths = paths + first,
				  .path_count = count,
				  .limit_paths = true },
		e);
}

static int start(struct monitor *m, const char *plan, struct error *e)
{
	cleanup(container_free) struct container *container = NULL;
	int r = plan_read_file(AT_FDCWD, plan, &container, e);
	if (r < 0)
		return r;
	if (container->uid_count == 0)
		r = seal_program(m->argv, e);
	if (r < 0)
		return r;
	m->stop_signal = container->stop_signal;
	watch_memory(m, container);
	struct started started;
	r = container_start(container,
		&(struct start_options){ .stdio = { -1, 1, 2 }, .hold = -1, .dies_with_us = true },
		&started, e);
	if (r < 0)
		return r;
	m->pidfd = started.pidfd;
	m->state.pid = started.pid;
	m->state.started_ns = loop_wall_clock();
	m->state.start_took_ns = loop_now() - m->began_ns;
	m->state.status = RUNNER_RUNNING;
	r = open_console(m, container, started.terminal, e);
	if (r == 0)
		r = loop_add_child(
			m->loop, started.pid, started.pidfd, on_exit_of_child, m, &m->child);
	return r;
}

/*
 * Lets go of the program's own pages: most of them set up a container and are not needed while it runs.
 * They stay in the page cache and come back when they are touched.
 */
static void forget_program(void *data)
{
	(void)data;
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
		(void)madvise((void *)start, end - start, MADV_DONTNEED);
	}
}

static int run(struct monitor *m, const char *plan, struct error *e)
{
	int r = loop_new(&m->loop, e);
	if (r == 0)
		r = open_control(m, e);
	if (r == 0)
		r = open_files(m, e);
	if (r == 0)
		r = start(m, plan, e);
	if (r == 0)
		control_set_state(m->control, &m->state, m->pidfd);
	if (r == 0)
		r = give_up_rights(m, e);
	if (r < 0)
		return r;
	(void)malloc_trim(0);
	/* Not at once: the first questions come now. */
	cleanup(source_free) struct source *settled = loop_add_timer(m->loop, forget_program, NULL);
	timer_set_after(settled, NS_PER_SEC);
	return loop_run(m->loop);
}

int monitor_main(const char *plan, char **argv, uint64_t began_ns)
{
	struct monitor m = { .argv = argv,
		.dir = -1,
		.pidfd = -1,
		.exit_file = -1,
		.oom = -1,
		.began_ns = began_ns };
	m.state.status = RUNNER_STARTING;
	(void)signal(SIGPIPE, SIG_IGN);
	/* A runner ends with its container, not by the terminal of who started it. */
	(void)signal(SIGHUP, SIG_IGN);
	struct error e = {};
	int r = run(&m, plan, &e);
	if (r < 0) {
		log_error("container not started: %s", e.text);
		m.state.status = RUNNER_EXITED;
		m.state.ended_ns = loop_wall_clock();
		write_exit(&m, e.text);
		if (m.control) {
			control_tell_error(m.control, r, e.text);
			control_set_state(m.control, &m.state, -1);
		}
	}
	console_free(m.console);
	control_free(m.control);
	loop_free(m.loop);
	free(m.memory_dir);
	return r < 0 ? 1 : 0;
}
