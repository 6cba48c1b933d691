/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-job: one slow or risky task for berthd, in a process of its own.
 *
 * usage: berth-job     with a channel named in BERTH_FDS=channel=N; see task.h
 *
 * The process that berthd started only waits; the work is done by its child, the first process of a new PID
 * namespace, which dies with it.
 */
#include <errno.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/text.h"
#include "host/process.h"
#include "job/tasks.h"

static const struct {
	const char *name;
	int (*run)(struct task *task, json_t **ret, struct error *e);
} tasks[] = {
	{ "image", task_image },
	{ "oci", task_oci },
	{ "oci-archive", task_oci_archive },
	{ "ext2", task_ext2 },
	{ "fetch", task_fetch },
	{ "pack", task_pack },
	{ "unpack", task_unpack },
	{ "backup-index", task_backup_index },
	{ "initial", task_initial },
	{ "media", task_media },
	{ "join", task_join },
	{ "digest", task_digest },
	{ "remove", task_remove },
	{ "unikernel", task_unikernel },
	{ "volume", task_volume },
};

static int run(struct task *task, json_t **ret, struct error *e)
{
	const char *name;
	int r = task_text(task, "task", &name, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		if (text_equal(tasks[i].name, name))
			return tasks[i].run(task, ret, e);
	return error_set(e, -EINVAL, "task: \"%s\" is not known", name);
}

static int work(int channel)
{
	struct task task = { .channel = -1 };
	struct error e = {};
	json_t *result = NULL;
	int r = task_receive(channel, &task, &e);
	if (r == 0)
		r = run(&task, &result, &e);
	if (r == 0)
		r = task_answer(&task, result, &e);
	if (r < 0) {
		task.channel = channel;
		task_fail(&task, r, &e);
	}
	return r < 0 ? 1 : 0;
}

/* Of the process that waits: whom it takes along when it is told to end. */
static volatile sig_atomic_t worker;

static void end_worker(int number)
{
	(void)number;
	kill(worker, SIGKILL);
}

int main(void)
{
	/* Names in archives are UTF-8. */
	setlocale(LC_CTYPE, "C.UTF-8");
	signal(SIGPIPE, SIG_IGN);
	int channel = process_named_fd("channel");
	if (channel < 0) {
		fprintf(stderr, "berth-job: berthd starts it; there is no channel in BERTH_FDS\n");
		return 2;
	}
	int pidfd;
	pid_t pid = process_clone(CLONE_NEWPID, 0, &pidfd);
	if (pid == 0) {
		/* It dies with its parent, and is told to by nobody else. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(work(channel));
	}
	if (pid < 0) {
		fprintf(stderr, "berth-job: clone: %s\n", strerror((int)-pid));
		return 1;
	}
	worker = (int)pid;
	signal(SIGTERM, end_worker);
	int status;
	int r = process_wait(pidfd, &status);
	return r < 0 || !WIFEXITED(status) ? 1 : WEXITSTATUS(status);
}
