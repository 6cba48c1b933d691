/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hooks.c - a hook is a program with a time limit.
 */
#include "container/oci/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/loop.h"
#include "base/text.h"
#include "container/container.h"
#include "host/process.h"

static const char **texts_of(const json_t *array)
{
	size_t count = json_array_size(array);
	const char **texts = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++)
		texts[i] = json_string_value(json_array_get(array, i)) ?: "";
	return texts;
}

static int wait_for(int pidfd, int64_t seconds, int *ret_status)
{
	struct pollfd wait = { .fd = pidfd, .events = POLLIN };
	int timeout = seconds > 0 && seconds < 1000000 ? (int)seconds * 1000 : -1;
	int ready;
	do
		ready = poll(&wait, 1, timeout);
	while (ready < 0 && errno == EINTR);
	if (ready == 0) {
		(void)!process_signal(pidfd, SIGKILL);
		(void)!process_wait(pidfd, ret_status);
		return -ETIMEDOUT;
	}
	return process_wait(pidfd, ret_status);
}

static int run_hook(const json_t *hook, const char *state, struct error *e)
{
	const char *path = json_string_value(json_object_get(hook, "path"));
	if (!path || path[0] != '/')
		return error_set(e, -EINVAL, "path: an absolute path is wanted");
	cleanup(free) const char **args = texts_of(json_object_get(hook, "args"));
	cleanup(free) const char **env = texts_of(json_object_get(hook, "env"));
	/* A file, so that a hook that does not read stops nobody. */
	cleanup(close) int input = memfd_create("state", MFD_CLOEXEC);
	int r = input < 0 ? -errno : file_write_all(input, state, strlen(state));
	if (r < 0 || lseek(input, 0, SEEK_SET) < 0)
		return error_code(e, r < 0 ? r : -errno, "%s: its input", path);
	struct process process;
	r = process_spawn(&(struct process_options){ .program = path,
				  .args = args[0] ? args : NULL,
				  .env = env,
				  .stdin_fd = input,
				  .stdout_fd = STDOUT_FILENO,
				  .stderr_fd = STDERR_FILENO },
		&process, e);
	if (r < 0)
		return r;
	int status = 0;
	r = wait_for(process.pidfd, json_integer_value(json_object_get(hook, "timeout")), &status);
	close(process.pidfd);
	if (r < 0)
		return error_code(e, r, "%s", path);
	if (status != 0)
		return error_set(e, -ECANCELED, "%s: ended with %d", path,
			WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return 0;
}

int oci_hooks_run(const json_t *hooks, const char *name, const char *state, struct error *e)
{
	size_t at;
	json_t *hook;
	json_array_foreach(json_object_get(hooks, name), at, hook)
	{
		int r = run_hook(hook, state, e);
		if (r < 0)
			return error_prefix(e, r, "hooks.%s", name);
	}
	return 0;
}
