/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.c - `berth-tender files`: the files of an instance, by an agent of ours beside it.
 *
 * Theory of operation. What stands on the volume was written by a guest, so nobody with rights reads it: a library OS in a
 * locked process does, as the instance itself would, and the program that it runs is berth-agent. A process a request. While the
 * instance runs it has its storage for itself: its files can be read, as they are at that moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi/files.h"
#include "agent/ask_files.h"
#include "base/file.h"
#include "host/process.h"
#include "model/json.h"
#include "tender/aside.h"
#include "tender/build.h"
#include "tender/exec.h"

#define PLAN_BYTES_MAX MIB

struct files {
	struct tender_plan *plan;
	char *agent;
	json_t *arguments, *environment;
	bool runs;
	struct aside_process process;
};

static bool changes(uint32_t type)
{
	return type != FILES_STAT && type != FILES_GET && type != FILES_SFTP;
}

static int connect_agent(void *data, uint32_t type, int *ret, struct error *e)
{
	struct files *files = data;
	int ends[2];
	if (changes(type) && files->runs)
		return error_set(e, -EBUSY,
			"A unikernel that runs has its storage for itself: stop it to change its files");
	if (changes(type) && files->plan->restore)
		return error_set(e, -EBUSY,
			"The unikernel goes on from a state that knows its files: start it and stop it to change them");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, "make a connection");
	int r = aside_start(&(struct aside){ .plan = files->plan,
				    .arguments = files->arguments,
				    .environment = files->environment,
				    .program = files->agent,
				    .stdio = { ends[1], ends[1], -1 },
				    .writes = changes(type) },
		&files->process, e);
	close(ends[1]);
	if (r < 0)
		close(ends[0]);
	else
		*ret = ends[0];
	/* Not that the file is not there, which these mean to who asked. */
	return r == -ENOENT || r == -EACCES ? -EIO : r;
}

/* Its end closes the storage. */
static void closed(void *data)
{
	struct files *files = data;
	int status;
	(void)!process_wait(files->process.pidfd, &status);
	close(files->process.pidfd);
}

static int read_plan(struct files *files, int dir, struct error *e)
{
	cleanup(free) char *text = NULL;
	size_t length;
	int r = file_read(dir, RUNNER_PLAN_FILE, PLAN_BYTES_MAX, &text, &length, e);
	return r < 0 ? r : tender_plan_read(text, length, &files->plan, e);
}

int files_main(void)
{
	int channel = process_named_fd("channel"), dir = process_named_fd("dir");
	struct error e = {};
	if (channel < 0 || dir < 0)
		return 2;
	struct files files = { .agent = build_beside("berth-agent", "../agent/berth-agent"),
		.arguments = json_pack("[s, s]", "berth-agent", "--console"),
		.environment = json_array(),
		.runs = process_named_fd("pidfd") >= 0 };
	int r = read_plan(&files, dir, &e);
	if (r < 0)
		ask_files_refuse(channel, r, &e);
	else
		r = ask_files_serve(channel,
			&(struct ask_files){ .kind = "unikernel",
				.connect = connect_agent,
				.closed = closed,
				.data = &files });
	json_decref(files.arguments);
	json_decref(files.environment);
	tender_plan_free(files.plan);
	free(files.agent);
	return r < 0 ? 1 : r;
}
