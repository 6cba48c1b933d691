/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start.c - two processes build a container.
 *
 * Theory of operation. The parent (the runner) keeps the host's rights and stays in the host's
 * namespaces; the child is born in the new ones and becomes the first process. They share the table of
 * descriptors, so a mount that the parent makes is a number the child can use, and one page of memory.
 * Each has its part, and with two CPUs they work side by side:
 *
 *	parent                                  child
 *	maps the ids                    -->     becomes root of the user namespace
 *	root, /dev, binds (detached)            /proc, /sys, /dev/pts ... (detached)
 *	                                -->     enters the root, attaches the mounts
 *	v2 if it must, network cards    -->     cgroup namespace, addresses, masks, terminal, rights
 *	                                <--     is about to execute (or to wait for `hold`)
 *	                                <--     end of the stream: it has; or the error in the page
 *
 * Before it executes the child takes a table of its own in which everything closes. Until then it is not
 * dumpable, and nothing of the container runs.
 */
#include "container/start.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/text.h"
#include "container/nics.h"
#include "container/rights.h"
#include "container/rootfs.h"
#include "container/sync.h"
#include "container/tree.h"
#include "host/cgroup.h"
#include "host/process.h"

/* Bytes of the stream. */
enum step { STEP_MAPPED = 'm', STEP_ROOT = 'r', STEP_READY = 'g', STEP_EXECUTE = 'x' };

struct shared {
	int code; /* of the child's failure */
	struct error e;
	int root;
	int terminal;
	bool is_fresh;
	int mounts[CONTAINER_MOUNTS_MAX + 16];
	bool is_file[CONTAINER_MOUNTS_MAX + 16];
};

struct child {
	struct container *container;
	const struct start_options *options;
	struct shared *shared;
	int sync;
};

static int become_root(const struct container *c, struct error *e)
{
	if (c->uid_count == 0)
		return 0;
	if (setgroups(0, NULL) < 0)
		return error_errno(e, "drop the groups");
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return error_errno(e, "become root of the user namespace");
	return 0;
}

static int name_host(const struct container *c, struct error *e)
{
	if (c->hostname && (c->namespaces & CLONE_NEWUTS) &&
		sethostname(c->hostname, strlen(c->hostname)) < 0)
		return error_errno(e, "hostname %s", c->hostname);
	if (c->domainname && (c->namespaces & CLONE_NEWUTS) &&
		setdomainname(c->domainname, strlen(c->domainname)) < 0)
		return error_errno(e, "domainname %s", c->domainname);
	return 0;
}

/* In the table that is shared: the master's number is told. */
static int open_terminal(struct child *child, int root, int *ret_slave, struct error *e)
{
	struct container *c = child->container;
	if (!c->process.has_terminal)
		return 0;
	cleanup(close) int slave = -1;
	int master = -1;
	int r = tree_open_terminal(root, &master, &slave, e);
	if (r < 0)
		return r;
	struct winsize size = { .ws_col = c->process.columns ? c->process.columns : 80,
		.ws_row = c->process.rows ? c->process.rows : 25 };
	(void)ioctl(master, TIOCSWINSZ, &size);
	child->shared->terminal = master;
	r = tree_bind_console(root, slave, e);
	if (r == 0)
		*ret_slave = TAKE_FD(slave);
	return r;
}

/* In a table of our own. */
static int place_stdio(struct child *child, int slave, const struct user *user, struct error *e)
{
	struct container *c = child->container;
	if (setsid() < 0)
		return error_errno(e, "setsid");
	/* A system's init takes /dev/console as its terminal when it wants it. */
	if (slave >= 0 && !c->is_system && ioctl(slave, TIOCSCTTY, 0) < 0)
		return error_errno(e, "take the terminal");
	if (slave >= 0 && user->uid != 0 && fchown(slave, user->uid, (gid_t)-1) < 0)
		return error_errno(e, "give the terminal to user %u", user->uid);
	return rights_place_stdio(child->options->stdio, slave, e);
}

/* Those of pid are entered by the parent, for us. */
static int join_namespaces(const struct container *c, struct error *e)
{
	for (size_t i = 0; i < c->join_count; i++) {
		const struct container_join *join = &c->joins[i];
		if (join->type == CLONE_NEWPID)
			continue;
		cleanup(close) int fd = open(join->path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, (int)join->type) < 0)
			return error_errno(e, "join the namespace %s", join->path);
	}
	return 0;
}

/*
 * Into the groups of v1, which nobody can be born in. `tasks` takes us without stopping the host's forks: another's
 * process, by cgroup.procs, waits some milliseconds until no process forks anywhere.
 */
