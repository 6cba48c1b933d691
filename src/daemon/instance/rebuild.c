/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebuild.c - an instance gets a new root, of an image or empty; its config, devices and snapshots stay.
 */
#include "daemon/instance/rebuild.h"

#include <errno.h>

#include "base/text.h"
#include "daemon/image/from_image.h"
#include "daemon/image/images.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/server/instance.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

struct rebuilding {
	struct instance *instance;
	json_t *object; /* as it will be stored; owned */
	char *fingerprint;
	rebuild_done *done;
	void *data;
};

static void rebuilding_free(struct rebuilding *rebuilding)
{
	json_decref(rebuilding->object);
	free(rebuilding->fingerprint);
	free(rebuilding);
}

/* The root is another one: what was kept for the old one goes. */
static int finish(struct rebuilding *rebuilding, struct error *e)
{
	struct instance *instance = rebuilding->instance;
	struct service *service = instance->service;
	char uuid[TEXT_UUID_SIZE];
	cleanup(close) int dir = -1;
	json_object_update(instance->object, rebuilding->object);
	if (!json_object_get(rebuilding->object, "templates"))
		json_object_del(instance->object, "templates");
	text_random_uuid(uuid);
	instance_set(instance, "volatile.cloud-init.instance-id", uuid);
	machine_state_forget(instance);
	int r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
	/* Boot entries of the disk that was. */
	(void)unlinkat(dir, "uefi.vars", 0);
	r = instance_expand(instance, e);
	if (r == 0)
		r = instance_save(instance, e);
	if (r == 0 && rebuilding->fingerprint)
		images_touch(service->images, instance->project, rebuilding->fingerprint);
	return r;
}

static void replaced(void *data, int code, const struct error *e)
{
	struct rebuilding *rebuilding = data;
	struct instance *instance = rebuilding->instance;
	struct error error = {};
	if (code == 0) {
		e = &error;
		code = finish(rebuilding, &error);
	}
	instance_release(instance);
	if (code == 0)
		instance_event(instance, "instance-rebuilt", NULL);
	rebuilding->done(rebuilding->data, code, e);
	rebuilding_free(rebuilding);
}

/* A server's: its disk is written by its own agent. */
static int rebuild_server(struct instance *instance, const json_t *source, rebuild_done *done,
	void *data, struct error *e)
{
	json_t *image = NULL;
	if (text_equal(json_text(source, "type"), "none"))
		return error_set(e, -EINVAL,
			"source.type: a server is given back, not emptied; delete the instance");
	int r = image_of_source(
		instance->service, instance->project, source, instance->kind, &image, e);
	if (r < 0)
		return r;
	cleanup(free) char *disk = images_disk_path(instance->service->images, image);
	if (!disk)
		return error_set(e, -EINVAL, "source: the image is of type %s, not of a disk",
			json_text(image, "type"));
	return server_instance_rebuild(
		instance, disk, json_text(image, "fingerprint"), done, data, e);
}

/* The object as it will be, and what its root is filled with. */
static int read_source(struct instance *instance, const json_t *source, json_t *object,
	struct image_parts *parts, struct error *e)
{
	struct service *service = instance->service;
	const char *type = json_text(source, "type");
	json_t *image = NULL;
	if (text_equal(type, "none")) {
		image_unapply(service, instance->project, object);
		return 0;
	}
	if (type && type[0] && !text_equal(type, "image"))
		return error_set(e, -EINVAL, "source.type: \"%.40s\" is none of image, none", type);
	int r = image_of_source(service, instance->project, source, instance->kind, &image, e);
	if (r < 0)
		return r;
	image_unapply(service, instance->project, object);
	image_apply(service, image, object, parts);
	return 0;
}

static int check(const struct instance *instance, const struct image_parts *parts, struct error *e)
{
	char has[TEXT_SIZE_MAX];
	struct volume_ref ref;
	uint64_t used, size = 0;
	instance_volume(instance, NULL, &ref);
	if (!storage_volume_exists(instance->service->storage, &ref))
		return error_set(e, -ENOENT, "the instance has no root volume");
	if (!parts->disk)
		return 0;
	int r = storage_volume_usage(instance->service->storage, &ref, &used, &size, e);
	if (r == 0 && size && size < parts->disk_bytes)
		r = error_set(e, -EINVAL, "devices.root.size: the image's disk has %s",
			text_format_bytes(parts->disk_bytes, has));
	return r;
}

int instance_rebuild(struct instance *instance, const json_t *source, rebuild_done *done,
	void *data, struct error *e)
{
	struct image_parts parts = {};
	if (instance->kind->can & KIND_IS_SERVER)
		return rebuild_server(instance, source, done, data, e);
	if (instance->live || instance->state != INSTANCE_STOPPED)
		return error_set(e, -EBUSY, "The instance is running; stop it first");
	cleanup(json_decref) json_t *object = json_deep_copy(instance->object);
	int r = read_source(instance, source, object, &parts, e);
	cleanup(free) char *disk = parts.disk;
	if (r == 0)
		r = check(instance, &parts, e);
	if (r == 0)
		r = instance_claim(instance, "rebuilding", e);
	if (r < 0)
		return r;
	struct rebuilding *rebuilding = alloc(struct rebuilding);
	*rebuilding = (struct rebuilding){ .instance = instance,
		.object = TAKE_PTR(object),
		.fingerprint = parts.fingerprint ? alloc_text(parts.fingerprint) : NULL,
		.done = done,
		.data = data };
	struct volume_ref ref;
	instance_volume(instance, NULL, &ref);
	const struct volume_options options = { .layers = parts.layers, .fill = disk };
	r = storage_volume_rebuild(
		instance->service->storage, &ref, &options, replaced, rebuilding, e);
	if (r < 0) {
		instance_release(instance);
		rebuilding_free(rebuilding);
	}
	return r;
}
