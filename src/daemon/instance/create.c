/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create.c - makes an instance from what POST /1.0/instances asks for.
 *
 * The record is stored before the volume is made, marked `half_made`: a daemon that is killed between finds
 * it and takes away what there is.
 */
#include "daemon/instance/create.h"
#include "daemon/instance/start_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/image/from_image.h"
#include "daemon/image/images.h"
#include "daemon/instance/kinds.h"
#include "daemon/instance/lifecycle.h"
#include "daemon/instance/machine_state.h"
#include "daemon/instance/remove.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/network/lease.h"
#include "daemon/network/nics.h"
#include "daemon/server/instance.h"
#include "daemon/storage/storage.h"
#include "disk/block.h"
#include "model/json.h"

/* What the request says, and what it is made of. */
struct wish {
	const char *project, *name, *type, *source_type;
	const json_t *source;
	json_t *object; /* owned: the new instance's */
	const struct kind *kind;
	struct image_parts image;
	/* From an instance or a snapshot of one. */
	struct instance *original;
	char *snapshot;
	bool is_without_snapshots;
	bool is_stateful; /* it goes on where that stood */
};

struct creation {
	struct instance *instance;
	create_done *done;
	void *data;
	struct instance *original; /* claimed while it is copied */
	bool is_paused;
	bool is_without_snapshots;
	bool is_stateful;
	char *snapshot;
	size_t next_snapshot;
	void (*fill)(void *data, struct instance *instance, struct creation *creation);
	int code;
	struct error error;
};

static void creation_free(struct creation *creation)
{
	free(creation->snapshot);
	free(creation);
}

static void wish_done(struct wish *wish)
{
	json_decref(wish->object);
	free(wish->snapshot);
	free(wish->image.disk);
}

static void wish_done_cleanup(struct wish *wish)
{
	wish_done(wish);
}

/* Keys that belong to one instance only. */
static void volatile_remove(json_t *config)
{
	const char *key;
	json_t *value;
	void *next;
	json_object_foreach_safe(config, next, key, value)
	{
		if (text_starts(key, "volatile."))
			json_object_del(config, key);
	}
}

static int object_read(const json_t *body, struct wish *wish, struct error *e)
{
	const char *description = "", *architecture = NULL;
	json_t *config = NULL, *devices = NULL, *profiles = NULL;
	bool is_ephemeral = false, is_stateful = false;
	int r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text(body, "", "architecture", &architecture, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = json_read_object(body, "", "devices", &devices, e);
	if (r == 0)
		r = json_read_text_array(body, "", "profiles", &profiles, e);
	if (r == 0)
		r = json_read_bool(body, "", "ephemeral", &is_ephemeral, e);
	if (r == 0)
		r = json_read_bool(body, "", "stateful", &is_stateful, e);
	if (r < 0)
		return r;
	if (is_stateful && !text_equal(wish->source_type, "copy"))
		return error_set(e, -EINVAL, "stateful: only a copy goes on with a state");
	/* As a client says that copies without it. */
	wish->is_stateful = is_stateful && !json_is_false(json_object_get(wish->source, "live"));
	char now[TEXT_TIME_SIZE];
	wish->object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:b}", "name",
		wish->name, "type", wish->kind->name, "description", description, "architecture",
		architecture && architecture[0] ? architecture : "x86_64", "created_at",
		text_format_time(loop_wall_clock(), now), "config",
		config ? json_deep_copy(config) : json_object(), "devices",
		devices ? json_deep_copy(devices) : json_object(), "profiles",
		profiles ? json_deep_copy(profiles) : json_pack("[s]", "default"), "ephemeral",
		is_ephemeral, "stateful", 0);
	volatile_remove(json_object_get(wish->object, "config"));
	return 0;
}

/* "c2-m4": two CPUs and 4 GiB, unless config says otherwise. */
static int flavour_apply(const char *flavour, json_t *config, struct error *e)
{
	if (!flavour || !flavour[0])
		return 0;
	const char *dash = strstr(flavour, "-m");
	cleanup(free) char *cpus =
		dash ? alloc_text_n(flavour + 1, (size_t)(dash - flavour) - 1) : NULL;
	uint64_t cpu_count, memory_count;
	if (!dash || flavour[0] != 'c' || text_to_u64(cpus, &cpu_count) < 0 ||
		text_to_u64(dash + 2, &memory_count) < 0)
		return error_set(e, -EINVAL,
			"instance_type: \"%.80s\" is none like c2-m4 (CPUs and GiB)", flavour);
	json_t *limits = json_pack(
		"{s:s, s:o}", "limits.cpu", cpus, "limits.memory", json_sprintf("%sGiB", dash + 2));
	image_config_default(config, limits, "");
	json_decref(limits);
	return 0;
}

