/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start_plan.c - gathers what a kind needs to know and lets it plan the start of an instance.
 */
#include "daemon/instance/start_plan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/config.h"
#include "daemon/engine.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/templates.h"
#include "daemon/instance/volume.h"
#include "daemon/projects.h"
#include "daemon/storage/storage.h"
#include "daemon/storage/volumes.h"
#include "host/match.h"
#include "kind/container.h"
#include "kind/unikernel.h"
#include "model/json.h"

static int check_kernel(const char *value, struct error *e)
{
	cleanup(free) char *boot = alloc_printf("%s/boot", value);
	if (value[0] != '/' || access(boot, F_OK) < 0)
		return error_set(e, -EINVAL,
			"\"%.200s\" is no directory with boot/vmlinuz-* and lib/modules/", value);
	return 0;
}

static int check_engine(const char *value, struct error *e)
{
	if (text_equal(value, "auto") || text_equal(value, "kvm") || text_equal(value, "soft") ||
		text_equal(value, "process"))
		return 0;
	return error_set(e, -EINVAL, "\"%.80s\" is none of auto, kvm, soft, process", value);
}

void start_plan_keys(struct service *service)
{
	static const struct config_key kernel = { .name = "berth.kernel", .check = check_kernel };
	static const struct config_key engine = { .name = "berth.engine", .check = check_engine };
	config_add(service, &kernel);
	config_add(service, &engine);
}

char *start_plan_kernel(const struct service *service)
{
	const char *configured = config_get(service, "berth.kernel");
	if (configured)
		return alloc_text(configured);
	cleanup(free) char *dir = alloc_printf("%s/kernels", service->dir_path);
	cleanup(free) char *best = NULL;
	DIR *entries = opendir(dir);
	if (!entries)
		return NULL;
	for (struct dirent *entry; (entry = readdir(entries));) {
		cleanup(free) char *boot = alloc_printf("%s/%s/boot", dir, entry->d_name);
		if (entry->d_name[0] == '.' || access(boot, F_OK) < 0 ||
			(best && strcmp(entry->d_name, best) < 0))
			continue;
		free(best);
		best = alloc_text(entry->d_name);
	}
	closedir(entries);
	return best ? alloc_printf("%s/%s", dir, best) : NULL;
}

struct sharing {
	const struct instance *self, *other;
	const char *project, *pool, *source; /* of the volume */
	bool is_live;                        /* only those that run */
};

static void find_sharing(void *data, struct instance *instance)
{
	struct sharing *sharing = data;
	const char *name;
	json_t *device;
	if (instance == sharing->self || (sharing->is_live && !instance->live) ||
		!text_equal(project_of(instance->service, instance->project, "storage.volumes"),
			sharing->project))
		return;
	json_object_foreach(instance->expanded_devices, name, device)
	{
		if (text_equal(json_text(device, "pool"), sharing->pool) &&
			text_equal(json_text(device, "source"), sharing->source))
			sharing->other = instance;
	}
}

const struct instance *instance_that_runs_with(
	struct service *service, const struct volume_ref *volume)
{
	struct sharing sharing = { NULL, NULL, volume->project, volume->pool, volume->name, true };
	instances_each(service, NULL, find_sharing, &sharing);
	return sharing.other;
}

static int check_volume(struct instance *instance, const struct disk_device *disk,
	const json_t *volume, struct error *e)
{
	bool is_block = text_equal(json_text(volume, "type"), "block");
	const char *project = project_of(instance->service, instance->project, "storage.volumes");
	struct sharing sharing = { instance, NULL, project, disk->pool, disk->source, false };
	if (is_block && !disk->is_block)
		return error_set(e, -EINVAL,
			"devices.%s.source: the volume \"%s\" is of content type block, a disk for a "
			"machine, without a path",
			disk->device, disk->source);
	if (!is_block && disk->is_block)
		return error_set(e, -EINVAL,
			"devices.%s.source: the volume \"%s\" is of content type filesystem; a machine "
			"wants one of block",
			disk->device, disk->source);
	/* Two systems that write one disk destroy it. */
	if (is_block)
		instances_each(instance->service, NULL, find_sharing, &sharing);
	if (sharing.other)
		return error_set(e, -EBUSY,
			"devices.%s.source: the volume \"%s\" is a disk of instance \"%s\" already",
			disk->device, disk->source, sharing.other->name);
	return 0;
}

int start_plan_check_sources(
	const struct spec *spec, const json_t *devices, const json_t *known, struct error *e)
{
	for (size_t i = 0; i < spec->devices.disk_count; i++) {
		const struct disk_device *disk = &spec->devices.disks[i];
		struct stat status;
		if (disk->pool || disk->is_tmpfs || disk->is_optional || !disk->source ||
			(known &&
				json_equal(json_object_get(devices, disk->device),
					json_object_get(known, disk->device))))
			continue;
		if (lstat(disk->source, &status) < 0)
			return error_set(e, -EINVAL, "devices.%s.source: %s: %s", disk->device,
				disk->source, strerrordesc_np(errno));
	}
	return 0;
}

