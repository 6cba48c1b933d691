/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet.c - all instances together, as the daemon's other modules see them.
 */
#include "daemon/fleet.h"
#include "daemon/instance/start_plan.h"

#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/events.h"
#include "daemon/instance/adopt.h"
#include "daemon/instance/backups.h"
#include "daemon/instance/change.h"
#include "daemon/instance/instances.h"
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/remove.h"
#include "daemon/instance/rename.h"
#include "daemon/instance/snapshots.h"
#include "daemon/instance/supervisor.h"
#include "daemon/metrics.h"
#include "daemon/profiles.h"
#include "daemon/projects.h"
#include "host/cgroup_usage.h"
#include "model/json.h"

#define EXPIRE_NS (60 * NS_PER_SEC) /* between looks for what has expired */

struct use {
	struct service *service;
	const char *kind, *project, *name;
	json_t *urls;
};

static bool devices_have(const json_t *devices, const char *key, const char *value)
{
	json_t *all = json_mutable(devices);
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		if (text_equal(json_text(json_object_iter_value(at), key), value))
			return true;
	}
	return false;
}

/* `name` is "POOL/VOLUME". */
static bool devices_have_volume(const json_t *devices, const char *name)
{
	const char *device;
	json_t *map;
	json_object_foreach(json_mutable(devices), device, map)
	{
		const char *pool = json_text(map, "pool"), *source = json_text(map, "source");
		size_t length = pool ? strlen(pool) : 0;
		if (pool && source && strncmp(name, pool, length) == 0 && name[length] == '/' &&
			text_equal(name + length + 1, source))
			return true;
	}
	return false;
}

static bool has_profile(const struct instance *instance, const char *name)
{
	const json_t *profiles = json_object_get(instance->object, "profiles");
	for (size_t i = 0; i < json_array_size(profiles); i++) {
		if (text_equal(json_string_value(json_array_get(profiles, i)), name))
			return true;
	}
	return false;
}

static bool uses(const struct use *use, const struct instance *instance)
{
	struct service *service = use->service;
	const char *project = instance->project;
	if (text_equal(use->kind, "project"))
		return text_equal(use->name, project);
	if (text_equal(use->kind, "storage-pool"))
		return devices_have(instance->expanded_devices, "pool", use->name);
	if (text_equal(use->kind, "profile"))
		return text_equal(project_of(service, project, "profiles"), use->project) &&
			has_profile(instance, use->name);
	if (text_equal(use->kind, "network"))
		return text_equal(project_of(service, project, "networks"), use->project) &&
			devices_have(instance->expanded_devices, "network", use->name);
	if (text_equal(use->kind, "storage-volume"))
		return text_equal(project_of(service, project, "storage.volumes"), use->project) &&
			devices_have_volume(instance->expanded_devices, use->name);
	if (text_equal(use->kind, "image"))
		return text_equal(instance_config(instance, "volatile.base_image"), use->name);
	return false;
}

static void use_one(void *data, struct instance *instance)
{
	struct use *use = data;
	if (!uses(use, instance))
		return;
	cleanup(free) char *url = url_for("/1.0/instances", instance->name, instance->project);
	json_array_append_new(use->urls, json_string(url));
}

static void used_by(struct service *service, const char *kind, const char *project,
	const char *name, json_t *urls)
{
	struct use use = { service, kind, project, name, urls };
	instances_each(service, NULL, use_one, &use);
}

struct measuring {
	struct text *cpu, *memory, *processes;
};

static void measure_one(void *data, struct instance *instance)
{
	struct measuring *measuring = data;
	struct cgroup_usage usage = {};
	if (!instance->live || !instance->live->group ||
		cgroup_usage(instance->live->group, false, &usage, NULL) < 0)
		return;
	const char *const labels[] = { "name", instance->name, "project", instance->project, "type",
		instance->kind->name, NULL };
	metrics_value(measuring->cpu, "berth_instance_cpu_seconds_total",
		(double)usage.cpu_ns / 1e9, labels);
	metrics_value(measuring->memory, "berth_instance_memory_bytes", (double)usage.memory_bytes,
		labels);
	metrics_value(
		measuring->processes, "berth_instance_processes", (double)usage.processes, labels);
}

