/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.h - what the daemon wants of the deploy agent, read from its lines (deploy.h).
 */
#pragma once

#include "agent/tenant.h"

#define TASK_VALUES_MAX 16
#define TASK_FILES_MAX  16

struct task {
	char *text; /* owned: what the rest points into */
	const char *name;
	uint64_t serial;
	struct {
		const char *key, *value;
	} values[TASK_VALUES_MAX];
	size_t value_count;
	struct tenant_file files[TASK_FILES_MAX];
	char *data[TASK_FILES_MAX]; /* owned */
	size_t file_count;
};

/* -EBADMSG with the line. */
int task_read(const char *text, struct task **ret, struct error *e) must_use;
void task_free(struct task *task);
DEFINE_CLEANUP(struct task *, task_free);

/* NULL if it is not there. */
const char *task_value(const struct task *task, const char *key);
