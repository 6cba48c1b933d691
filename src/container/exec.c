/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - three processes put a program into a container.
 *
 * Theory of operation. The helper itself never enters: it stays outside, keeps the terminal's master and
 * tells the wait status. A go-between joins the container's cgroups and namespaces; because a pid
 * namespace is entered only by one's children, it makes the program's process as a child of the helper
 * (CLONE_PARENT) and ends. All three share one table of descriptors until the last takes its own.
 */
#include "container/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/text.h"
#include "container/rights.h"
#include "container/sync.h"
#include "container/tree.h"
#include "host/cgroup.h"
#include "host/process.h"

#define STEP_JOINED  'j'
#define STEP_EXECUTE 'x'
#define LEAF         "berth-exec"

struct page {
	int code;
	struct error e;
	pid_t pid;
	int pidfd;
	int terminal;
};

struct entering {
	const struct exec_options *options;
	struct page *page;
	int sync;
};

/* The v2 group of a container whose init has made groups below it may hold no process: a leaf can. */
static int join_leaf(const struct container *c, const char *dir, pid_t pid, struct error *e)
{
	cleanup(free) char *leaf = alloc_printf("%s/" LEAF, dir);
	if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
		return error_errno(e, "make the cgroup %s", leaf);
	uint32_t uid = container_host_id(c->uids, c->uid_count, 0);
	uint32_t gid = container_host_id(c->gids, c->gid_count, 0);
	cleanup(free) char *procs = alloc_printf("%s/cgroup.procs", leaf);
	if (chown(leaf, uid, gid) < 0 || chown(procs, uid, gid) < 0)
		return error_errno(e, "give away the cgroup %s", leaf);
	const char *const dirs[] = { leaf, NULL };
	return cgroup_attach_dirs(dirs, pid, e);
}

