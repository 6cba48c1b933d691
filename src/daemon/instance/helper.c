/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.c - starts a program that enters a running instance with a request: exec.
 */
#include "daemon/instance/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "base/log.h"
#include "daemon/instance/supervisor.h"
#include "daemon/server/line.h"
#include "model/json.h"

/* The request as a file that only the helper reads. */
static int request_file(const json_t *request, int *ret, struct error *e)
{
	cleanup(close) int fd = memfd_create("request", MFD_CLOEXEC);
	cleanup(free) char *text = json_dumps(request, JSON_COMPACT);
	if (fd < 0)
		return error_errno(e, "make a file for the request");
	if (!text)
		return error_set(e, -EINVAL, "a text of the request is not UTF-8");
	int r = file_write_all(fd, text, strlen(text));
	if (r < 0)
		return error_code(e, r, "write the request");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return error_errno(e, "write the request");
	*ret = TAKE_FD(fd);
	return 0;
}

int helper_spawn(struct instance *instance, const struct helper_options *options,
	struct process *ret, struct error *e)
{
	struct process_fd fds[HELPER_FDS_MAX];
	cleanup(close) int request = -1, dir = -1, line = -1;
	cleanup(free) char *program = NULL;
	size_t count = 0;
	assert(options->fd_count + 3 <= HELPER_FDS_MAX);
	int r = service_program(
		instance->service, instance->kind->helper ?: instance->kind->runner, &program, e);
	if (r == 0)
		r = request_file(options->request, &request, e);
	if (r == 0)
		r = instance_open_dir(instance, &dir, e);
	if (r == 0 && (instance->kind->can & KIND_IS_SERVER))
		r = server_line_open(instance, &line, e);
	if (r < 0)
		return r;
	if (line >= 0)
		fds[count++] = (struct process_fd){ "line", line };
	for (size_t i = 0; i < options->fd_count; i++)
		fds[count++] = options->fds[i];
	fds[count++] = (struct process_fd){ "request", request };
	if (instance->live) {
		if (instance->live->pidfd < 0)
			return error_set(e, -EBUSY, "The instance is starting or stopping");
		fds[count++] = (struct process_fd){ "dir", dir };
		fds[count++] = (struct process_fd){ "pidfd", instance->live->pidfd };
	}
	const char *const args[] = { program, options->name, NULL };
	return process_spawn(&(struct process_options){ .program = program,
				     .args = args,
				     .stdin_fd = -1,
				     .stdout_fd = -1,
				     .stderr_fd = -1,
				     .fds = fds,
				     .fd_count = count,
				     .new_session = true },
		ret, e);
}

static void reaped(void *data, pid_t pid, int wait_status)
{
	int *pidfd = data;
	if (wait_status)
		log_warning("the stop helper failed pid=%d wait_status=%d", pid, wait_status);
	close(*pidfd);
	free(pidfd);
}

int helper_ask_end(struct instance *instance, struct error *e)
{
	cleanup(json_decref) json_t *request = json_object();
	struct process helper;
	struct source *child;
	int r = helper_spawn(instance,
		&(struct helper_options){ .name = "stop", .request = request }, &helper, e);
	if (r < 0)
		return r;
	int *pidfd = alloc(int);
	*pidfd = helper.pidfd;
	r = loop_add_child(
		instance->service->loop, helper.pid, helper.pidfd, reaped, pidfd, &child);
	return r < 0 ? error_code(e, r, "watch the stop helper") : 0;
}