/* A server's class, or "c2-m4": which servers have as much is looked at when one is chosen. */
static int class_apply(const char *class, json_t *config)
{
	if (class && class[0])
		json_set_text(config, "volatile.berth.class", class);
	return 0;
}

static int image_read(struct service *service, struct wish *wish, struct error *e)
{
	json_t *image = NULL;
	int r = image_of_source(service, wish->project, wish->source, wish->kind, &image, e);
	if (r == 0)
		image_apply(service, image, wish->object, &wish->image);
	return r;
}

struct instance *instance_original(struct service *service, const char *project, const json_t *body)
{
	const json_t *source = json_object_get(body, "source");
	const char *whole = json_text(source, "source"), *other = json_text(source, "project");
	if (!whole || !text_equal(json_text(source, "type"), "copy"))
		return NULL;
	cleanup(free) char *name = alloc_text_n(whole, strcspn(whole, "/"));
	return instance_find(service, other && other[0] ? other : project, name);
}

static int copy_read(
	struct service *service, const json_t *body, struct wish *wish, struct error *e)
{
	const char *source = json_text(wish->source, "source");
	if (!source || !source[0])
		return error_set(e, -EINVAL, "source.source: is missing");
	const char *slash = strchr(source, '/');
	wish->original = instance_original(service, wish->project, body);
	if (!wish->original)
		return error_set(e, -ENOENT, "source.source: there is no instance \"%.*s\"",
			(int)strcspn(source, "/"), source);
	const json_t *from = wish->original->object;
	if (slash) {
		from = NULL;
		wish->snapshot = alloc_text(slash + 1);
		for (size_t i = 0; i < json_array_size(wish->original->snapshots); i++) {
			const json_t *snapshot = json_array_get(wish->original->snapshots, i);
			if (text_equal(json_text(snapshot, "name"), wish->snapshot))
				from = snapshot;
		}
		if (!from)
			return error_set(e, -ENOENT, "Snapshot \"%.80s\" not found", source);
	}
	if (wish->is_stateful && !machine_state_can_copy(wish->original, wish->snapshot))
		return error_set(e, -EINVAL,
			"stateful: the copy of a %s has no state: copy it stateless",
			wish->original->kind->name);
	wish->is_without_snapshots = slash ||
		json_is_true(json_object_get(wish->source, "instance_only")) ||
		json_is_true(json_object_get(wish->source, "container_only"));
	json_t *config = json_object_get(wish->object, "config");
	cleanup(json_decref) json_t *kept = json_deep_copy(json_object_get(from, "config"));
	const char *base = json_text(kept, "volatile.base_image");
	if (base)
		json_set_text(config, "volatile.base_image", base);
	volatile_remove(kept);
	json_set_text(config, "volatile.apply_template", "copy");
	const json_t *templates = json_object_get(wish->original->object, "templates");
	if (templates)
		json_object_set_new(wish->object, "templates", json_deep_copy(templates));
	image_config_default(config, kept, "");
	image_config_default(
		json_object_get(wish->object, "devices"), json_object_get(from, "devices"), "");
	if (!json_is_array(json_object_get(body, "profiles")))
		json_object_set_new(wish->object, "profiles",
			json_deep_copy(json_object_get(from, "profiles")));
	json_object_set(wish->object, "architecture", json_object_get(from, "architecture"));
	return 0;
}

static int source_read(
	struct service *service, const json_t *body, struct wish *wish, struct error *e)
{
	const char *type = wish->source_type;
	if (text_equal(type, "image"))
		return image_read(service, wish, e);
	if (text_equal(type, "copy"))
		return copy_read(service, body, wish, e);
	if (text_equal(type, "none"))
		return 0;
	if (text_equal(type, "migration"))
		return error_set(e, -EINVAL,
			"source.type: instances do not move between daemons; export and import it");
	return error_set(
		e, -EINVAL, "source.type: \"%.40s\" is none of image, copy, none", type ?: "");
}

