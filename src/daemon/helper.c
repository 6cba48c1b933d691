/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.c - starts a program that enters a running instance with a request: exec.
 */
#include "daemon/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "daemon/supervisor.h"

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
	cleanup(close) int request = -1, dir = -1;
	cleanup(free) char *program = NULL;
	size_t count = 0;
	assert(options->fd_count + 3 <= HELPER_FDS_MAX);
	int r = service_program(instance->service, instance->kind->runner, &program, e);
	if (r == 0)
		r = request_file(options->request, &request, e);
	if (r == 0)
		r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
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
