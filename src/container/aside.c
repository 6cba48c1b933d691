/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aside.c - what the helpers beside a running instance have in common.
 */
#include "container/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/runner.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/text.h"
#include "host/process.h"
#include "model/json.h"

#define REQUEST_BYTES_MAX MIB

struct page {
	int code;
	struct error e;
};

int aside_request(json_t **ret, struct error *e)
{
	cleanup(close) int fd = process_named_fd("request");
	if (fd < 0)
		return error_code(e, fd, "the descriptor request");
	cleanup(text_done) struct text text = {};
	char bytes[4096];
	for (;;) {
		ssize_t got = pread(fd, bytes, sizeof(bytes), (off_t)text.length);
		if (got < 0)
			return error_errno(e, "read the request");
		if (got == 0)
			break;
		text_add_n(&text, bytes, (size_t)got);
		if (text.length > REQUEST_BYTES_MAX)
			return error_set(e, -E2BIG, "the request is too long");
	}
	cleanup(json_decref) json_t *json = NULL;
	int r = json_parse(text_str(&text), text.length, &json, e);
	if (r == 0 && !json_is_object(json))
		r = error_set(e, -EINVAL, "the request is no object");
	if (r == 0)
		*ret = TAKE_PTR(json);
	return r;
}

pid_t aside_pid(int pidfd)
{
	char path[64];
	cleanup(free) char *text = NULL;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	int r = file_read(AT_FDCWD, path, 4096, &text, NULL, NULL);
	if (r < 0)
		return r;
	const char *line = strstr(text, "\nPid:");
	int pid = 0;
	if (!line || sscanf(line, "\nPid: %d", &pid) != 1 || pid <= 0)
		return -ESRCH;
	return pid;
}

static int in_child(const struct container *c, int pidfd, uint64_t namespaces, aside_call *call,
	void *data, struct error *e)
{
	if (setns(pidfd, (int)namespaces) < 0)
		return error_errno(e, "enter the instance");
	if ((namespaces & CLONE_NEWUSER) && c->uid_count &&
		(setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return error_errno(e, "become the instance's root");
	cleanup(close) int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return error_errno(e, "open the instance's root");
	return call(data, root, e);
}

int aside_enter(const struct container *container, int pidfd, uint64_t namespaces, aside_call *call,
	void *data, struct error *e)
{
	if (!container->uid_count)
		namespaces &= ~(uint64_t)CLONE_NEWUSER;
	struct page *page = mmap(
		NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return error_errno(e, "share a page");
	page->code = -EIO;
	int child = -1, status = 0;
	pid_t pid = process_clone(0, -1, &child);
	if (pid == 0) {
		page->code = in_child(container, pidfd, namespaces, call, data, &page->e);
		_exit(0);
	}
	int r = pid < 0 ? error_code(e, pid, "make a process") : process_wait(child, &status);
	if (child >= 0)
		close(child);
	if (r == 0 && page->code < 0)
		r = error_set(e, page->code, "%s",
			page->e.text[0] ? page->e.text : "the helper in the instance was killed");
	munmap(page, sizeof(*page));
	return r;
}

void aside_answer(int channel, int code, const struct error *e)
{
	struct runner_header done = { sizeof(done), RUNNER_VERSION, RUNNER_DONE, 0, 0 };
	struct runner_error error = {
		.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, 0, 0 },
		.code = code,
	};
	if (code < 0)
		snprintf(error.text, sizeof(error.text), "%.*s", RUNNER_TEXT_MAX - 1, e->text);
	if (code < 0)
		(void)!channel_send(channel, &error, sizeof(error), NULL, 0);
	else
		(void)!channel_send(channel, &done, sizeof(done), NULL, 0);
}
