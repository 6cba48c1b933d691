/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_helper.c - reads a request, starts the program, pumps its terminal, tells its end.
 */
#include "container/exec_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/log.h"
#include "base/loop.h"
#include "container/aside.h"
#include "container/exec.h"
#include "container/plan.h"
#include "container/seal.h"
#include "host/jail.h"
#include "host/process.h"
#include "model/json.h"
#include "runner/console.h"
#include "runner/control.h"

struct helper {
	struct loop *loop;
	struct control *control;
	struct console *console;
	struct source *child;
	int pidfd;
	struct runner_state state;
};

static int read_words(const json_t *object, const char *field, const char ***ret, struct error *e)
{
	json_t *array = NULL;
	int r = json_read_text_array(object, "", field, &array, e);
	if (r < 0)
		return r;
	size_t count = json_array_size(array);
	if (count > CONTAINER_WORDS_MAX)
		return error_set(e, -E2BIG, "%s: more than %d", field, CONTAINER_WORDS_MAX);
	*ret = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++)
		(*ret)[i] = json_string_value(json_array_get(array, i));
	return 0;
}

static int read_size(const json_t *object, const char *field, uint16_t *ret, struct error *e)
{
	uint64_t value = 0;
	int r = json_read_u64(object, "", field, &value, e);
	if (r == 0 && value > UINT16_MAX)
		r = error_set(e, -EINVAL, "%s: too large", field);
	*ret = (uint16_t)value;
	return r;
}

/* The rights are the plan's; the request tells what to run. Texts are borrowed from `object`. */
static int read_request(const json_t *object, struct container_process *p, struct error *e)
{
	static const char *const known[] = { "args", "environment", "cwd", "user", "terminal",
		"columns", "rows", NULL };
	p->user.name = "0:0";
	p->cwd = NULL;
	p->has_terminal = false;
	int r = json_read_known(object, "", known, e);
	if (r == 0)
		r = read_words(object, "args", &p->args, e);
	if (r == 0)
		r = read_words(object, "environment", &p->env, e);
	if (r == 0)
		r = json_read_text(object, "", "cwd", &p->cwd, e);
	if (r == 0)
		r = json_read_text(object, "", "user", &p->user.name, e);
	if (r == 0)
		r = json_read_bool(object, "", "terminal", &p->has_terminal, e);
	if (r == 0)
		r = read_size(object, "columns", &p->columns, e);
	if (r == 0)
		r = read_size(object, "rows", &p->rows, e);
	if (r == 0 && (!p->args[0] || !p->args[0][0]))
		r = error_set(e, -EINVAL, "args: a program is wanted");
	return r;
}

static void on_request(void *data, struct control_peer *peer, const struct runner_header *request,
	const int *fds, size_t fd_count)
{
	struct helper *h = data;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	int r = -EOPNOTSUPP;
	if (request->type == RUNNER_SIGNAL) {
		uint64_t signal = ((const struct runner_number *)(const void *)request)->value;
		r = signal > 0 && signal < NSIG ? process_signal(h->pidfd, (int)signal) : -EINVAL;
	} else if (request->type == RUNNER_RESIZE) {
		const struct runner_size *size = (const void *)request;
		r = h->console ? console_resize(h->console, size->columns, size->rows) : -ENOTTY;
	}
	if (r < 0)
		control_answer_error(peer, request, r, "the program cannot be asked for this");
	else
		control_answer_done(peer, request);
}

static void hang_up(void *data)
{
	struct helper *h = data;
	console_free(TAKE_PTR(h->console));
}

/* Who was attached has gone: so has the terminal, and its processes are told by SIGHUP. */
static void on_detached(void *data)
{
	struct helper *h = data;
	loop_defer(h->loop, hang_up, h);
}

static void on_end(void *data, pid_t pid, int wait_status)
{
	(void)pid;
	struct helper *h = data;
	h->child = NULL;
	if (h->console)
		console_finish(h->console);
	h->state.status = RUNNER_EXITED;
	h->state.wait_status = wait_status;
	h->state.ended_ns = loop_wall_clock();
	control_tell_state(h->control, &h->state, -1);
	loop_stop(h->loop, 0);
}

static int pump(struct helper *h, const struct executed *executed, struct error *e)
{
	if (executed->terminal < 0)
		return 0;
	int r = console_new(&(struct console_options){ .loop = h->loop,
				    .terminal = executed->terminal,
				    .log = -1,
				    .detached = on_detached,
				    .data = h },
		&h->console, e);
	int peer = process_named_fd("console");
	if (r == 0 && peer >= 0)
		r = console_attach(h->console, peer, true, false);
	return r;
}

static int start(struct helper *h, const struct container *container, struct error *e)
{
	cleanup(json_decref) json_t *request = NULL;
	int r = aside_request(&request, e);
	struct container_process process = container->process;
	process.args = process.env = NULL;
	process.limits = container->process.limits;
	if (r == 0)
		r = read_request(request, &process, e);
	struct exec_options options = {
		.container = container,
		.process = &process,
		.pidfd = process_named_fd("pidfd"),
		.stdio = { process_named_fd("stdin"), process_named_fd("stdout"),
			process_named_fd("stderr") },
	};
	if (r == 0 && options.pidfd < 0)
		r = error_code(e, options.pidfd, "the descriptor pidfd");
	struct executed executed;
	if (r == 0)
		r = exec_start(&options, &executed, e);
	free(process.args);
	free(process.env);
	for (int i = 0; i < 3; i++)
		if (options.stdio[i] >= 0)
			close(options.stdio[i]);
	if (r < 0)
		return r;
	h->pidfd = executed.pidfd;
	h->state.pid = executed.pid;
	h->state.status = RUNNER_RUNNING;
	h->state.started_ns = loop_wall_clock();
	control_tell_state(h->control, &h->state, h->pidfd);
	r = pump(h, &executed, e);
	if (r == 0)
		r = loop_add_child(h->loop, executed.pid, executed.pidfd, on_end, h, &h->child);
	return r;
}

static int run(struct helper *h, char **argv, struct error *e)
{
	cleanup(close) int dir = process_named_fd("dir");
	int channel = process_named_fd("channel");
	if (dir < 0 || channel < 0)
		return error_set(e, -EINVAL, "the descriptors dir and channel are wanted");
	int r = loop_new(&h->loop, e);
	if (r == 0)
		r = control_new(h->loop, -1, on_request, h, &h->control, e);
	if (r == 0)
		r = control_add(h->control, channel);
	cleanup(container_free) struct container *container = NULL;
	if (r == 0)
		r = plan_read_file(dir, RUNNER_PLAN_FILE, &container, e);
	if (r == 0 && container->uid_count == 0)
		r = seal_program(argv, e);
	if (r == 0)
		r = start(h, container, e);
	/* The owner of a user namespace can signal what is in it without any of these. */
	if (r == 0 && container->uid_count > 0)
		r = jail_enter(&(struct jail){ .drop_capabilities = true, .limit_paths = true }, e);
	return r < 0 ? r : loop_run(h->loop);
}

int exec_helper_main(char **argv)
{
	struct helper h = { .pidfd = -1 };
	struct error e = {};
	(void)signal(SIGPIPE, SIG_IGN);
	int r = run(&h, argv, &e);
	if (r < 0) {
		if (h.control)
			control_tell_error(h.control, r, e.text);
		else
			log_error("exec: %s", e.text);
	}
	console_free(h.console);
	control_free(h.control);
	loop_free(h.loop);
	return r < 0 ? 1 : 0;
}
