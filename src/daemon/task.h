/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - a request that is answered with an operation once nothing can be refused any more.
 *
 *	struct task *task = task_new(service);
 *	r = lifecycle_start(instance, task_done, task, e);
 *	return task_reply(task, r, request, &(struct operation_options){ ... });
 */
#pragma once

#include "daemon/api.h"
#include "daemon/operation.h"

struct task;

struct task *task_new(struct service *service) must_use;

/* The work is over; once. May come before task_reply(), after it the task is no more. */
void task_done(void *data, int code, const struct error *e);
/* As task_done(), with metadata for the operation; stolen. */
void task_done_with(struct task *task, int code, const struct error *e, json_t *metadata);

/* The operation, once task_reply() was called; NULL before. For progress. */
struct operation *task_operation(const struct task *task);

/*
 * `code` < 0: the work was refused, task_done() never comes: nothing is answered, `code` returned and what
 * the options own released. Else answers with an operation, which ends with the task.
 */
int task_reply(struct task *task, int code, struct request *request,
	const struct operation_options *options) must_use;
