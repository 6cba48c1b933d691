/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename.c - another name for a stopped instance and all that is its own.
 */
#include "daemon/rename.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/instance_volume.h"
#include "daemon/network_lease.h"
#include "daemon/storage.h"
#include "daemon/turn.h"
#include "model/json.h"

static int parts_rename(struct instance *instance, const char *collection, const json_t *parts,
	const char *name, struct error *e)
{
	for (size_t i = 0; i < json_array_size(parts); i++) {
		const char *part = json_text(json_array_get(parts, i), "name");
		cleanup(free) char *from = alloc_printf("%s/%s", instance->name, part);
		cleanup(free) char *to = alloc_printf("%s/%s", name, part);
		int r = store_rename(
			instance->service->store, collection, instance->project, from, to, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int dirs_rename(struct instance *instance, const char *name, struct error *e)
{
	static const char *const above[] = { "instances", "backups" };
	for (size_t i = 0; i < ARRAY_SIZE(above); i++) {
		int dir = instance->service->dir;
		cleanup(free) char *from =
			alloc_printf("%s/%s/%s", above[i], instance->project, instance->name);
		cleanup(free) char *to =
			alloc_printf("%s/%s/%s", above[i], instance->project, name);
		if (renameat(dir, from, dir, to) < 0 && errno != ENOENT)
			return error_errno(e, "rename %s", from);
	}
	return 0;
}

static int records_rename(struct instance *instance, const char *name, struct error *e)
{
	struct store *store = instance->service->store;
	int r = store_begin(store, e);
	if (r < 0)
		return r;
	r = store_rename(store, "instance", instance->project, instance->name, name, e);
	if (r == 0)
		r = parts_rename(instance, "snapshot", instance->snapshots, name, e);
	if (r == 0)
		r = parts_rename(instance, "backup", instance->backups, name, e);
	if (r == 0)
		r = store_commit(store, e);
	if (r < 0)
		store_rollback(store);
	return r;
}

int instance_rename(struct instance *instance, const char *name, struct error *e)
{
	struct service *service = instance->service;
	struct volume_ref ref;
	int r = spec_check_name(name, e);
	if (r < 0)
		return r;
	if (instance->live || instance->state != INSTANCE_STOPPED)
		return error_set(e, -EINVAL, "A running instance keeps its name; stop it first");
	if (instance_find(service, instance->project, name))
		return error_set(e, -EEXIST, "Instance \"%s\" already exists", name);
	r = instance_check_exports(instance, e);
	if (r == 0)
		r = instance_claim(instance, "renaming", e);
	if (r < 0)
		return r;
	cleanup(free) char *old = alloc_text(instance->name);
	instance_volume(instance, NULL, &ref);
	r = storage_volume_rename(service->storage, &ref, name, e);
	if (r == 0) {
		r = records_rename(instance, name, e);
		if (r < 0) {
			struct error again = {};
			ref.name = name;
			if (storage_volume_rename(service->storage, &ref, old, &again) < 0)
				log_error("volume keeps a new name: %s", again.text);
		}
	}
	if (r == 0)
		r = dirs_rename(instance, name, e);
	if (r == 0)
		network_card_rename(service, instance->project, old, name);
	if (r == 0)
		r = instance_set_name(instance, name, e);
	if (r == 0)
		instance_set(instance, "volatile.apply_template", "rename");
	if (r == 0)
		r = instance_save(instance, e);
	instance_release(instance);
	if (r == 0)
		instance_event(instance, "instance-renamed", json_pack("{s:s}", "old_name", old));
	return r;
}
