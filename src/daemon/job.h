/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job.h - slow or risky work in a process of its own: berthd's end of a berth-job.
 *
 * A job is one task: a JSON document (`{"task": "unpack", ...}`; src/job/task.h lists them) and the
 * descriptors that it may touch. At most JOBS_RUNNING_MAX run at a time, the others wait their turn.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

#define JOBS_RUNNING_MAX 6
#define JOB_FDS_MAX      8

struct service;
struct job;

/* Told on the way: {"stage": "unpack", "percent": 12, "done": 1234, "total": 9999}; borrowed. */
typedef void job_progress_call(void *data, json_t *progress);

/*
 * Called once, never before job_start() returned. `code` is 0 and `result` what the task answered
 * (borrowed), or a negative errno and `e` says why; -ECANCELED after job_cancel().
 */
typedef void job_done_call(void *data, int code, json_t *result, const struct error *e);

struct job_options {
	json_t *task;         /* taken over */
	int fds[JOB_FDS_MAX]; /* duplicated before job_start() returns; the order is the task's */
	size_t fd_count;
	job_progress_call *progress; /* NULL if nobody listens */
	job_done_call *done;
	void *data;
};

int jobs_open(struct service *service, struct error *e) must_use;

/* Kills what still runs; no `done` is called any more. */
void jobs_close(struct service *service);

/* Starts or queues the task. On failure `done` is never called. `ret` may be NULL. */
int job_start(struct service *service, const struct job_options *options, struct job **ret,
	struct error *e) must_use;

/* Ends the work; `done` is called with -ECANCELED. */
void job_cancel(struct job *job);