static int volumes_plan(
	struct instance *instance, const struct spec *spec, json_t **volumes, struct error *e)
{
	struct storage *storage = instance->service->storage;
	for (size_t i = 0; i < spec->devices.disk_count; i++) {
		const struct disk_device *disk = &spec->devices.disks[i];
		struct storage_pool *pool;
		if (disk->is_root || disk->is_tmpfs || !disk->pool)
			continue;
		int r = pool_find(storage, disk->pool, &pool, e);
		if (r < 0)
			return error_prefix(e, -EINVAL, "devices.%s.pool", disk->device);
		struct volume_ref ref = { .pool = disk->pool,
			.type = VOLUME_TYPE_CUSTOM,
			.project =
				project_of(instance->service, instance->project, "storage.volumes"),
			.name = disk->source };
		r = storage_volume_plan(storage, &ref, &volumes[i], e);
		if (r < 0)
			return error_prefix(e, r, "devices.%s.source", disk->device);
		r = check_volume(instance, disk, volumes[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

int start_plan_check_volumes(struct instance *instance, const struct spec *spec, struct error *e)
{
	json_t *volumes[DEVICES_MAX] = {};
	int r = volumes_plan(instance, spec, volumes, e);
	for (size_t i = 0; i < DEVICES_MAX; i++)
		json_decref(volumes[i]);
	return r;
}

/* What stands in the host's /sys now, or where a test says. */
static int found_plan(
	struct instance *instance, const struct spec *spec, json_t **ret, struct error *e)
{
	const char *path = instance->service->has_test_hooks ? getenv("BERTH_SYS") : NULL;
	cleanup(json_decref) json_t *all = json_array();
	if (spec->devices.match_count == 0)
		return 0;
	cleanup(close) int sys = open(path ?: "/sys", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sys < 0)
		return error_errno(e, "open /sys");
	for (size_t i = 0; i < spec->devices.match_count; i++) {
		json_t *found = NULL;
		int r = match_find(sys, &spec->devices.matches[i], &found, e);
		if (r < 0)
			return r;
		json_array_extend(all, found);
		json_decref(found);
	}
	*ret = TAKE_PTR(all);
	return 0;
}

/* DIR/guest, which guest.c keeps. */
static char *guest_dir_path(const struct service *service)
{
	return alloc_printf("%s/" GUEST_DIR, service->dir_path);
}

int start_plan_devices(struct instance *instance, const struct spec *spec, json_t **ret_mounts,
	json_t **ret_nodes, struct error *e)
{
	json_t *volumes[DEVICES_MAX] = {};
	cleanup(json_decref) json_t *found = NULL;
	int r = found_plan(instance, spec, &found, e);
	if (r == 0)
		r = volumes_plan(instance, spec, volumes, e);
	if (r == 0) {
		cleanup(free) char *guest_dir = guest_dir_path(instance->service);
		struct kind_input input = { .spec = spec,
			.volumes = (const json_t *const *)volumes,
			.found = found,
			.guest_dir = guest_dir };
		*ret_mounts = container_mounts(&input);
		*ret_nodes = container_nodes(&input);
	}
	for (size_t i = 0; i < DEVICES_MAX; i++)
		json_decref(volumes[i]);
	return r;
}

static int root_plan(
	struct instance *instance, const struct spec *spec, json_t **ret, struct error *e)
{
	struct volume_ref ref;
	instance_volume(instance, NULL, &ref);
	ref.pool = devices_root(&spec->devices)->pool;
	return storage_root_plan(instance->service->storage, &ref, ret, e);
}

/* Kept with what else changes when it starts. */
static void tell_engine(struct instance *instance, const struct kind_input *input)
{
	const char *asked = input->engine ?: "auto";
	const char *engine = unikernel_engine(input), *why = engine_why(instance->service);
	if (!text_equal(asked, "auto"))
		why = input->spec->engine ? "berth.engine of the instance"
					  : "berth.engine of the server";
	else if (!text_equal(engine, engine_measured(instance->service)))
		why = "its state can be kept only so";
	instance_set(instance, "volatile.engine", engine);
	instance_set(instance, "volatile.engine.why", why);
}

static int plan_gathered(struct instance *instance, const struct spec *spec,
	const struct cpu_set_mask *cpus, const struct kind_host *host, bool is_trial,
	struct start_plan *to, struct error *e)
{
	cleanup(json_decref) json_t *root = NULL, *found = NULL, *files = NULL;
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
	cleanup(free) char *restore = is_trial ? NULL : machine_state_path(instance);
	if (r == 0)
		r = found_plan(instance, spec, &found, e);
	if (r == 0 && !(instance->kind->can & KIND_IS_MACHINE))
		r = templates_plan(instance, spec, &files, e);
	if (r == 0) {
		cleanup(free) char *guest_dir = guest_dir_path(instance->service);
		struct kind_input input = { .spec = spec,
			.found = found,
			.files = files,
			.guest_dir = guest_dir,
			.project = instance->project,
			.name = instance->name,
			.idmap_base = idmap_base,
			.root = root,
			.volumes = (const json_t *const *)volumes,
			.links = to->nics.links,
			.nameservers = to->nics.nameservers,
			.search = to->nics.search,
			.cgroup = to->group,
			.cpus = *cpus,
			.host_cpus = host->cpus,
			.host_memory_bytes = host->memory_bytes,
			.kernel = host->kernel,
			.engine = spec->engine ?: config_get(instance->service, "berth.engine"),
			.measured = engine_measured(instance->service),
			.restore = restore,
			.instance_id =
				instance_config(instance, "volatile.cloud-init.instance-id") };
		r = instance->kind->plan(&input, &to->plan, e);
		if (r == 0 && !is_trial && (instance->kind->can & KIND_HAS_REPORT))
			tell_engine(instance, &input);
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
		service->instances->ledger.memory_bytes, NULL };
	cleanup(free) char *kernel = start_plan_kernel(service);
	host.kernel = kernel;
	struct start_plan plan = {};
	int r = instance->kind->check(spec, &host, e);
	if (r < 0)
		return r;
	plan.group = instance_group(instance);
	r = plan_gathered(instance, spec, cpus, &host, is_trial, &plan, e);
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
