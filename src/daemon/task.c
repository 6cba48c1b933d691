/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - a request that is answered with an operation once nothing can be refused any more.
 */
#include "daemon/task.h"

struct task {
	struct service *service;
	struct operation *operation;
	bool is_over;
	int code;
	struct error error;
	json_t *metadata;
};

struct task *task_new(struct service *service)
{
	struct task *task = alloc(struct task);
	task->service = service;
	return task;
}

static void task_end(struct task *task)
{
	if (task->code < 0) {
		json_decref(task->metadata);
		operation_failed(task->operation, task->code, &task->error);
	} else {
		operation_done(task->operation, task->metadata);
	}
	free(task);
}

void task_done_with(struct task *task, int code, const struct error *e, json_t *metadata)
{
	task->is_over = true;
	task->code = code;
	task->metadata = metadata;
	if (e)
		task->error = *e;
	if (task->operation)
		task_end(task);
}

void task_done(void *data, int code, const struct error *e)
{
	task_done_with(data, code, e, NULL);
}

struct operation *task_operation(const struct task *task)
{
	return task->operation;
}

int task_reply(struct task *task, int code, struct request *request,
	const struct operation_options *options)
{
	if (code < 0) {
		json_decref(options->resources);
		json_decref(options->metadata);
		free(task);
		return code;
	}
	struct operation *operation = operation_new(task->service, options);
	task->operation = operation;
	if (task->is_over)
		task_end(task);
	return reply_operation(request, operation);
}