static void metrics_of_all(struct service *service, const char *project, struct text *text)
{
	cleanup(text_done) struct text cpu = {}, memory = {}, processes = {};
	struct measuring measuring = { &cpu, &memory, &processes };
	metrics_family(&cpu, "berth_instance_cpu_seconds", "counter", "CPU time of an instance.");
	metrics_family(&memory, "berth_instance_memory_bytes", "gauge", "Memory of an instance.");
	metrics_family(
		&processes, "berth_instance_processes", "gauge", "Processes of an instance.");
	instances_each(service, project, measure_one, &measuring);
	text_add(text, text_str(&cpu));
	text_add(text, text_str(&memory));
	text_add(text, text_str(&processes));
}

static int profile_checked(struct service *service, const char *project, const json_t *config,
	const json_t *devices, struct error *e)
{
	(void)service;
	(void)project;
	return spec_check(config, devices, e);
}

static int ratio_check(const char *value, struct error *e)
{
	uint32_t percent;
	return ledger_read_ratio(value, &percent, e);
}

static void ratio_set(uint32_t *percent, const char *value, uint32_t usual)
{
	if (!value || ledger_read_ratio(value, percent, NULL) < 0)
		*percent = usual;
}

static void cpu_ratio(struct service *service, const char *value)
{
	ratio_set(&service->instances->ledger.ratios.cpu_percent, value, LEDGER_CPU_PERCENT);
}

static void memory_ratio(struct service *service, const char *value)
{
	ratio_set(&service->instances->ledger.ratios.memory_percent, value, LEDGER_MEMORY_PERCENT);
}

static void storage_ratio(struct service *service, const char *value)
{
	ratio_set(
		&service->instances->ledger.ratios.storage_percent, value, LEDGER_STORAGE_PERCENT);
}

static const struct config_key keys[] = {
	{ "berth.overcommit.cpu", ratio_check, NULL, cpu_ratio },
	{ "berth.overcommit.memory", ratio_check, NULL, memory_ratio },
	{ "berth.overcommit.storage", ratio_check, NULL, storage_ratio },
};

static void reapply(void *data, struct instance *instance)
{
	if (has_profile(instance, data))
		instance_reapply(instance);
}

/* The instances have expanded anew before: they were told first. */
static void profile_changed(void *data, const char *action, const char *project, const char *source)
{
	struct service *service = data;
	(void)project;
	if (text_equal(action, "profile-updated"))
		instances_each(
			service, NULL, reapply, (void *)(uintptr_t)(strrchr(source, '/') + 1));
}

static void expire(void *data)
{
	struct service *service = data;
	snapshots_expire(service);
	backups_expire(service);
	timer_set_after(service->instances->expiry, EXPIRE_NS);
}

int fleet_start(struct service *service, struct error *e)
{
	(void)e;
	start_plan_keys(service);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		config_add(service, &keys[i]);
		keys[i].changed(service, config_get(service, keys[i].name));
	}
	used_by_add(service, used_by);
	metrics_add(service, metrics_of_all);
	profiles_add_check(service, profile_checked);
	events_listen(service, profile_changed, service);
	lifecycle_set_remove(service, instance_remove_ended);
	service->instances->expiry = loop_add_timer(service->loop, expire, service);
	timer_set_after(service->instances->expiry, EXPIRE_NS);
	instances_rename_mend(service);
	adopt_all(service);
	return 0;
}

void fleet_stop(struct service *service)
{
	if (!service->instances)
		return;
	source_free(TAKE_PTR(service->instances->expiry));
	adopt_leave(service);
}