static int join_cgroups(const struct container *c, pid_t pid, struct error *e)
{
	for (size_t i = 0; c->cgroups && c->cgroups[i]; i++) {
		const char *const dirs[] = { c->cgroups[i], NULL };
		int r = cgroup_attach_dirs(dirs, pid, e);
		if (r == -EBUSY || r == -EOPNOTSUPP)
			r = join_leaf(c, c->cgroups[i], pid, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* In the table that is shared: the master's number is told. */
static int open_terminal(struct entering *in, int root, int *ret_slave, struct error *e)
{
	const struct container_process *process = in->options->process;
	if (!process->has_terminal)
		return 0;
	int r = tree_open_terminal(root, &in->page->terminal, ret_slave, e);
	if (r < 0)
		return r;
	struct winsize size = { .ws_col = process->columns ? process->columns : 80,
		.ws_row = process->rows ? process->rows : 25 };
	(void)ioctl(in->page->terminal, TIOCSWINSZ, &size);
	return 0;
}

/* In a table of our own. */
static int place_stdio(struct entering *in, int slave, const struct user *user, struct error *e)
{
	if (setsid() < 0)
		return error_errno(e, "setsid");
	if (slave >= 0 && ioctl(slave, TIOCSCTTY, 0) < 0)
		return error_errno(e, "take the terminal");
	if (slave >= 0 && user->uid != 0 && fchown(slave, user->uid, (gid_t)-1) < 0)
		return error_errno(e, "give the terminal to user %u", user->uid);
	return rights_place_stdio(in->options->stdio, slave, e);
}

/* Where the request says, else at home, which there may not be. */
static int enter_directory(
	const struct container_process *process, const struct user *user, struct error *e)
{
	if (process->cwd) {
		int r = rights_enter_cwd(process->cwd, e);
		return r == -ENOENT ? -ENOTDIR : r; /* it is not the program that is missing */
	}
	if (rights_enter_cwd(user->home, NULL) == 0)
		return 0;
	return rights_enter_cwd("/", e);
}

static int run_program(struct entering *in, struct error *e)
{
	const struct container_process *process = in->options->process;
	cleanup(close) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, "open the container's root");
	struct user user;
	cleanup(close) int slave = -1;
	int r = rights_find_user(process, root, &user, e);
	if (r == 0)
		r = open_terminal(in, root, &slave, e);
	if (r == 0)
		r = rights_set_limits(process, false, e);
	if (r == 0)
		r = enter_directory(process, &user, e);
	if (r == 0 && close_range(3, ~0U, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) < 0)
		r = error_errno(e, "close descriptors");
	if (r == 0)
		r = place_stdio(in, slave, &user, e);
	if (r == 0)
		r = rights_take(process, &user, e);
	if (r == 0 && sync_tell(in->sync, STEP_EXECUTE) < 0)
		r = error_set(e, -EPIPE, "the exec helper has gone");
	if (r < 0)
		return r;
	in->page->code = 0;
	return rights_execute(
		(const char *const *)process->args, (const char *const *)process->env, e);
}

static int enter(struct entering *in, struct error *e)
{
	const struct container *c = in->options->container;
	int r = sync_wait(in->sync, STEP_JOINED, e);
	if (r < 0)
		return r;
	if (setns(in->options->pidfd, (int)c->namespaces) < 0)
		return error_errno(e, "enter the container");
	if (c->uid_count &&
		(setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return error_errno(e, "become the container's root");
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_FILES | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&in->page->pidfd,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return error_errno(e, "make a process in the container");
	if (pid == 0) {
		in->page->code = -EIO;
		int code = run_program(in, e);
		in->page->code = code;
		_exit(127);
	}
	in->page->pid = (pid_t)pid;
	return 0;
}

/* Waits for the go-between: then the page has the program's process, or the error. */
static int wait_between(int pidfd, struct page *page, struct error *e)
{
	int status;
	int r = process_wait(pidfd, &status);
	if (r < 0)
		return error_code(e, r, "wait for the way into the container");
	if (page->pid > 0)
		return 0;
	return page->code < 0 ? error_set(e, page->code, "%s", page->e.text)
			      : error_set(e, -EIO, "the way into the container was cut off");
}

static int start_between(
	const struct exec_options *options, struct page *page, int sync[2], struct error *e)
{
	int pidfd = -1;
	pid_t pid = process_clone(CLONE_FILES, -1, &pidfd);
	if (pid < 0)
		return error_code(e, pid, "make a process");
	if (pid == 0) {
		struct entering in = { options, page, sync[1] };
		int code = enter(&in, &page->e);
		if (code < 0)
			page->code = code;
		_exit(code < 0 ? 1 : 0);
	}
	cleanup(close) int between = pidfd;
	int r = join_cgroups(options->container, pid, e);
	if (r == 0)
		r = sync_tell(sync[0], STEP_JOINED);
	if (r < 0) {
		(void)!process_signal(pidfd, SIGKILL);
		int status;
		(void)!process_wait(pidfd, &status);
		return r;
	}
	return wait_between(between, page, e);
}

static int start_program(const struct exec_options *options, struct page *page,
	struct executed *ret, struct error *e)
{
	int sync[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sync) < 0)
		return error_errno(e, "socketpair");
	cleanup(close) int ours = sync[0];
	cleanup(close) int theirs = sync[1];
	int r = start_between(options, page, sync, e);
	if (r < 0)
		return r;
	/* The program's process says when it has its own descriptors; then ours may close. */
	int step = sync_wait_child(ours, page->pidfd);
	close(TAKE_FD(theirs));
	if (step == STEP_EXECUTE)
		step = sync_wait_child(ours, page->pidfd);
	if (page->code < 0) {
		int status;
		(void)!process_wait(page->pidfd, &status);
		close(page->pidfd);
		if (page->terminal >= 0)
			close(page->terminal);
		return error_set(e, page->code, "%s", page->e.text);
	}
	*ret = (struct executed){
		.pid = page->pid, .pidfd = page->pidfd, .terminal = page->terminal
	};
	return 0;
}

int exec_start(const struct exec_options *options, struct executed *ret, struct error *e)
{
	struct page *page = mmap(
		NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return error_errno(e, "share a page");
	page->pidfd = page->terminal = -1;
	int r = start_program(options, page, ret, e);
	munmap(page, sizeof(*page));
	return r;
}
