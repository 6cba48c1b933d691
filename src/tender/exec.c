/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - reads what is to run, starts it beside the instance, pumps its terminal, tells its end.
 */
#include "tender/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/loop.h"
#include "host/jail.h"
#include "host/process.h"
#include "model/json.h"
#include "runner/console.h"
#include "runner/control.h"
#include "tender/aside.h"

#define REQUEST_BYTES_MAX MIB
#define PLAN_BYTES_MAX    MIB

struct exec {
	struct loop *loop;
	struct control *control;
	struct console *console;
	struct source *child;
	struct tender_plan *plan;
	json_t *request;
	int terminal, pidfd;
	struct runner_state state;
};

static void on_request(void *data, struct control_peer *peer, const struct runner_header *request,
	const int *fds, size_t fd_count)
{
	struct exec *exec = data;
	int r = -EOPNOTSUPP;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (request->type == RUNNER_SIGNAL) {
		uint64_t signal = ((const struct runner_number *)(const void *)request)->value;
		r = signal > 0 && signal < NSIG ? process_signal(exec->pidfd, (int)signal)
						: -EINVAL;
	} else if (request->type == RUNNER_RESIZE) {
		const struct runner_size *size = (const void *)request;
		r = exec->console ? console_resize(exec->console, size->columns, size->rows)
				  : -ENOTTY;
	}
	if (r < 0)
		control_answer_error(peer, request, r, "the program cannot be asked for this");
	else
		control_answer_done(peer, request);
}

static void hang_up(void *data)
{
	struct exec *exec = data;
	console_free(TAKE_PTR(exec->console));
}

static void on_detached(void *data)
{
	struct exec *exec = data;
	loop_defer(exec->loop, hang_up, exec);
}

static void on_end(void *data, pid_t pid, int wait_status)
{
	struct exec *exec = data;
	(void)pid;
	exec->child = NULL;
	if (exec->console)
		console_finish(exec->console);
	exec->state.status = RUNNER_EXITED;
	exec->state.wait_status = wait_status;
	exec->state.ended_ns = loop_wall_clock();
	control_tell_state(exec->control, &exec->state, -1);
	loop_stop(exec->loop, 0);
}

static int read_request(json_t **ret, struct error *e)
{
	cleanup(close) int fd = process_named_fd("request");
	cleanup(free) char *text = alloc_array(REQUEST_BYTES_MAX, char);
	if (fd < 0)
		return error_code(e, fd, "the descriptor request");
	ssize_t length = pread(fd, text, REQUEST_BYTES_MAX, 0);
	if (length < 0 || (uint64_t)length == REQUEST_BYTES_MAX)
		return error_set(e, -E2BIG, "the request is too long");
	int r = json_parse(text, (size_t)length, ret, e);
	return r == 0 && !json_is_object(*ret) ? error_set(e, -EINVAL, "the request is no object")
					       : r;
}

static int read_what(struct exec *exec, struct aside *aside, struct error *e)
{
	static const char *const known[] = { "args", "environment", "cwd", "user", "terminal",
		"columns", "rows", NULL };
	const char *user = "0:0";
	json_t *arguments = NULL, *environment = NULL;
	int r = json_read_known(exec->request, "", known, e);
	if (r == 0)
		r = json_read_text_array(exec->request, "", "args", &arguments, e);
	if (r == 0)
		r = json_read_text_array(exec->request, "", "environment", &environment, e);
	if (r == 0)
		r = json_read_text(exec->request, "", "cwd", &aside->cwd, e);
	if (r == 0)
		r = json_read_text(exec->request, "", "user", &user, e);
	if (r == 0)
		r = json_read_bool(exec->request, "", "terminal", &aside->has_terminal, e);
	if (r == 0 && json_array_size(arguments) == 0)
		r = error_set(e, -EINVAL, "args: a program is wanted");
	if (r == 0 && strcmp(user, "0:0") != 0)
		r = error_set(e, -EOPNOTSUPP, "user: a unikernel has one user, who is 0");
	aside->arguments = arguments;
	aside->environment = environment;
	return r;
}

