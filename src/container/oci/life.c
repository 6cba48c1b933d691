/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.c - a bundle's container through its life, each step in a process of its own.
 */
#include "container/oci/life.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/loop.h"
#include "base/text.h"
#include "container/oci/hooks.h"
#include "container/oci/oci.h"
#include "container/oci/resources.h"
#include "container/oci/terminal.h"
#include "host/process.h"

#define REMOVE_TRIES 200 /* of 10 ms */

struct creation {
	const struct life_options *options;
	struct oci_config *config;
	struct box *box;
};

static int run_hooks(
	const struct creation *c, const char *name, const char *status, pid_t pid, struct error *e)
{
	if (json_array_size(json_object_get(c->config->hooks, name)) == 0)
		return 0;
	cleanup(free) char *state = box_state_text(c->box, status, pid);
	return oci_hooks_run(c->config->hooks, name, state, e);
}

static int between(void *data, pid_t pid, struct error *e)
{
	const struct creation *c = data;
	int r = run_hooks(c, "prestart", "created", pid, e);
	return r < 0 ? r : run_hooks(c, "createRuntime", "creating", pid, e);
}

static int inside(void *data, enum start_moment moment, struct error *e)
{
	const struct creation *c = data;
	return moment == START_CREATED ? run_hooks(c, "createContainer", "creating", getpid(), e)
				       : run_hooks(c, "startContainer", "created", getpid(), e);
}

/* "/a/b" and "a/b" of config.json without slashes at its ends; systemd's "slice:prefix:name" by its name. */
static char *cgroup_path(const struct creation *c)
{
	const char *path = c->config->cgroups_path;
	if (!path || !*path)
		return alloc_printf("berth-oci/%s", c->options->id);
	const char *last = strrchr(path, ':');
	if (last && strchr(path, ':') != last)
		return alloc_printf("berth-oci/%s", last + 1);
	while (*path == '/')
		path++;
	cleanup(free) char *copy = alloc_text(path);
	size_t end = strlen(copy);
	while (end > 0 && copy[end - 1] == '/')
		copy[--end] = '\0';
	return TAKE_PTR(copy);
}

static int make_cgroup(const struct creation *c, struct cgroup **ret, struct error *e)
{
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	int r = cgroups_open(&cgroups, NULL);
	if (r < 0)
		return json_object_size(c->config->resources)
			? error_set(e, -EOPNOTSUPP, "linux.resources: this host has no cgroups")
			: 0;
	cleanup(free) char *path = cgroup_path(c);
	/* The specification: absolute is relative to the mount point. */
	if (c->config->cgroups_path && c->config->cgroups_path[0] == '/')
		cgroups_use_top(cgroups);
	r = cgroup_make(cgroups, path, oci_resources_need(c->config->resources), ret, e);
	if (r < 0)
		return r;
	r = oci_resources_set(*ret, c->config->resources, true, e);
	if (r < 0)
		(void)!cgroup_remove(*ret, NULL);
	return r;
}

static void list_cgroups(struct creation *c, const struct cgroup *group)
{
	size_t count = 0;
	while (group && group->list[count])
		count++;
	json_t *list = json_array();
	struct container *container = c->config->container;
	container->cgroups = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, json_string(group->list[i]));
		container->cgroups[i] = json_string_value(json_array_get(list, i));
	}
	json_object_set_new(c->box->state, "cgroups", list);
}

static void describe(const struct creation *c, const struct started *started)
{
	char now[TEXT_TIME_SIZE];
	json_t *state = c->box->state;
	json_object_set_new(state, "ociVersion", json_string(c->config->version));
	json_object_set_new(state, "bundle", json_string(c->options->bundle));
	json_object_set_new(state, "rootfs", json_string(c->config->container->root.plain));
	json_object_set_new(
		state, "created", json_string(text_format_time(loop_wall_clock(), now)));
	json_object_set_new(state, "owner", json_string("root"));
	if (c->config->annotations)
		json_object_set(state, "annotations", (json_t *)(uintptr_t)c->config->annotations);
	if (c->config->hooks)
		json_object_set(state, "hooks", (json_t *)(uintptr_t)c->config->hooks);
	if (started) {
		json_object_set_new(state, "pid", json_integer(started->pid));
		json_object_set_new(state, "pidStarted",
			json_integer((json_int_t)box_process_started(started->pid)));
	}
}

static int write_pid(const char *path, pid_t pid, struct error *e)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", pid);
	return path ? file_replace(AT_FDCWD, path, text, strlen(text), 0644, e) : 0;
}

static int hand_over(const struct creation *c, struct started *started, struct error *e)
{
	int r = 0;
	if (started->terminal >= 0 && c->options->console_socket) {
		r = terminal_send(c->options->console_socket, started->terminal, e);
		close(started->terminal);
		started->terminal = -1;
	}
	describe(c, started);
	/* `exec` reads it again: the bundle's own may change or go. */
	cleanup(free) char *text = json_dumps(c->config->container->document, 0);
	if (r == 0)
		r = file_replace(c->box->dir, "config.json", text, strlen(text), 0600, e);
	if (r == 0)
		r = box_save(c->box, e);
	return r < 0 ? r : write_pid(c->options->pid_file, started->pid, e);
}

