/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.c - a helper asks the agent; its answer is kept for a minute.
 */
#include "daemon/server/usage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/instance/helper.h"
#include "daemon/server/line.h"
#include "daemon/server/note.h"
#include "model/json.h"

#define FRESH_NS (60 * NS_PER_SEC)

struct question {
	struct service *service;
	char *project, *name; /* of the instance, which may go meanwhile */
	int pidfd, answer;
	struct request *request; /* NULL: the client went */
	int (*reply)(struct instance *instance, struct request *request);
};

static void question_free(struct question *question)
{
	if (question->pidfd >= 0)
		close(question->pidfd);
	if (question->answer >= 0)
		close(question->answer);
	free(question->project);
	free(question->name);
	free(question);
}

static void keep(const struct question *question)
{
	struct agent_usage usage;
	struct server *server =
		server_of_instance(question->service, question->project, question->name);
	if (read(question->answer, &usage, sizeof(usage)) != sizeof(usage) || !server ||
		!server->work)
		return;
	if (usage.memory_available > usage.memory_total)
		usage.memory_available = usage.memory_total;
	if (usage.disk_free > usage.disk_total)
		usage.disk_free = usage.disk_total;
	server->work->usage = usage;
	server->work->usage_ns = loop_now();
}

static void answered(void *data, pid_t pid, int wait_status)
{
	struct question *question = data;
	if (wait_status == 0)
		keep(question);
	else
		log_debug("no usage of instance=%s pid=%d wait_status=%d", question->name, pid,
			wait_status);
	struct error e = {};
	struct instance *instance =
		instance_find(question->service, question->project, question->name);
	int r = 0;
	if (question->request && !instance)
		reply_error(question->request, error_set(&e, -ENOENT, "Instance not found"), &e);
	else if (question->request)
		r = question->reply(instance, question->request);
	if (r < 0)
		log_error("a state was not sent");
	question_free(question);
}

static void client_gone(void *data)
{
	struct question *question = data;
	question->request = NULL;
}

/* Starts the helper that asks. */
static int ask(struct instance *instance, struct question *question, struct error *e)
{
	int ends[2];
	struct process helper;
	struct source *child;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return error_errno(e, "make a pipe");
	question->answer = ends[0];
	cleanup(json_decref) json_t *request = json_object();
	const struct process_fd answer = { "answer", ends[1] };
	int r = helper_spawn(instance,
		&(struct helper_options){
			.name = "usage", .request = request, .fds = &answer, .fd_count = 1 },
		&helper, e);
	close(ends[1]);
	if (r < 0)
		return r;
	question->pidfd = helper.pidfd;
	r = loop_add_child(
		instance->service->loop, helper.pid, helper.pidfd, answered, question, &child);
	return r < 0 ? error_code(e, r, "watch the helper") : 0;
}

int server_usage_reply(struct instance *instance, struct request *request,
	int (*reply)(struct instance *instance, struct request *request))
{
	struct error e = {};
	if (!(instance->kind->can & KIND_IS_SERVER) || !server_line_is_there(instance))
		return reply(instance, request);
	struct question *question = alloc(struct question);
	*question = (struct question){ .service = instance->service,
		.project = alloc_text(instance->project),
		.name = alloc_text(instance->name),
		.pidfd = -1,
		.answer = -1,
		.request = request,
		.reply = reply };
	int r = ask(instance, question, &e);
	if (r == 0) {
		request_defer(request, client_gone, question);
		return 0;
	}
	log_warning("no usage of instance=%s: %s", instance->name, e.text);
	question_free(question);
	return reply(instance, request);
}

bool server_usage_last(const struct instance *instance, struct agent_usage *ret)
{
	const struct server *server =
		server_of_instance(instance->service, instance->project, instance->name);
	if (!server || !server->work || !server->work->usage_ns ||
		loop_now() - server->work->usage_ns > FRESH_NS)
		return false;
	*ret = server->work->usage;
	return true;
}
