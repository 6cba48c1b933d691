/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start_plan.c - gathers what a kind needs to know and lets it plan the start of an instance.
 */
#include "daemon/start_plan.h"

#include "daemon/storage.h"
#include "model/json.h"

static int volumes_plan(
	struct instance *instance, const struct spec *spec, json_t **volumes, struct error *e)
{
	for (size_t i = 0; i < spec->devices.disk_count; i++) {
		const struct disk_device *disk = &spec->devices.disks[i];
		if (disk->is_root || disk->is_tmpfs || !disk->pool)
			continue;
		struct volume_ref ref = { .pool = disk->pool,
			.type = VOLUME_TYPE_CUSTOM,
			.project = instance->project,
			.name = disk->source };
		int r = storage_volume_plan(instance->service->storage, &ref, &volumes[i], e);
		if (r < 0)
			return error_prefix(e, r, "devices.%s", disk->device);
	}
	return 0;
}

static int root_plan(
	struct instance *instance, const struct spec *spec, json_t **ret, struct error *e)
{
	struct volume_ref ref = { .pool = devices_root(&spec->devices)->pool,
		.type = VOLUME_TYPE_CONTAINER,
		.project = instance->project,
		.name = instance->name };
	return storage_root_plan(instance->service->storage, &ref, ret, e);
}

static int plan_gathered(struct instance *instance, const struct spec *spec,
	const struct cpu_set_mask *cpus, bool is_trial, struct start_plan *to, struct error *e)
{
	cleanup(json_decref) json_t *root = NULL;
	json_t *volumes[DEVICES_MAX] = {};
	uint32_t idmap_base = 0;
	int r = 0;
	if (!spec->is_privileged && !is_trial)
		r = instance_take_idmap(instance, &idmap_base, e);
	if (r == 0)
		r = nics_plan(instance, spec, is_trial, &to->nics, e);
	if (r == 0 && !is_trial)
		r = root_plan(instance, spec, &root, e);
	if (r == 0)
		r = volumes_plan(instance, spec, volumes, e);
	if (r == 0) {
		struct kind_input input = { .spec = spec,
			.project = instance->project,
			.name = instance->name,
			.idmap_base = idmap_base,
			.root = root,
			.volumes = (const json_t *const *)volumes,
			.links = to->nics.links,
			.nameservers = to->nics.nameservers,
			.search = to->nics.search,
			.cgroup = to->group,
			.cpus = *cpus };
		r = instance->kind->plan(&input, &to->plan, e);
	}
	for (size_t i = 0; i < DEVICES_MAX; i++)
		json_decref(volumes[i]);
	return r;
}

int start_plan_make(struct instance *instance, const struct spec *spec,
	const struct cpu_set_mask *cpus, bool is_trial, struct start_plan *ret, struct error *e)
{
	struct service *service = instance->service;
	struct kind_host host = { cpu_set_mask_count(&service->instances->ledger.cpus),
		service->instances->ledger.memory_bytes };
	struct start_plan plan = {};
	int r = instance->kind->check(spec, &host, e);
	if (r < 0)
		return r;
	plan.group = instance_group(instance);
	r = plan_gathered(instance, spec, cpus, is_trial, &plan, e);
	if (r < 0)
		start_plan_done(&plan);
	else
		*ret = plan;
	return r;
}

void start_plan_done(struct start_plan *plan)
{
	plan_done(&plan->plan);
	nics_done(&plan->nics);
	free(plan->group);
	plan->group = NULL;
}