static int check_terminal(const struct creation *c, struct error *e)
{
	bool has_terminal = c->config->container->process.has_terminal;
	if (has_terminal && !c->options->console_socket && c->options->is_detached)
		return error_set(e, -EINVAL,
			"process.terminal: a detached container needs --console-socket");
	if (!has_terminal && c->options->console_socket)
		return error_set(
			e, -EINVAL, "--console-socket: process.terminal is not set in config.json");
	return 0;
}

static int create(struct creation *c, struct started *ret, struct error *e)
{
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = check_terminal(c, e);
	if (r == 0 && mkfifoat(c->box->dir, BOX_START_FILE, 0600) < 0)
		r = error_errno(e, "make the start FIFO");
	if (r < 0)
		return r;
	/* Open for both, so that neither side waits for the other to open it. */
	cleanup(close) int hold = openat(c->box->dir, BOX_START_FILE, O_RDWR | O_CLOEXEC);
	if (hold < 0)
		return error_errno(e, "open the start FIFO");
	r = make_cgroup(c, &group, e);
	if (r < 0)
		return r;
	list_cgroups(c, group);
	describe(c, NULL);
	struct start_options options = {
		.stdio = { 0, 1, 2 }, .hold = hold, .between = between, .inside = inside, .data = c
	};
	r = container_start(c->config->container, &options, ret, e);
	if (r == 0) {
		r = hand_over(c, ret, e);
		if (r < 0) {
			int status;
			(void)!process_signal(ret->pidfd, SIGKILL);
			(void)!process_wait(ret->pidfd, &status);
		}
	}
	if (r < 0 && group)
		(void)!cgroup_remove(group, NULL);
	return r;
}

int life_create(const struct life_options *options, struct started *ret, struct error *e)
{
	cleanup(oci_done) struct oci_config config = {};
	cleanup(box_done) struct box box = {};
	int r = oci_read(options->bundle, &config, e);
	if (r == 0 && !config.container->process.args)
		r = error_set(e, -EINVAL, "process: missing");
	if (r == 0)
		r = box_make(options->root, options->id, &box, e);
	if (r < 0)
		return r;
	struct creation creation = { options, &config, &box };
	r = create(&creation, ret, e);
	if (r < 0)
		(void)!box_remove(&box, NULL);
	return r;
}