/* A copy whose type nobody says is what the original is. */
static const char *type_of_copy(struct service *service, const char *project, const json_t *source)
{
	const char *whole = json_text(source, "source"), *in = json_text(source, "project");
	struct instance *original = NULL;
	if (!whole || !text_equal(json_text(source, "type"), "copy"))
		return NULL;
	cleanup(free) char *name = alloc_text_n(whole, strcspn(whole, "/"));
	return instance_get(service, in && in[0] ? in : project, name, &original, NULL) < 0
		? NULL
		: original->kind->name;
}

static int wish_read(struct service *service, const char *project, const json_t *body,
	struct wish *wish, struct error *e)
{
	json_t *source = NULL;
	const char *flavour = NULL;
	wish->project = project;
	int r = json_require_text(body, "", "name", &wish->name, e);
	if (r == 0)
		r = spec_check_name(wish->name, e);
	if (r == 0)
		r = json_read_text(body, "", "type", &wish->type, e);
	if (r == 0)
		r = json_read_text(body, "", "instance_type", &flavour, e);
	if (r == 0)
		r = json_read_object(body, "", "source", &source, e);
	if (r == 0)
		r = kinds_find(wish->type && wish->type[0] ? wish->type
							   : type_of_copy(service, project, source),
			&wish->kind, e);
	if (r < 0)
		return r;
	if (!source)
		return error_set(e, -EINVAL, "source: is missing");
	wish->source = source;
	wish->source_type = json_text(source, "type");
	r = object_read(body, wish, e);
	if (r == 0)
		r = (wish->kind->can & KIND_IS_SERVER)
			? class_apply(flavour, json_object_get(wish->object, "config"))
			: flavour_apply(flavour, json_object_get(wish->object, "config"), e);
	if (r == 0)
		r = source_read(service, body, wish, e);
	return r;
}

/* All that can be refused without changing anything. */
static int instance_check(struct instance *instance, struct error *e)
{
	struct service *service = instance->service;
	const struct ledger *ledger = &service->instances->ledger;
	cleanup(spec_done) struct spec spec = {};
	struct kind_host host = { cpu_set_mask_count(&ledger->cpus), ledger->memory_bytes, NULL };
	cleanup(free) char *kernel = start_plan_kernel(instance->service);
	host.kernel = kernel;
	int r = spec_check(json_object_get(instance->object, "config"),
		json_object_get(instance->object, "devices"), e);
	if (r == 0)
		r = instance_spec(instance, &spec, e);
	if (r == 0)
		r = instance->kind->check(&spec, &host, e);
	if (r < 0)
		return r;
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_check(instance, e);
	r = start_plan_check_volumes(instance, &spec, e);
	if (r == 0)
		r = start_plan_check_sources(&spec, NULL, NULL, e);
	if (r < 0)
		return r;
	struct resources asked = spec_resources(&spec);
	struct volume_ref ref;
	instance_volume(instance, NULL, &ref);
	r = ledger_check(ledger, &asked, e);
	if (r == 0)
		r = storage_volume_check(service->storage, &ref, asked.storage_bytes,
			devices_root(&spec.devices)->device, e);
	if (r == 0)
		r = instance_promise_storage(instance, ref.pool, asked.storage_bytes, e);
	return r;
}

/* The image's disk must fit into the root's size. */
static int disk_check(const struct instance *instance, const struct wish *wish, struct error *e)
{
	char has[TEXT_SIZE_MAX];
	if (!instance->storage_bytes || instance->storage_bytes >= wish->image.disk_bytes)
		return 0;
	return error_set(e, -EINVAL, "devices.root.size: the image's disk has %s",
		text_format_bytes(wish->image.disk_bytes, has));
}

static int instance_wish(
	struct service *service, struct wish *wish, struct instance **ret, struct error *e)
{
	struct instance *instance = NULL;
	int r = instance_add(service, wish->project, wish->name, wish->kind, TAKE_PTR(wish->object),
		&instance, e);
	if (r < 0)
		return r;
	r = instance_expand(instance, e);
	if (r == 0)
		r = instance_check(instance, e);
	if (r == 0)
		r = disk_check(instance, wish, e);
	if (r < 0)
		instance_free(instance);
	else
		*ret = instance;
	return r;
}

int instance_imagine(struct service *service, const char *project, const json_t *body,
	struct instance **ret, struct error *e)
{
	cleanup(wish_done) struct wish wish = {};
	int r = wish_read(service, project, body, &wish, e);
	return r < 0 ? r : instance_wish(service, &wish, ret, e);
}

