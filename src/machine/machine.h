/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - berth-machine: puts together what a microVM needs and becomes its monitor; and the helpers
 * that reach into it through its agent.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

/* `berth-machine run plan.json`: only returns when it failed. */
int run_main(const char *plan_path);
/* `berth-machine exec`, `files`, `stop`: as their namesakes of berth-container; see abi/runner.h. */
int exec_main(void);
int files_main(void);
int stop_main(void);
/* `berth-machine usage`: writes the agent's struct agent_usage to the descriptor `answer`. */
int usage_main(void);
/* `berth-machine tell`: descriptors `dir`, `pidfd`, `request`. */
int tell_main(void);

/*
 * A read-only image (erofs) of the layers, made once beside them and then found: the path in *ret.
 */
int root_image(const json_t *layers, char **ret, struct error *e) must_use;

/* The file of the writable device; a blank one gets a file system if it shall have one. */
int root_device(const json_t *volume, bool has_file_system, char **ret, struct error *e) must_use;

/*
 * The config drive of a virtual machine as a memfd: cloud-init's NoCloud files, the agent and what starts it.
 * Made in `dir`, where nothing of it stays.
 */
int seed_make(const json_t *plan, const char *agent, int dir, int *ret, struct error *e) must_use;

/* What the guest's agent shall set up and run, as it reads it; the caller frees both. */
char *command_configure(const json_t *plan);
int command_program(const json_t *plan, char **ret, size_t *ret_length, struct error *e) must_use;

/*
 * A connection to the agent of the machine whose directory `dir` is; waits while the guest starts, and
 * no longer than the machine, `pidfd`, runs (-1: is not asked).
 */
int guest_connect(int dir, int pidfd, int *ret, struct error *e) must_use;

/* What is asked of a helper: the JSON of the descriptor `request`; the caller releases it. */
int request_read(json_t **ret, struct error *e) must_use;

/* -EIO and so on with the agent's sentence, out of an ERROR frame. */
struct frame;
int guest_error(const struct frame *frame, struct error *e);