int life_start(const char *root, const char *id, struct error *e)
{
	cleanup(box_done) struct box box = {};
	int r = box_open(root, id, &box, e);
	if (r < 0)
		return r;
	const char *status = box_status(&box);
	if (!text_equal(status, "created"))
		return error_set(e, -EBUSY, "container %s is %s, not created", id, status);
	cleanup(close) int hold =
		openat(box.dir, BOX_START_FILE, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (hold < 0)
		return error_errno(e, "start container %s", id);
	if (unlinkat(box.dir, BOX_START_FILE, 0) < 0 || write(hold, "s", 1) != 1)
		return error_errno(e, "start container %s", id);
	/* The FIFO's last reader goes when the program is executed, or the process ends. */
	struct pollfd wait = { .fd = hold };
	while (poll(&wait, 1, -1) < 0 && errno == EINTR)
		;
	cleanup(free) char *state = box_state_text(&box, "running", box_pid(&box));
	struct error why = {};
	if (oci_hooks_run(json_object_get(box.state, "hooks"), "poststart", state, &why) < 0)
		(void)fprintf(stderr, "berth-container: %s\n", why.text);
	return 0;
}

static int signal_pid(pid_t pid, int signal, struct error *e)
{
	cleanup(close) int pidfd = process_open(pid);
	int r = pidfd < 0 ? pidfd : process_signal(pidfd, signal);
	return r < 0 ? error_code(e, r, "signal process %d", pid) : 0;
}

static int signal_all(struct box *box, int signal, struct error *e)
{
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = box_cgroup(box, &group, e);
	if (r < 0 || !group)
		return r;
	if (signal == SIGKILL)
		return cgroup_kill(group, e);
	pid_t pids[1024];
	ssize_t count = cgroup_pids(group, pids, ARRAY_SIZE(pids));
	for (ssize_t i = 0; i < count && i < (ssize_t)ARRAY_SIZE(pids); i++)
		(void)kill(pids[i], signal);
	return count < 0 ? error_code(e, (int)count, "list the processes") : 0;
}

int life_kill(const char *root, const char *id, int signal, bool all, struct error *e)
{
	cleanup(box_done) struct box box = {};
	int r = box_open(root, id, &box, e);
	if (r < 0)
		return r;
	pid_t pid = box_pid(&box);
	if (all)
		return signal_all(&box, signal, e);
	if (!pid)
		return error_set(e, -ESRCH, "container %s is not running", id);
	return signal_pid(pid, signal, e);
}

static int remove_cgroup(struct box *box, struct error *e)
{
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = box_cgroup(box, &group, e);
	if (r < 0 || !group)
		return r;
	/* What was killed leaves its group when its parent has reaped it, or a moment before. */
	for (int i = 0; i < REMOVE_TRIES; i++) {
		r = cgroup_remove(group, e);
		if (r != -EBUSY)
			return r;
		(void)!cgroup_kill(group, NULL);
		(void)poll(NULL, 0, 10);
	}
	return r;
}

static int end_by_force(struct box *box, struct error *e)
{
	pid_t pid = box_pid(box);
	if (!pid)
		return 0;
	cleanup(close) int pidfd = process_open(pid);
	if (pidfd < 0)
		return 0;
	int r = process_signal(pidfd, SIGKILL);
	if (r < 0)
		return error_code(e, r, "kill the container");
	(void)!signal_all(box, SIGKILL, NULL);
	struct pollfd wait = { .fd = pidfd, .events = POLLIN };
	while (poll(&wait, 1, 10000) < 0 && errno == EINTR)
		;
	return 0;
}

int life_delete(const char *root, const char *id, bool force, struct error *e)
{
	cleanup(box_done) struct box box = {};
	int r = box_open(root, id, &box, e);
	if (r == -ENOENT && force)
		return 0;
	if (r < 0)
		return r;
	const char *status = box_status(&box);
	if (!text_equal(status, "stopped") && !text_equal(status, "creating") && !force)
		return error_set(e, -EBUSY, "container %s is %s: it is not stopped", id, status);
	r = end_by_force(&box, e);
	if (r == 0)
		r = remove_cgroup(&box, e);
	cleanup(free) char *state = box_state_text(&box, "stopped", 0);
	struct error why = {};
	if (r == 0 &&
		oci_hooks_run(json_object_get(box.state, "hooks"), "poststop", state, &why) < 0)
		(void)fprintf(stderr, "berth-container: %s\n", why.text);
	return r < 0 ? r : box_remove(&box, e);
}

static int status_of(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int life_run(const struct life_options *options, struct error *e)
{
	struct started started;
	/* What the container leaves behind becomes ours, and is reaped. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	int r = life_create(options, &started, e);
	if (r < 0)
		return r;
	r = life_start(options->root, options->id, e);
	if (r == 0 && !options->is_detached) {
		int status = 0;
		r = terminal_wait(started.terminal, started.pidfd, &status, e);
		if (r == 0)
			r = status_of(status);
	}
	if (r < 0 || (!options->is_detached && !options->is_kept))
		(void)!life_delete(options->root, options->id, true, r < 0 ? NULL : e);
	return r;
}

/* The container as config.json had it, and where its process is now. */
static int reopen(const struct box *box, struct oci_config *config, struct error *e)
{
	cleanup(free) char *path = alloc_printf("%s/%s", box->root, box->id);
	int r = oci_read(path, config, e);
	if (r < 0)
		return r;
	struct container *c = config->container;
	const json_t *dirs = json_object_get(box->state, "cgroups");
	size_t count = json_array_size(dirs);
	c->cgroups = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++)
		c->cgroups[i] = json_string_value(json_array_get(dirs, i));
	for (size_t i = 0; i < c->join_count; i++)
		c->namespaces |= c->joins[i].type;
	return 0;
}

/* Nobody waits here for a detached program: its end is seen by who reaps it. */
static int finish_exec(
	const struct life_exec_options *options, const struct executed *executed, struct error *e)
{
	int terminal = executed->terminal;
	int r = write_pid(options->life.pid_file, executed->pid, e);
	if (r == 0 && terminal >= 0 && options->life.console_socket) {
		r = terminal_send(options->life.console_socket, terminal, e);
		close(terminal);
		terminal = -1;
	}
	if (r < 0 || options->life.is_detached)
		return r;
	int status = 0;
	r = terminal_wait(terminal, executed->pidfd, &status, e);
	return r < 0 ? r : status_of(status);
}

int life_exec(const struct life_exec_options *options, struct error *e)
{
	cleanup(box_done) struct box box = {};
	cleanup(oci_done) struct oci_config config = {};
	int r = box_open(options->life.root, options->life.id, &box, e);
	if (r < 0)
		return r;
	pid_t pid = box_pid(&box);
	if (!pid || text_equal(box_status(&box), "paused"))
		return error_set(e, -EBUSY, "container %s is not running", options->life.id);
	r = reopen(&box, &config, e);
	if (r < 0)
		return r;
	struct container_process process = config.container->process;
	process.args = process.env = NULL;
	process.limits = NULL;
	process.limit_count = 0;
	cleanup(free) uint32_t *groups = NULL;
	r = oci_read_process(options->process, &process, &groups, e);
	cleanup(free) const char **args = process.args;
	cleanup(free) const char **env = process.env;
	cleanup(free) struct container_limit *limits = process.limits;
	cleanup(close) int pidfd = process_open(pid);
	if (r == 0 && pidfd < 0)
		r = error_code(e, pidfd, "container %s", options->life.id);
	struct executed executed;
	if (r == 0)
		r = exec_start(&(struct exec_options){ .container = config.container,
				       .process = &process,
				       .pidfd = pidfd,
				       .stdio = { 0, 1, 2 } },
			&executed, e);
	return r < 0 ? r : finish_exec(options, &executed, e);
}
