/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start_plan.h - gathers what a kind needs to know and lets it plan the start of an instance.
 */
#pragma once

#include "daemon/instance/instances.h"
#include "daemon/network/nics.h"

/* A plan and what its texts stand in. Start with {}. */
struct start_plan {
	struct plan plan;
	struct nics nics;
	char *group;
};

/*
 * `cpus` it is held on. `is_trial`: nothing is kept of what is chosen on the way, and the instance's
 * volume may not be there yet.
 */
int start_plan_make(struct instance *instance, const struct spec *spec,
	const struct cpu_set_mask *cpus, bool is_trial, struct start_plan *ret,
	struct error *e) must_use;
/* `mounts` and `devices` of a container's document; the caller owns both. */
int start_plan_devices(struct instance *instance, const struct spec *spec, json_t **ret_mounts,
	json_t **ret_nodes, struct error *e) must_use;
/*
 * Whether the custom volumes of its disks are there and fit: of bytes for a machine, and then of no other instance,
 * of files for a container. -ENOENT, -EINVAL, -EBUSY with the field.
 */
int start_plan_check_volumes(
	struct instance *instance, const struct spec *spec, struct error *e) must_use;
/*
 * Whether what the disks of `spec` want of the host is there, but for those that `known` has as `devices` has them.
 * -EINVAL with the field.
 */
int start_plan_check_sources(const struct spec *spec, const json_t *devices, const json_t *known,
	struct error *e) must_use;
/* One that runs and has the custom volume; NULL if there is none. */
struct volume_ref;
const struct instance *instance_that_runs_with(
	struct service *service, const struct volume_ref *volume);
/* Makes the keys of the server's configuration known that machines go by. */
void start_plan_keys(struct service *service);

/* The kernel that machines run: as configured, or the last by name in kernels/; NULL if there is none. */
char *start_plan_kernel(const struct service *service);

void start_plan_done(struct start_plan *plan);
static inline void start_plan_done_cleanup(struct start_plan *local)
{
	start_plan_done(local);
}
