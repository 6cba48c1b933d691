/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - /1.0/instances/{name}/console: attach, the log of what was written, its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "abi/runner.h"
#include "base/log.h"
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/api/request_instance.h"
#include "daemon/instance/console.h"
#include "daemon/instance/supervisor.h"
#include "daemon/server/instance.h"
#include "model/json.h"

static int post_console(struct service *service, struct request *request, struct error *e)
{
	const json_t *body = request_json(request);
	const char *type = NULL;
	struct console_options options = {};
	struct instance *instance = NULL;
	struct operation *operation = NULL;
	int r = request_instance(service, request, &instance, e);
	if (r == 0)
		r = json_read_text(body, "", "type", &type, e);
	if (r == 0)
		r = json_read_u64(body, "", "width", &options.columns, e);
	if (r == 0)
		r = json_read_u64(body, "", "height", &options.rows, e);
	if (r == 0)
		r = json_read_bool(body, "", "force", &options.is_forced, e);
	if (r == 0 && (options.columns > UINT16_MAX || options.rows > UINT16_MAX))
		r = error_set(e, -EINVAL, "width: and height: are at most %d", UINT16_MAX);
	if (r == 0 && type && type[0] && !text_equal(type, "console"))
		r = error_set(
			e, -EINVAL, "type: a %s has only a text console", instance->kind->name);
	if (r == 0)
		r = console_start(instance, &options, &operation, e);
	return r < 0 ? r : reply_operation(request, operation);
}

/* A request that waits for the runner. */
struct waiting {
	struct request *request; /* NULL if the client went */
	struct service *service;
};

static void client_gone(void *data)
{
	struct waiting *waiting = data;
	waiting->request = NULL;
}

static void log_came(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	struct waiting *waiting = data;
	const size_t head = sizeof(struct runner_console_log);
	(void)fds;
	(void)fd_count;
	if (waiting->request && code < 0) {
		reply_error(waiting->request, code, e);
	} else if (waiting->request) {
		size_t size = length > head ? length - head : 0;
		char *text = alloc_array(size + 1, char);
		if (size)
			memcpy(text, (const char *)bytes + head, size);
		if (reply_plain(waiting->request, text, size, "application/octet-stream") < 0)
			log_error("console log not sent");
	}
	free(waiting);
}

static void cleared(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	struct waiting *waiting = data;
	(void)bytes;
	(void)length;
	(void)fds;
	(void)fd_count;
	if (waiting->request && code < 0)
		reply_error(waiting->request, code, e);
	else if (waiting->request && reply_sync(waiting->request, NULL) < 0)
		log_error("console: not answered");
	free(waiting);
}

static int ask_runner(struct instance *instance, struct request *request, uint16_t type,
	live_answer *answer, struct error *e)
{
	struct waiting *waiting = alloc(struct waiting);
	struct runner_header message = { .type = type };
	*waiting = (struct waiting){ request, instance->service };
	int r = live_send(instance->live, &message, sizeof(message), -1, answer, waiting, e);
	if (r < 0) {
		free(waiting);
		return r;
	}
	request_defer(request, client_gone, waiting);
	return 0;
}

static int get_console(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	struct stat status;
	cleanup(close) int dir = -1, fd = -1;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (instance->live)
		return ask_runner(instance, request, RUNNER_CONSOLE_LOG, log_came, e);
	if (instance->kind->can & KIND_IS_SERVER) {
		fd = server_instance_log(instance);
	} else {
		r = instance_open_dir(instance, &dir, e);
		if (r < 0)
			return r;
		fd = openat(dir, RUNNER_CONSOLE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (fd < 0 && errno == ENOENT)
		return reply_plain(request, alloc_text(""), 0, "application/octet-stream");
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open " RUNNER_CONSOLE_FILE);
	return reply_file(request, TAKE_FD(fd), (uint64_t)status.st_size, NULL);
}

static int delete_console(struct service *service, struct request *request, struct error *e)
{
	struct instance *instance = NULL;
	cleanup(close) int dir = -1;
	int r = request_instance(service, request, &instance, e);
	if (r < 0)
		return r;
	if (instance->live)
		return ask_runner(instance, request, RUNNER_CONSOLE_CLEAR, cleared, e);
	r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
	if (unlinkat(dir, RUNNER_CONSOLE_FILE, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove " RUNNER_CONSOLE_FILE);
	return reply_sync(request, NULL);
}

#define CONSOLE "/1.0/instances/{name}/console"

const struct route console_routes[] = {
	{ "GET", CONSOLE, REQUEST_NONE, get_console, 0 },
	{ "POST", CONSOLE, REQUEST_JSON, post_console, 0 },
	{ "DELETE", CONSOLE, REQUEST_NONE, delete_console, 0 },
	{},
};