static void original_release(struct creation *creation)
{
	struct error e = {};
	if (!creation->original)
		return;
	instance_release(creation->original);
	if (creation->is_paused && lifecycle_thaw(creation->original, &e) < 0)
		log_error("not unfrozen instance=%s: %s", creation->original->name, e.text);
	creation->original = NULL;
}

static void discarded(void *data, int code, const struct error *e)
{
	struct creation *creation = data;
	if (code < 0)
		log_error("a half made instance is left: %s", e->text);
	creation->done(creation->data, NULL, creation->code, &creation->error);
	creation_free(creation);
}

static void creation_failed(struct creation *creation, int code, const struct error *e)
{
	struct error error = {};
	original_release(creation);
	creation->code = code;
	creation->error = *e;
	int r = instance_discard(creation->instance, discarded, creation, &error);
	if (r < 0)
		discarded(creation, r, &error);
}

static void creation_finish(struct creation *creation)
{
	struct instance *instance = creation->instance;
	struct error e = {};
	json_object_del(instance->object, "half_made");
	int r = instance_save(instance, &e);
	if (r < 0) {
		creation_failed(creation, r, &e);
		return;
	}
	original_release(creation);
	instance->is_half_made = false;
	instance_release(instance);
	instance_event(instance, "instance-created",
		json_pack("{s:s, s:s}", "type", instance->kind->name, "storage-pool",
			instance->storage_pool));
	creation->done(creation->data, instance, 0, NULL);
	creation_free(creation);
}

static void snapshot_copied(void *data, int code, const struct error *e);

/* Copies the original's snapshots one after the other, then it is done. */
static void snapshot_copy(struct creation *creation)
{
	struct instance *instance = creation->instance;
	const json_t *snapshots = creation->original ? creation->original->snapshots : NULL;
	struct volume_ref from, to;
	struct error e = {};
	if (creation->is_without_snapshots ||
		creation->next_snapshot >= json_array_size(snapshots)) {
		creation_finish(creation);
		return;
	}
	const char *name = json_text(json_array_get(snapshots, creation->next_snapshot), "name");
	instance_volume(creation->original, name, &from);
	instance_volume(instance, name, &to);
	int r = machine_state_copy(creation->original, name, instance, name, &e);
	if (r == 0)
		r = storage_volume_copy(
			instance->service->storage, &from, &to, 0, snapshot_copied, creation, &e);
	if (r < 0)
		creation_failed(creation, r, &e);
}

static void snapshot_copied(void *data, int code, const struct error *e)
{
	struct creation *creation = data;
	struct instance *instance = creation->instance;
	struct error error = {};
	if (code < 0) {
		creation_failed(creation, code, e);
		return;
	}
	json_t *snapshot = json_deep_copy(
		json_array_get(creation->original->snapshots, creation->next_snapshot++));
	cleanup(free) char *name =
		alloc_printf("%s/%s", instance->name, json_text(snapshot, "name"));
	json_array_append_new(instance->snapshots, snapshot);
	int r = store_put(
		instance->service->store, "snapshot", instance->project, name, snapshot, &error);
	if (r < 0)
		creation_failed(creation, r, &error);
	else
		snapshot_copy(creation);
}

static void volume_made(void *data, int code, const struct error *e)
{
	struct creation *creation = data;
	struct error error = {};
	if (code == 0 && creation->is_stateful) {
		e = &error;
		code = machine_state_copy(
			creation->original, creation->snapshot, creation->instance, NULL, &error);
	}
	if (code < 0)
		creation_failed(creation, code, e);
	else if (creation->fill)
		creation->fill(creation->data, creation->instance, creation);
	else
		snapshot_copy(creation);
}

void creation_filled(struct creation *creation, int code, const struct error *e)
{
	if (code < 0)
		creation_failed(creation, code, e);
	else
		creation_finish(creation);
}

/* The server is its own from now on, whatever happens to the daemon. */
static void server_taken(void *data, int code, const struct error *e)
{
	struct creation *creation = data;
	struct instance *instance = creation->instance;
	struct error error = {};
	(void)e;
	if (code < 0)
		return;
	json_object_del(instance->object, "half_made");
	instance->is_half_made = false;
	if (instance_save(instance, &error) < 0)
		log_error("not stored instance=%s: %s", instance->name, error.text);
}

