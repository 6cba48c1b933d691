/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remove.c - takes an instance away with all that is its own.
 *
 * The volume goes first and the record last: a daemon that is killed between leaves an instance that can
 * be removed again.
 */
#include "daemon/instance/remove.h"

#include <errno.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/network/lease.h"
#include "daemon/server/instance.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

struct removal {
	struct instance *instance;
	remove_done *done;
	void *data;
};

static void parts_forget(struct instance *instance, const char *collection, const json_t *parts)
{
	for (size_t i = 0; i < json_array_size(parts); i++) {
		struct error e = {};
		cleanup(free) char *name = alloc_printf(
			"%s/%s", instance->name, json_text(json_array_get(parts, i), "name"));
		int r = store_remove(
			instance->service->store, collection, instance->project, name, &e);
		if (r < 0 && r != -ENOENT)
			log_error("not forgotten %s=%s: %s", collection, name, e.text);
	}
}

static void files_remove(const struct instance *instance)
{
	cleanup(free) char *path = instance_dir_path(instance);
	cleanup(free) char *backups =
		alloc_printf("backups/%s/%s", instance->project, instance->name);
	int r = file_remove_tree(instance->service->dir, path);
	if (r == 0)
		r = file_remove_tree(instance->service->dir, backups);
	if (r < 0)
		log_error("not removed instance=%s code=%d", instance->name, r);
}

static void volume_removed(void *data, int code, const struct error *e)
{
	struct removal *removal = data;
	struct instance *instance = removal->instance;
	struct error error = {};
	if (code == 0) {
		parts_forget(instance, "snapshot", instance->snapshots);
		parts_forget(instance, "backup", instance->backups);
		files_remove(instance);
		code = store_remove(instance->service->store, "instance", instance->project,
			instance->name, &error);
		code = code == -ENOENT ? 0 : code;
		e = &error;
	}
	if (code == 0) {
		if (!instance->is_half_made)
			instance_event(instance, "instance-deleted", NULL);
		network_card_release(instance->service, instance->project, instance->name, NULL);
		turns_gone(instance);
		instance_free(instance);
	} else {
		instance_release(instance);
	}
	removal->done(removal->data, code, e);
	free(removal);
}

int instance_discard(struct instance *instance, remove_done *done, void *data, struct error *e)
{
	struct removal *removal = alloc(struct removal);
	*removal = (struct removal){ instance, done, data };
	struct volume_ref ref;
	if (instance->kind->can & KIND_IS_SERVER) {
		/* Erased by itself: the instance need not wait for it. */
		int r = server_instance_release(instance, e);
		if (r < 0) {
			free(removal);
			return r;
		}
	}
	instance_volume(instance, NULL, &ref);
	if (!ref.pool ||
		((instance->kind->can & KIND_IS_SERVER) &&
			!storage_volume_exists(instance->service->storage, &ref))) {
		/* it never had one */
		volume_removed(removal, 0, NULL);
		return 0;
	}
	int r = storage_volume_delete(instance->service->storage, &ref, volume_removed, removal, e);
	if (r < 0)
		free(removal);
	return r;
}

int instance_remove(struct instance *instance, remove_done *done, void *data, struct error *e)
{
	if (instance->live || instance->state != INSTANCE_STOPPED)
		return error_set(e, -EBUSY, "The instance is currently running; stop it first");
	if (instance_config_is(instance, "security.protection.delete"))
		return error_set(e, -EPERM,
			"The instance is protected from being deleted (security.protection.delete)");
	int r = instance_check_exports(instance, e);
	if (r == 0)
		r = instance_claim(instance, "deleting", e);
	if (r < 0)
		return r;
	r = instance_discard(instance, done, data, e);
	if (r < 0)
		instance_release(instance);
	return r;
}

static void ended_removed(void *data, int code, const struct error *e)
{
	(void)data;
	if (code < 0)
		log_error("an ephemeral instance is not removed: %s", e->text);
}

void instance_remove_ended(struct instance *instance)
{
	struct error e = {};
	int r = instance_remove(instance, ended_removed, NULL, &e);
	if (r < 0)
		ended_removed(NULL, r, &e);
}