static int join_v1_groups(const struct container *c, struct error *e)
{
	for (size_t i = 0; c->cgroups && c->cgroups[i]; i++) {
		struct statfs fs;
		if (statfs(c->cgroups[i], &fs) < 0 || fs.f_type != CGROUP_SUPER_MAGIC)
			continue;
		cleanup(free) char *path = alloc_printf("%s/tasks", c->cgroups[i]);
		int r = file_write_value_f(AT_FDCWD, path, "0");
		if (r < 0)
			return error_code(e, r, "join %s", path);
	}
	return 0;
}

static int build_tree(struct child *child, struct error *e)
{
	struct container *c = child->container;
	/* With a hook between, the parent does it, so that the hook finds it done. */
	int r = child->options->between ? 0 : join_v1_groups(c, e);
	if (r == 0)
		r = join_namespaces(c, e);
	if (r == 0)
		r = sync_wait(child->sync, STEP_MAPPED, e);
	if (r == 0)
		r = become_root(c, e);
	if (r == 0)
		r = name_host(c, e);
	if (r == 0)
		r = tree_make_mounts(c, e);
	if (r == 0)
		r = sync_wait(child->sync, STEP_ROOT, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->mount_count; i++) {
		if (child->shared->mounts[i] < 0)
			continue;
		c->mounts[i].fd = child->shared->mounts[i];
		c->mounts[i].is_file = child->shared->is_file[i];
	}
	c->root.is_fresh = child->shared->is_fresh;
	if (child->options->inside) {
		r = child->options->inside(child->options->data, START_CREATED, e);
		if (r < 0)
			return r;
	}
	r = tree_enter(child->shared->root, e);
	return r < 0 ? r : tree_attach(c, child->shared->root, e);
}

