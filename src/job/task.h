/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - one task: what berthd asked for, the descriptors it gave, and what is told back.
 *
 * The first message on the channel is a JSON object with the name in "task" and the descriptors with it; their
 * order is the task's. An object that is too long for a message stands in one descriptor more, the last, and the
 * message is {"elsewhere": its length}. Messages back are {"progress": {...}}, then one {"result": ...} or
 * {"error": {"code": 22, "text": "..."}}.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

#define TASK_FDS_MAX 9

struct task {
	json_t *document;
	int fds[TASK_FDS_MAX];
	size_t fd_count;
	int channel;             /* -1: nobody listens (tests) */
	uint64_t last_report_ns; /* progress is told at most ten times a second */
	const char *stage;       /* "unpack"; of what is going on now */
};

int task_receive(int channel, struct task *task, struct error *e) must_use;
void task_done(struct task *task);

/* The descriptor at that place, or -EBADF. */
int task_fd(const struct task *task, size_t index, struct error *e) must_use;

/* A member of the document. A missing text is -EINVAL with its name; a missing number is `usual`. */
int task_text(
	const struct task *task, const char *name, const char **ret, struct error *e) must_use;
const char *task_text_or(const struct task *task, const char *name, const char *usual);
uint64_t task_number(const struct task *task, const char *name, uint64_t usual);
bool task_flag(const struct task *task, const char *name);

/* Tells how far it is; `total` 0 if nobody knows. */
void task_report(struct task *task, uint64_t done, uint64_t total);

/* `result` is taken over. */
int task_answer(struct task *task, json_t *result, struct error *e) must_use;
void task_fail(struct task *task, int code, const struct error *e);
