/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box.h - what the OCI command line remembers of a container between two commands: ROOT/ID/.
 *
 * `state.json` is written once, when the container is created; `start` is a FIFO that is there until it
 * is started. The rest is asked of the kernel.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"
#include "host/cgroup.h"

#define BOX_STATE_FILE "state.json"
#define BOX_START_FILE "start"

struct box {
	char *root;
	char *id;
	int dir; /* ROOT/ID */
	json_t *state;
};

void box_done(struct box *box);
static inline void box_done_cleanup(struct box *local)
{
	box_done(local);
}

/* -EINVAL if `id` is no name; -EEXIST if there is one. */
int box_make(const char *root, const char *id, struct box *ret, struct error *e) must_use;
int box_open(const char *root, const char *id, struct box *ret, struct error *e) must_use;
int box_save(struct box *box, struct error *e) must_use;
int box_remove(struct box *box, struct error *e) must_use;

/* The first process's pid if it lives, or 0. */
pid_t box_pid(const struct box *box);
/* "creating", "created", "running", "paused", "stopped". */
const char *box_status(const struct box *box);

/* The cgroup of the container; NULL if it has none. */
int box_cgroup(const struct box *box, struct cgroup **ret, struct error *e) must_use;

/* The state as the specification prints it; the caller owns it. */
char *box_state_text(const struct box *box, const char *status, pid_t pid);

/* A number that no later process of the same pid has: when it started. */
uint64_t box_process_started(pid_t pid);

/* Whether `id` can be a container's. */
bool box_is_id(const char *id);
