/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.h - a group of processes: made, joined, frozen, killed, removed.
 *
 * A group is one directory in each hierarchy it uses, below our own group there. It also joins the v2
 * tree if there is one, whatever controllers live in it, for freezing and killing.
 */
#pragma once

#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"
#include "host/cgroup_layout.h"

struct cgroup {
	char *dirs[CGROUP_CONTROLLERS];           /* absolute, NULL where it has none */
	const char *list[CGROUP_CONTROLLERS + 1]; /* the same, each once, NULL at the end */
	size_t parents; /* above it and ours: cgroup_remove() takes empty ones */
	uint32_t in_v2; /* CGROUP_BIT() */
	int meter[3];   /* see cgroup_usage.h; -1 until used */
};

/* As cgroup_make(), but only what the group's directories will be called: nothing is made. */
int cgroup_name(const struct cgroups *cgroups, const char *path, uint32_t wanted,
	struct cgroup **ret, struct error *e) must_use;

/*
 * Makes the group `path` ("berth-ID/PROJECT_NAME") with those controllers of `wanted` (CGROUP_BIT())
 * that there are; one that is missing is no error here: cgroup_limits_set() refuses its limits. A group
 * that exists is used as it is. Keeps no descriptor open.
 */
int cgroup_make(const struct cgroups *cgroups, const char *path, uint32_t wanted,
	struct cgroup **ret, struct error *e) must_use;

/* The group again from its `list`, kept by who made it (a plan, a file) across a restart. */
int cgroup_open(const struct cgroups *cgroups, const char *const *dirs, struct cgroup **ret,
	struct error *e) must_use;

void cgroup_free(struct cgroup *group); /* the kernel's group stays */
DEFINE_CLEANUP(struct cgroup *, cgroup_free);

/* Moves a process into the group. `cgroup_attach_dirs` for who knows only the list. */
int cgroup_attach(struct cgroup *group, pid_t pid, struct error *e) must_use;
int cgroup_attach_dirs(const char *const *dirs, pid_t pid, struct error *e) must_use;

/* Stops every process of the group, or lets them go on; returns when it is so, -ETIMEDOUT after 2 s. */
int cgroup_freeze(struct cgroup *group, struct error *e) must_use;
int cgroup_thaw(struct cgroup *group, struct error *e) must_use;

/* SIGKILL to every process of the group and below, frozen or not. Does not wait for their end. */
int cgroup_kill(struct cgroup *group, struct error *e) must_use;

/* Fills `pids` with at most `size` processes of the group and below; returns how many there are. */
ssize_t cgroup_pids(const struct cgroup *group, pid_t *pids, size_t size) must_use;

/*
 * Gives the v2 directory to `uid`:`gid`, so that a container's own systemd can make groups below it.
 * v1 hierarchies are never given away. 0 without a v2 tree.
 */
int cgroup_delegate(struct cgroup *group, uid_t uid, gid_t gid, struct error *e) must_use;

/*
 * Removes the group, all below it, and its parents up to ours if they are empty then. 0 if it is gone
 * already; -EBUSY while a process lives.
 */
int cgroup_remove(struct cgroup *group, struct error *e) must_use;

/*
 * Removes the groups right below `path` ("berth-ID") whose name is_kept() does not know, in every
 * hierarchy: what a daemon that was killed had made and not yet written down. Then `path`, if it is empty.
 * The first failure is told, after all were tried.
 */
int cgroup_sweep(const struct cgroups *cgroups, const char *path,
	bool (*is_kept)(void *data, const char *name), void *data, struct error *e) must_use;
