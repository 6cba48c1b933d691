/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename.c - another name for a stopped instance and all that is its own.
 */
#include "daemon/instance/rename.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/network/lease.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

#define OLD_NAME "renamed_from" /* in the record, until its directories have the new name, too */

struct renaming {
	struct instance *instance;
	const char *name;
};

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

/* Again, if a daemon was killed in the midst of it: what has its new name already is not there. */
static int dirs_rename(struct instance *instance, const char *old, struct error *e)
{
	static const char *const above[] = { "instances", "backups" };
	for (size_t i = 0; i < ARRAY_SIZE(above); i++) {
		int dir = instance->service->dir;
		cleanup(free) char *from =
			alloc_printf("%s/%s/%s", above[i], instance->project, old);
		cleanup(free) char *to =
			alloc_printf("%s/%s/%s", above[i], instance->project, instance->name);
		if (renameat(dir, from, dir, to) < 0 && errno != ENOENT)
			return error_errno(e, "rename %s", from);
	}
	return 0;
}

/* With the volume's records, or not at all. */
static int records_rename(void *data, struct error *e)
{
	struct renaming *renaming = data;
	struct instance *instance = renaming->instance;
	const char *name = renaming->name;
	struct store *store = instance->service->store;
	cleanup(json_decref) json_t *object = json_copy(instance->object);
	json_set_text(object, "name", name);
	json_set_text(object, OLD_NAME, instance->name);
	int r = store_rename(store, "instance", instance->project, instance->name, name, e);
	if (r == 0)
		r = store_put(store, "instance", instance->project, name, object, e);
	if (r == 0)
		r = parts_rename(instance, "snapshot", instance->snapshots, name, e);
	return r < 0 ? r : parts_rename(instance, "backup", instance->backups, name, e);
}

static int records_rename_alone(struct renaming *renaming, struct error *e)
{
	struct store *store = renaming->instance->service->store;
	int r = store_begin(store, e);
	if (r < 0)
		return r;
	r = records_rename(renaming, e);
	if (r == 0)
		r = store_commit(store, e);
	if (r < 0)
		store_rollback(store);
	return r;
}

static void mend(void *data, struct instance *instance)
{
	const char *old = json_text(instance->object, OLD_NAME);
	struct error e = {};
	(void)data;
	if (!old)
		return;
	int r = dirs_rename(instance, old, &e);
	network_card_rename(instance->service, instance->project, old, instance->name);
	json_object_del(instance->object, OLD_NAME);
	if (r == 0)
		r = instance_save(instance, &e);
	if (r < 0)
		log_error("not renamed whole instance=%s: %s", instance->name, e.text);
}

void instances_rename_mend(struct service *service)
{
	instances_each(service, NULL, mend, NULL);
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
	struct renaming renaming = { instance, name };
	instance_volume(instance, NULL, &ref);
	/* A server's disk is not here. */
	r = ref.pool && storage_volume_exists(service->storage, &ref)
		? storage_volume_rename(service->storage, &ref, name, records_rename, &renaming, e)
		: records_rename_alone(&renaming, e);
	if (r == 0)
		r = instance_set_name(instance, name, e);
	if (r == 0)
		r = dirs_rename(instance, old, e);
	if (r == 0)
		network_card_rename(service, instance->project, old, name);
	if (r == 0)
		instance_set(instance, "volatile.apply_template", "rename");
	if (r == 0)
		r = instance_save(instance, e);
	instance_release(instance);
	if (r == 0)
		instance_event(instance, "instance-renamed", json_pack("{s:s}", "old_name", old));
	return r;
}
