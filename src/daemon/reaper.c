/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reaper.c - waits for a child of which nobody wants to know more.
 */
#include "daemon/reaper.h"

struct reaper {
	int pidfd;
	struct source *source;
};

static void ended(void *data, pid_t pid, int wait_status)
{
	struct reaper *reaper = data;
	(void)pid;
	(void)wait_status;
	source_free(reaper->source);
	close(reaper->pidfd);
	free(reaper);
}

int reaper_take(struct loop *loop, const struct process *child, struct error *e)
{
	struct reaper *reaper = alloc(struct reaper);
	reaper->pidfd = child->pidfd;
	int r = loop_add_child(loop, child->pid, reaper->pidfd, ended, reaper, &reaper->source);
	if (r < 0) {
		close(reaper->pidfd);
		free(reaper);
		return error_code(e, r, "watch process %d", child->pid);
	}
	return 0;
}
