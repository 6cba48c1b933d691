/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor.h - live runners: speaks with them over abi/runner.h, adopts them after a restart, notices
 * their end.
 *
 * The runner is the truth about what runs. A `struct live` is one runner and what the host holds for it.
 * It is told of by calls; after gone() nothing more comes from it, and its owner undoes the rest
 * (launch.h) and frees it.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/loop.h"
#include "daemon/instance/instances.h"

struct cgroup;
struct live;

struct live_calls {
	void (*running)(
		struct live *live);      /* the first process runs; once, and once after adoption */
	void (*gone)(struct live *live); /* the runner has ended, for whatever reason */
	void (*oom)(struct live *live);  /* `oom_kills` has grown */
	/* A disk's volume is full: a machine stands still until there is room; and then. */
	void (*room)(struct live *live, bool is_there);
};

/* An answer of the runner: 0, or a negative errno and why. `bytes` are what came, header included. */
typedef void live_answer(void *data, int code, const struct error *e, const void *bytes,
	size_t length, const int *fds, size_t fd_count);

struct live {
	struct instance *instance;
	const struct live_calls *calls;

	/* The runner; pid 0 if it was adopted. */
	pid_t runner_pid;
	int runner_pidfd;
	struct source *child;
	int control;
	struct source *control_source;
	uint32_t serial;
	struct live_request *requests;
	bool is_gone;

	/* The first process. */
	pid_t pid;
	int pidfd;
	bool is_running;
	bool has_exited; /* the runner said so: wait_status counts */
	bool wants_reboot;
	int32_t wait_status;
	uint32_t oom_kills;
	uint64_t started_ns; /* since the epoch */
	struct error error;  /* why it could not start */

	/* What the host holds for it; launch.c makes and undoes it. */
	struct cgroup *group;
	struct resources promised;
	struct cpu_set_mask cpus;
	struct plan_cgroup limits; /* as set last; its texts are gone */
	json_t *document;          /* the plan's, as written */
	json_t *links;             /* array of {"device"}: what is attached */
	json_t *config, *devices; /* expanded, as it has them: a profile may say otherwise by now */
	uint32_t steps;           /* how many of the plan are done */
	void *owner;              /* of the calls */
};

/* Made by launch.c before the first step. */
struct live *live_new(struct instance *instance, const struct live_calls *calls) must_use;
/* From now on it has this expanded config, and these devices. */
void live_applied(struct live *live, json_t *config, json_t *devices);
/* Lets go of the runner, which goes on. What the host holds is launch.c's. */
void live_free(struct live *live);
DEFINE_CLEANUP(struct live *, live_free);

/*
 * Starts the program on plan.json in `dir`, the instance's directory. One of a kind with KIND_HAS_SPARE runs the
 * instance when it has been greeted.
 */
int live_spawn(struct live *live, const char *program, int dir, struct error *e) must_use;
int live_greet(struct live *live, struct error *e) must_use;

/* Connects to the runner that listens in `dir`. -ECONNREFUSED or -ENOENT if there is none any more. */
int live_adopt(struct live *live, int dir, struct error *e) must_use;

/*
 * Sends a message (its header's serial and version are set here) and calls `call` once: with what came,
 * or -ECONNRESET if the runner goes. `call` NULL: nobody waits.
 */
int live_send(struct live *live, void *message, size_t length, int fd, live_answer *call,
	void *data, struct error *e) must_use;

/* Forgets who waits: no answer goes to `data` any more. */
void live_forget(struct live *live, const void *data);

/* Asks for an orderly end. */
int live_stop(struct live *live, struct error *e) must_use;

/* Ends every process of it, the runner too if it does not follow by itself. */
void live_kill(struct live *live);