static int volume_make(struct creation *creation, struct wish *wish, struct error *e)
{
	struct instance *instance = creation->instance;
	struct storage *storage = instance->service->storage;
	struct volume_ref to, from;
	if (instance->kind->can & KIND_IS_SERVER)
		return server_instance_make(instance, wish->image.disk, wish->image.disk_bytes,
			wish->image.fingerprint, server_taken, volume_made, creation, e);
	instance_volume(instance, NULL, &to);
	if (!wish->original) {
		struct volume_options options = { .size_bytes = instance->storage_bytes,
			.layers = wish->image.layers,
			.fill = wish->image.disk };
		if (wish->image.disk && options.size_bytes == 0)
			options.size_bytes = wish->image.disk_bytes > BLOCK_DEFAULT_BYTES
				? wish->image.disk_bytes
				: BLOCK_DEFAULT_BYTES;
		return storage_volume_create(storage, &to, &options, volume_made, creation, e);
	}
	int r = instance_claim(wish->original, "copying", e);
	if (r < 0)
		return r;
	instance_volume(wish->original, wish->snapshot, &from);
	if (!wish->snapshot && wish->original->state == INSTANCE_RUNNING &&
		storage_volume_needs_pause(storage, &from)) {
		instance_release(wish->original);
		r = lifecycle_freeze(wish->original, e);
		if (r == 0)
			r = instance_claim(wish->original, "copying", e);
		if (r < 0)
			return r;
		creation->is_paused = true;
	}
	creation->original = wish->original;
	creation->is_without_snapshots = wish->is_without_snapshots;
	creation->is_stateful = wish->is_stateful;
	creation->snapshot = TAKE_PTR(wish->snapshot);
	r = storage_volume_copy(
		storage, &from, &to, instance->storage_bytes, volume_made, creation, e);
	if (r < 0)
		original_release(creation);
	return r;
}

/* The ids and the addresses that are its own from now on. */
static int own_take(struct instance *instance, struct error *e)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(nics_done) struct nics nics = {};
	uint32_t idmap_base;
	if (instance->kind->can & KIND_IS_SERVER)
		return 0;
	int r = instance_spec(instance, &spec, e);
	if (r == 0 && !spec.is_privileged)
		r = instance_take_idmap(instance, &idmap_base, e);
	if (r == 0)
		r = nics_plan(instance, &spec, false, &nics, e);
	return r;
}

static void forget(struct instance *instance)
{
	network_card_release(instance->service, instance->project, instance->name, NULL);
	instance_free(instance);
}

int instance_create(struct service *service, const char *project, const json_t *body,
	create_done *done, void *data, struct instance **ret, struct error *e)
{
	static const struct create_more nothing = {};
	return instance_create_with(service, project, body, &nothing, done, data, ret, e);
}

int instance_create_with(struct service *service, const char *project, const json_t *body,
	const struct create_more *more, create_done *done, void *data, struct instance **ret,
	struct error *e)
{
	cleanup(wish_done) struct wish wish = {};
	struct instance *instance = NULL;
	int r = wish_read(service, project, body, &wish, e);
	if (more->layers)
		wish.image.layers = more->layers;
	if (r == 0 && more->templates)
		json_object_set_new(wish.object, "templates", json_deep_copy(more->templates));
	if (r == 0)
		r = instance_wish(service, &wish, &instance, e);
	if (r < 0)
		return r;
	assert(instance);
	char uuid[TEXT_UUID_SIZE];
	text_random_uuid(uuid);
	instance_set(instance, "volatile.uuid", uuid);
	instance_set(instance, "volatile.cloud-init.instance-id", uuid);
	if (json_is_true(json_object_get(body, "start")) && (wish.kind->can & KIND_IS_SERVER))
		instance_set(instance, "volatile.berth.start", "true");
	instance->doing = "creating";
	json_set_bool(instance->object, "half_made", true);
	r = own_take(instance, e);
	if (r == 0)
		r = instance_save(instance, e);
	if (r < 0) {
		forget(instance);
		return r;
	}
	struct creation *creation = alloc(struct creation);
	*creation = (struct creation){
		.instance = instance, .fill = more->fill, .done = done, .data = data
	};
	r = volume_make(creation, &wish, e);
	if (r < 0) {
		creation_free(creation);
		if (store_remove(service->store, "instance", project, instance->name, NULL) < 0)
			log_error("a half made record is left instance=%s", instance->name);
		forget(instance);
		return r;
	}
	if (wish.image.fingerprint)
		images_touch(service->images, project, wish.image.fingerprint);
	*ret = instance;
	return 0;
}
