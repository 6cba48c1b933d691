/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_layout.h - where on this host each cgroup controller lives.
 *
 * A controller is in a v1 hierarchy of its own or in the v2 tree; a host may have both. Our groups
 * stand below "home": the group that this process is in, in each hierarchy.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

enum cgroup_controller {
	CGROUP_CPU,
	CGROUP_CPUACCT, /* v1 only; v2 counts cpu time in every group */
	CGROUP_CPUSET,
	CGROUP_MEMORY,
	CGROUP_PIDS,
	CGROUP_IO,      /* blkio in v1 */
	CGROUP_DEVICES, /* v1 only; v2 has programs attached to groups */
	CGROUP_FREEZER, /* v1 only; v2 freezes any group */
	CGROUP_HUGETLB,
	CGROUP_UNIFIED, /* the v2 tree itself */
	CGROUP_CONTROLLERS
};

#define CGROUP_BIT(controller) (1u << (controller))

/* The part of a path that our own leaf has, when the v2 rules made us move into one. */
#define CGROUP_SELF "berth-self"

/* Opaque, one a process. */
struct cgroups;

int cgroups_open(struct cgroups **ret, struct error *e) must_use;
void cgroups_free(struct cgroups *cgroups);
DEFINE_CLEANUP(struct cgroups *, cgroups_free);

/*
 * The same from the texts of /proc/self/mountinfo, /proc/self/cgroup and the v2 home's
 * cgroup.controllers. Opens nothing.
 */
int cgroups_parse(const char *mountinfo, const char *self, const char *v2_controllers,
	struct cgroups **ret, struct error *e) must_use;

/* From now on "home" is the top of what is mounted: for who was told absolute paths. */
void cgroups_use_top(struct cgroups *cgroups);

/* CGROUP_BIT() of each controller that can be used. */
uint32_t cgroups_have(const struct cgroups *cgroups);

/* Whether the controller lives in the v2 tree. */
bool cgroups_is_v2(const struct cgroups *cgroups, enum cgroup_controller controller);

/* The directory of our own group for a controller; NULL if there is none. Borrowed. */
const char *cgroups_home(const struct cgroups *cgroups, enum cgroup_controller controller);

/* CGROUP_BIT() of the controllers that are limited through a directory, 0 if it is no cgroup. */
uint32_t cgroups_of_dir(const struct cgroups *cgroups, const char *dir);

/* "memory", "io", ...: the name in the v2 tree; "unified" for the tree. */
const char *cgroup_controller_name(enum cgroup_controller controller);