static int finish_tree(struct child *child, struct error *e)
{
	struct container *c = child->container;
	int root = child->shared->root;
	int r = sync_wait(child->sync, STEP_READY, e);
	/* Only now we are in the group that shall be the root of what the container sees. */
	if (r == 0 && (c->namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		r = error_errno(e, "unshare the cgroup namespace");
	if (r == 0)
		r = tree_attach_cgroups(c, root, e);
	if (r == 0 && (c->namespaces & CLONE_NEWNET))
		r = nics_configure(c, e);
	if (r == 0)
		r = tree_set_sysctls(c, e);
	if (r == 0)
		r = tree_write_names(c, root, e);
	return r;
}

static int become_program(struct child *child, struct error *e)
{
	struct container *c = child->container;
	int root = child->shared->root;
	struct user user;
	cleanup(close) int slave = -1;
	int r = rights_find_user(&c->process, root, &user, e);
	if (r == 0)
		r = open_terminal(child, root, &slave, e);
	if (r == 0)
		r = tree_protect(c, root, e);
	if (r == 0)
		r = rights_set_limits(&c->process, true, e);
	if (r == 0)
		r = rights_enter_cwd(c->process.cwd, e);
	if (r < 0)
		return r;
	/* A table of our own, in which all that is not standard closes. */
	if (close_range(3, ~0U, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) < 0)
		return error_errno(e, "close descriptors");
	r = place_stdio(child, slave, &user, e);
	if (r < 0)
		return r;
	/* Who starts it later would not learn of it then; and the filter may refuse to look. */
	if (child->options->hold >= 0)
		r = rights_look_up((const char *const *)c->process.args,
			(const char *const *)c->process.env, e);
	if (r < 0)
		return r;
	r = rights_take(&c->process, &user, e);
	if (r < 0)
		return r;
	if (child->options->dies_with_us && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return error_errno(e, "tie the container to its runner");
	if (child->options->hold >= 0)
		child->shared->code = 0;
	if (sync_tell(child->sync, STEP_EXECUTE) < 0)
		return error_set(e, -EPIPE, "the runner has gone");
	if (child->options->hold >= 0) {
		char byte;
		if (read(child->options->hold, &byte, 1) != 1)
			return error_set(e, -ECANCELED, "not started");
	}
	if (child->options->inside) {
		r = child->options->inside(child->options->data, START_STARTED, e);
		if (r < 0)
			return r;
	}
	/* From here only execve itself can fail. */
	child->shared->code = 0;
	return rights_execute(
		(const char *const *)c->process.args, (const char *const *)c->process.env, e);
}

static int run_child(struct child *child)
{
	struct error *e = &child->shared->e;
	int r = build_tree(child, e);
	if (r == 0)
		r = finish_tree(child, e);
	if (r < 0)
		return r;
	if (child->options->serve) {
		/* The parent may close its descriptors as soon as it hears of us. */
		if (unshare(CLONE_FILES) < 0)
			return error_errno(e, "take descriptors of our own");
		if (child->options->dies_with_us)
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		child->shared->code = 0;
		(void)!sync_tell(child->sync, STEP_EXECUTE);
		return child->options->serve(child->options->data, child->shared->root);
	}
	return become_program(child, e);
}

static int write_map(
	int proc, const char *file, const struct id_range *ranges, size_t count, struct error *e)
{
	cleanup(text_done) struct text text = {};
	for (size_t i = 0; i < count; i++)
		text_printf(
			&text, "%u %u %u\n", ranges[i].inside, ranges[i].outside, ranges[i].count);
	int r = file_write_value(proc, file, text_str(&text));
	return r < 0 ? error_code(e, r, "map ids: write %s", file) : 0;
}

static int map_ids(const struct container *c, int proc, int *ret_user_namespace, struct error *e)
{
	if (c->uid_count == 0)
		return 0;
	int r = write_map(proc, "uid_map", c->uids, c->uid_count, e);
	if (r == 0)
		r = write_map(proc, "gid_map", c->gids, c->gid_count, e);
	if (r < 0)
		return r;
	*ret_user_namespace = openat(proc, "ns/user", O_RDONLY | O_CLOEXEC);
	return *ret_user_namespace < 0 ? error_errno(e, "open the user namespace") : 0;
}

/* The child's group in v2, in which it can be born; -1 if there is none. */
static int open_v2_group(const struct container *c)
{
	for (size_t i = 0; c->cgroups && c->cgroups[i]; i++) {
		cleanup(close) int fd = open(c->cgroups[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct statfs fs;
		if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
			return TAKE_FD(fd);
	}
	return -1;
}

/* All groups but the one that the child was born in, and those that it joins itself. */
static int join_groups(
	const struct container *c, bool is_in_v2, bool is_in_v1, pid_t pid, struct error *e)
{
	for (size_t i = 0; c->cgroups && c->cgroups[i]; i++) {
		struct statfs fs;
		bool is_known = statfs(c->cgroups[i], &fs) == 0;
		if (is_known && is_in_v2 && fs.f_type == CGROUP2_SUPER_MAGIC)
			continue;
		if (is_known && is_in_v1 && fs.f_type == CGROUP_SUPER_MAGIC)
			continue;
		const char *const one[] = { c->cgroups[i], NULL };
		int r = cgroup_attach_dirs(one, pid, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_v1_group(const struct container *c)
{
	for (size_t i = 0; c->cgroups && c->cgroups[i]; i++) {
		struct statfs fs;
		if (statfs(c->cgroups[i], &fs) == 0 && fs.f_type == CGROUP_SUPER_MAGIC)
			return true;
	}
	return false;
}

struct parent {
	struct container *container;
	const struct start_options *options;
	struct shared *shared;
	int sync;
	pid_t pid;
	bool is_in_v2;
};

/* The child into its cgroups, and its network cards into its namespace. */
static int bring_in(const struct parent *parent, struct error *e)
{
	int r = join_groups(
		parent->container, parent->is_in_v2, !parent->options->between, parent->pid, e);
	return r < 0 ? r : nics_move(parent->container, parent->pid, e);
}

static int help_child(struct parent *parent, struct error *e)
{
	struct container *c = parent->container;
	struct shared *shared = parent->shared;
	cleanup(close) int user_namespace = -1;
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d", parent->pid);
	cleanup(close) int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return error_errno(e, "open %s", path);
	int r = map_ids(c, proc, &user_namespace, e);
	if (r == 0 && c->process.has_oom_score) {
		r = file_write_value_f(proc, "oom_score_adj", "%d", c->process.oom_score_adj);
		if (r < 0)
			r = error_code(e, r, "oom_score_adj %d", c->process.oom_score_adj);
	}
	if (r == 0)
		r = sync_tell(parent->sync, STEP_MAPPED);
	if (r == 0)
		r = rootfs_make(c, user_namespace, &shared->root, e);
	if (r == 0)
		r = rootfs_make_mounts(c, user_namespace, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->mount_count; i++) {
		shared->mounts[i] = c->mounts[i].fd;
		shared->is_file[i] = c->mounts[i].is_file;
	}
	shared->is_fresh = c->root.is_fresh;
	/* Somebody who has to do something before the root is entered makes it one after the other. */
	if (parent->options->between) {
		r = bring_in(parent, e);
		if (r == 0)
			r = parent->options->between(parent->options->data, parent->pid, e);
		if (r == 0)
			r = sync_tell(parent->sync, STEP_ROOT);
	} else {
		r = sync_tell(parent->sync, STEP_ROOT);
		if (r == 0)
			r = bring_in(parent, e);
	}
	return r < 0 ? r : sync_tell(parent->sync, STEP_READY);
}

int start_wait(struct started *started, struct error *e)
{
	struct shared *shared = started->shared;
	(void)!sync_wait_child(started->sync, started->pidfd);
	close(started->sync);
	started->sync = -1;
	int code = shared->code;
	if (code < 0)
		error_set(e, code, "%s", shared->e.text);
	munmap(shared, sizeof(*shared));
	started->shared = NULL;
	return code;
}

/* The child's own words, if it has failed; else the parent's. */
static int first_failure(int r, struct shared *shared, int pidfd, struct error *e)
{
	(void)!process_signal(pidfd, SIGKILL);
	int status;
	(void)!process_wait(pidfd, &status);
	if (shared->code < 0 && (r == 0 || r == -EPIPE))
		return error_set(e, shared->code, "%s", shared->e.text);
	return r < 0 ? r : error_set(e, -EIO, "the container ended while it was set up");
}

/* Children of ours are born in the pid namespace to join, until *ret_own is entered again. */
static int join_pids(const struct container *c, int *ret_own, struct error *e)
{
	for (size_t i = 0; i < c->join_count; i++) {
		if (c->joins[i].type != CLONE_NEWPID)
			continue;
		cleanup(close) int fd = open(c->joins[i].path, O_RDONLY | O_CLOEXEC);
		*ret_own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		if (fd < 0 || *ret_own < 0 || setns(fd, CLONE_NEWPID) < 0)
			return error_errno(e, "join the namespace %s", c->joins[i].path);
	}
	return 0;
}

static int raise_child(struct container *c, const struct start_options *options,
	struct shared *shared, struct started *ret, struct error *e)
{
	int sync[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync) < 0)
		return error_errno(e, "socketpair");
	cleanup(close) int ours = sync[0];
	cleanup(close) int theirs = sync[1];
	cleanup(close) int group = open_v2_group(c);
	c->shows_v1 = !c->has_delegate && has_v1_group(c);
	/* A cgroup namespace would show the group we are in now: the child unshares it later. */
	uint64_t flags = c->namespaces & ~(uint64_t)CLONE_NEWCGROUP;
	cleanup(close) int pidfd = -1;
	cleanup(close) int own_pids = -1;
	int r = join_pids(c, &own_pids, e);
	if (r < 0)
		return r;
	pid_t pid = process_clone(flags | CLONE_FILES, group, &pidfd);
	if (own_pids >= 0 && pid != 0 && setns(own_pids, CLONE_NEWPID) < 0) {
		int failure = error_errno(e, "come back to our pid namespace");
		return pid > 0 ? first_failure(failure, shared, pidfd, e) : failure;
	}
	if (pid < 0)
		return error_code(e, pid, "make the namespaces");
	if (pid == 0) {
		struct child child = { c, options, shared, theirs };
		shared->code = -EIO;
		int code = run_child(&child);
		shared->code = code;
		_exit(code < 0 ? 127 : 0);
	}
	struct parent parent = { c, options, shared, ours, pid, group >= 0 };
	r = help_child(&parent, e);
	if (r < 0 || sync_wait_child(ours, pidfd) != STEP_EXECUTE)
		return first_failure(r, shared, pidfd, e);
	*ret = (struct started){ .pid = pid,
		.pidfd = TAKE_FD(pidfd),
		.terminal = shared->terminal,
		.sync = TAKE_FD(ours),
		.shared = shared };
	return 0;
}

int container_start(struct container *container, const struct start_options *options,
	struct started *ret, struct error *e)
{
	if (container->mount_count > ARRAY_SIZE(((struct shared *)NULL)->mounts))
		return error_set(e, -E2BIG, "mounts: more than %d", CONTAINER_MOUNTS_MAX);
	struct shared *shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return error_errno(e, "share a page");
	shared->root = shared->terminal = -1;
	struct started started;
	int r = raise_child(container, options, shared, &started, e);
	if (shared->root >= 0)
		close(shared->root);
	if (r < 0) {
		if (shared->terminal >= 0)
			close(shared->terminal);
		munmap(shared, sizeof(*shared));
		return r;
	}
	if (options->hold < 0 && !options->serve) {
		r = start_wait(&started, e);
		if (r < 0) {
			int status;
			(void)!process_wait(started.pidfd, &status);
			close(started.pidfd);
			if (started.terminal >= 0)
				close(started.terminal);
			return r;
		}
	}
	*ret = started;
	return 0;
}