static void first_size(struct exec *exec)
{
	uint64_t columns = 0, rows = 0;
	if (json_read_u64(exec->request, "", "columns", &columns, NULL) == 0 &&
		json_read_u64(exec->request, "", "rows", &rows, NULL) == 0 && columns && rows &&
		columns <= UINT16_MAX && rows <= UINT16_MAX)
		(void)!console_resize(exec->console, (uint16_t)columns, (uint16_t)rows);
}

static int make_terminal(struct exec *exec, struct aside *aside, struct error *e)
{
	cleanup(close) int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	int unlocked = 0, peer = process_named_fd("console");
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
		return error_errno(e, "make a terminal");
	int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return error_errno(e, "open the terminal");
	aside->stdio[0] = aside->stdio[1] = aside->stdio[2] = exec->terminal = slave;
	int r = console_new(&(struct console_options){ .loop = exec->loop,
				    .terminal = TAKE_FD(master),
				    .log = -1,
				    .detached = on_detached,
				    .data = exec },
		&exec->console, e);
	if (r < 0)
		return r;
	first_size(exec);
	return peer >= 0 ? console_attach(exec->console, peer, true, false) : 0;
}

static int start(struct exec *exec, struct error *e)
{
	struct aside aside = { .plan = exec->plan, .stdio = { -1, -1, -1 } };
	struct aside_process process;
	int r = read_request(&exec->request, e);
	if (r == 0)
		r = read_what(exec, &aside, e);
	if (r == 0 && aside.has_terminal) {
		r = make_terminal(exec, &aside, e);
	} else if (r == 0) {
		aside.stdio[0] = process_named_fd("stdin");
		aside.stdio[1] = process_named_fd("stdout");
		aside.stdio[2] = process_named_fd("stderr");
	}
	if (r == 0)
		r = aside_start(&aside, &process, e);
	/* Their end is the program's. */
	for (int i = 0; i < (aside.has_terminal ? 1 : 3); i++)
		if (aside.stdio[i] >= 0)
			close(aside.stdio[i]);
	if (r < 0)
		return r;
	exec->pidfd = process.pidfd;
	exec->state.pid = process.pid;
	exec->state.status = RUNNER_RUNNING;
	exec->state.started_ns = loop_wall_clock();
	control_tell_state(exec->control, &exec->state, exec->pidfd);
	r = loop_add_child(exec->loop, process.pid, process.pidfd, on_end, exec, &exec->child);
	/* As its real user it may still send it signals when it has no rights any more. */
	if (r == 0 && setresuid(exec->plan->uid, 0, 0) < 0)
		r = error_errno(e, "share the unikernel's user");
	return r < 0
		? r
		: jail_enter(&(struct jail){ .drop_capabilities = true, .limit_paths = true }, e);
}

static int read_plan(struct exec *exec, int dir, struct error *e)
{
	cleanup(free) char *text = NULL;
	size_t length;
	int r = file_read(dir, RUNNER_PLAN_FILE, PLAN_BYTES_MAX, &text, &length, e);
	return r < 0 ? r : tender_plan_read(text, length, &exec->plan, e);
}

static int run(struct exec *exec, struct error *e)
{
	cleanup(close) int dir = process_named_fd("dir");
	int channel = process_named_fd("channel");
	if (dir < 0 || channel < 0)
		return error_set(e, -EINVAL, "the descriptors dir and channel are wanted");
	int r = loop_new(&exec->loop, e);
	if (r == 0)
		r = control_new(exec->loop, -1, on_request, exec, &exec->control, e);
	if (r == 0)
		r = control_add(exec->control, channel);
	if (r == 0)
		r = read_plan(exec, dir, e);
	if (r == 0)
		r = start(exec, e);
	return r < 0 ? r : loop_run(exec->loop);
}

int exec_main(void)
{
	struct exec exec = { .pidfd = -1, .terminal = -1 };
	struct error e = {};
	(void)signal(SIGPIPE, SIG_IGN);
	int r = run(&exec, &e);
	if (r < 0) {
		if (exec.control)
			control_tell_error(exec.control, r, e.text);
		else
			log_error("exec: %s", e.text);
	}
	console_free(exec.console);
	control_free(exec.control);
	loop_free(exec.loop);
	json_decref(exec.request);
	tender_plan_free(exec.plan);
	return r < 0 ? 1 : 0;
}
