/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instances.c - the instances of this daemon: found by name, kept in the store, with what they expand to.
 */
#include "daemon/instance/instances.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/events.h"
#include "daemon/instance/kinds.h"
#include "daemon/profiles.h"
#include "daemon/storage/storage.h"
#include "host/cgroup_layout.h"
#include "model/json.h"
#include "model/resources.h"

#define BUCKETS      4096
#define IDMAP_FIRST  1000000 /* below are the host's users */
#define IDMAP_COUNT  65536   /* ids a range */
#define IDMAP_RANGES 32768

static struct instance **bucket_of(
	struct instances *instances, const char *project, const char *name)
{
	uint32_t hash = 2166136261u;
	for (const char *c = project; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	hash = (hash ^ '/') * 16777619u;
	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char)*c) * 16777619u;
	return &instances->buckets[hash % BUCKETS];
}

static struct instance *find_any(struct instances *instances, const char *project, const char *name)
{
	struct instance *instance = *bucket_of(instances, project, name);
	while (instance &&
		(strcmp(instance->name, name) != 0 || strcmp(instance->project, project) != 0))
		instance = instance->next;
	return instance;
}

struct instance *instance_find(struct service *service, const char *project, const char *name)
{
	struct instance *instance = find_any(service->instances, project, name);
	return instance && !instance->is_half_made ? instance : NULL;
}

int instance_get(struct service *service, const char *project, const char *name,
	struct instance **ret, struct error *e)
{
	struct instance *instance = instance_find(service, project, name);
	if (!instance)
		return error_set(e, -ENOENT, "Instance \"%.80s\" not found", name);
	*ret = instance;
	return 0;
}

static void each(struct service *service, const char *project, bool is_half_made,
	instances_call *call, void *data)
{
	struct instances *instances = service->instances;
	for (size_t i = 0; i < BUCKETS; i++) {
		struct instance *next;
		for (struct instance *at = instances->buckets[i]; at; at = next) {
			next = at->next;
			if (at->is_half_made == is_half_made &&
				(!project || text_equal(project, at->project)))
				call(data, at);
		}
	}
}

void instances_each(struct service *service, const char *project, instances_call *call, void *data)
{
	each(service, project, false, call, data);
}

void instances_each_half_made(struct service *service, instances_call *call, void *data)
{
	each(service, NULL, true, call, data);
}

int instance_add(struct service *service, const char *project, const char *name,
	const struct kind *kind, json_t *object, struct instance **ret, struct error *e)
{
	cleanup(json_decref) json_t *owned = object;
	struct instances *instances = service->instances;
	if (find_any(instances, project, name))
		return error_set(e, -EEXIST, "Instance \"%.80s\" already exists", name);
	if (instances->count >= INSTANCES_MAX)
		return error_set(
			e, -EBUSY, "There are %d instances, which is the limit", INSTANCES_MAX);
	struct instance *instance = alloc(struct instance);
	instance->service = service;
	instance->project = alloc_text(project);
	instance->name = alloc_text(name);
	instance->kind = kind;
	instance->object = TAKE_PTR(owned);
	instance->snapshots = json_array();
	instance->backups = json_array();
	instance->is_half_made = true;
	struct instance **bucket = bucket_of(instances, project, name);
	instance->next = *bucket;
	*bucket = instance;
	instances->count++;
	*ret = instance;
	return 0;
}

static void unlink_from_bucket(struct instance *instance)
{
	struct instance **at =
		bucket_of(instance->service->instances, instance->project, instance->name);
	while (*at != instance)
		at = &(*at)->next;
	*at = instance->next;
}

void instance_free(struct instance *instance)
{
	assert(!instance->live && !instance->first_turn);
	struct instances *instances = instance->service->instances;
	unlink_from_bucket(instance);
	instances->count--;
	instance_give_idmap(instance);
	if (instance->storage_pool)
		ledger_release_storage(
			&instances->ledger, instance->storage_pool, instance->storage_bytes);
	free(instance->storage_pool);
	free(instance->project);
	free(instance->name);
	free(instance->text);
	json_decref(instance->object);
	json_decref(instance->expanded_config);
	json_decref(instance->expanded_devices);
	json_decref(instance->snapshots);
	json_decref(instance->backups);
	free(instance);
}

static void text_forget(struct instance *instance)
{
	free(instance->text);
	instance->text = NULL;
}

int instance_save(struct instance *instance, struct error *e)
{
	text_forget(instance);
	return store_put(instance->service->store, "instance", instance->project, instance->name,
		instance->object, e);
}

int instance_set_name(struct instance *instance, const char *name, struct error *e)
{
	struct instances *instances = instance->service->instances;
	if (find_any(instances, instance->project, name))
		return error_set(e, -EEXIST, "Instance \"%.80s\" already exists", name);
	unlink_from_bucket(instance);
	free(instance->name);
	instance->name = alloc_text(name);
	json_set_text(instance->object, "name", name);
	struct instance **bucket = bucket_of(instances, instance->project, name);
	instance->next = *bucket;
	*bucket = instance;
	text_forget(instance);
	return 0;
}

/* Joins `from` into `to`; of a device the later one counts as a whole. */
static void join(json_t *to, const json_t *from)
{
	json_t *all = json_mutable(from);
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		const char *key = json_object_iter_key(at);
		json_object_set(to, key, json_object_iter_value(at));
	}
}

int instances_expand_of(struct service *service, const char *project, const json_t *profiles,
	const json_t *config, const json_t *devices, json_t **ret_config, json_t **ret_devices,
	struct error *e)
{
	cleanup(json_decref) json_t *all_config = json_object();
	cleanup(json_decref) json_t *all_devices = json_object();
	for (size_t i = 0; i < json_array_size(profiles); i++) {
		const char *name = json_string_value(json_array_get(profiles, i));
		cleanup(json_decref) json_t *profile = NULL;
		if (!name)
			return error_set(e, -EINVAL, "profiles: must be an array of names");
		int r = profile_get(service, project, name, &profile, e);
		if (r < 0)
			return error_prefix(e, r == -ENOENT ? -EINVAL : r, "profiles");
		join(all_config, json_object_get(profile, "config"));
		join(all_devices, json_object_get(profile, "devices"));
	}
	join(all_config, config);
	join(all_devices, devices);
	*ret_config = TAKE_PTR(all_config);
	*ret_devices = TAKE_PTR(all_devices);
	return 0;
}

void instance_set_expanded(struct instance *instance, json_t *config, json_t *devices)
{
	struct instances *instances = instance->service->instances;
	json_t *old_config = instance->expanded_config, *old_devices = instance->expanded_devices;
	instance->expanded_config = config;
	instance->expanded_devices = devices;
	text_forget(instance);
	if (instances->changed && instance->live &&
		!(json_equal(config, old_config) && json_equal(devices, old_devices)))
		instances->changed(instance, old_config, old_devices);
	json_decref(old_config);
	json_decref(old_devices);
}

int instance_expand(struct instance *instance, struct error *e)
{
	json_t *config, *devices;
	int r = instances_expand_of(instance->service, instance->project,
		json_object_get(instance->object, "profiles"),
		json_object_get(instance->object, "config"),
		json_object_get(instance->object, "devices"), &config, &devices, e);
	if (r < 0)
		return r;
	instance_set_expanded(instance, config, devices);
	return 0;
}

int instance_spec(const struct instance *instance, struct spec *ret, struct error *e)
{
	return spec_read(instance->expanded_config, instance->expanded_devices,
		instance->service->instances->ledger.memory_bytes, ret, e);
}

const char *instance_config(const struct instance *instance, const char *key)
{
	return json_text(instance->expanded_config, key);
}

bool instance_config_is(const struct instance *instance, const char *key)
{
	const char *text = instance_config(instance, key);
	bool is = false;
	return text && resources_read_bool(text, &is, NULL) == 0 && is;
}

void instance_set(struct instance *instance, const char *key, const char *value)
{
	json_t *config = json_object_get(instance->object, "config");
	if (value) {
		json_set_text(config, key, value);
		if (instance->expanded_config)
			json_set_text(instance->expanded_config, key, value);
	} else {
		json_object_del(config, key);
		json_object_del(instance->expanded_config, key);
	}
	text_forget(instance);
}

bool instance_is_ephemeral(const struct instance *instance)
{
	return json_is_true(json_object_get(instance->object, "ephemeral"));
}

int instance_check_exports(const struct instance *instance, struct error *e)
{
	return instance->exports
		? error_set(e, -EBUSY, "Instance \"%s\" is being exported", instance->name)
		: 0;
}

int instance_move(struct instance *instance, enum instance_event event, struct error *e)
{
	return instance_next(instance->state, event, &instance->state, e);
}

/* The number of the range that a base belongs to, or -1 if it is none of ours. */
static int64_t idmap_range(const char *base)
{
	uint64_t id;
	if (!base || text_to_u64(base, &id) < 0 || id < IDMAP_FIRST ||
		(id - IDMAP_FIRST) % IDMAP_COUNT)
		return -1;
	id = (id - IDMAP_FIRST) / IDMAP_COUNT;
	return id < IDMAP_RANGES ? (int64_t)id : -1;
}

static void idmap_mark(struct instances *instances, int64_t range, bool is_taken)
{
	if (range < 0)
		return;
	uint64_t bit = UINT64_C(1) << (range % 64);
	if (is_taken)
		instances->idmaps[range / 64] |= bit;
	else
		instances->idmaps[range / 64] &= ~bit;
}

int instance_take_idmap(struct instance *instance, uint32_t *ret, struct error *e)
{
	struct instances *instances = instance->service->instances;
	const char *asked = instance_config(instance, "security.idmap.base");
	const char *have = asked ?: instance_config(instance, "volatile.idmap.base");
	uint64_t base;
	if (have && text_to_u64(have, &base) == 0 && base <= UINT32_MAX) {
		*ret = (uint32_t)base;
		return 0;
	}
	for (uint32_t i = 0; i < IDMAP_RANGES; i++) {
		uint32_t range = (instances->first_idmap + i) % IDMAP_RANGES;
		if (instances->idmaps[range / 64] >> (range % 64) & 1)
			continue;
		char text[16];
		base = IDMAP_FIRST + (uint64_t)range * IDMAP_COUNT;
		snprintf(text, sizeof(text), "%llu", (unsigned long long)base);
		idmap_mark(instances, range, true);
		instance_set(instance, "volatile.idmap.base", text);
		*ret = (uint32_t)base;
		return 0;
	}
	return error_set(e, -ENOSPC, "All %d ranges of ids are taken", IDMAP_RANGES);
}

void instance_give_idmap(struct instance *instance)
{
	const json_t *config = json_object_get(instance->object, "config");
	idmap_mark(instance->service->instances,
		idmap_range(json_text(config, "volatile.idmap.base")), false);
}

int instance_promise_storage(
	struct instance *instance, const char *pool, uint64_t bytes, struct error *e)
{
	struct service *service = instance->service;
	struct ledger *ledger = &service->instances->ledger;
	uint64_t total_bytes, free_bytes;
	if (storage_pool_space(service->storage, pool, &total_bytes, &free_bytes, NULL) == 0)
		ledger_set_pool(ledger, pool, total_bytes);
	char *old_pool = instance->storage_pool;
	uint64_t old_bytes = instance->storage_bytes;
	if (old_pool)
		ledger_release_storage(ledger, old_pool, old_bytes);
	int r = ledger_reserve_storage(ledger, pool, bytes, e);
	if (r < 0) {
		/* What was promised before is not taken away by a refusal. */
		if (old_pool && ledger_reserve_storage(ledger, old_pool, old_bytes, NULL) < 0) {
			free(old_pool);
			instance->storage_pool = NULL;
			instance->storage_bytes = 0;
		}
		return r;
	}
	instance->storage_pool = alloc_text(pool);
	instance->storage_bytes = bytes;
	free(old_pool);
	return 0;
}

char *instance_dir_path(const struct instance *instance)
{
	return alloc_printf("instances/%s/%s", instance->project, instance->name);
}

int instance_open_dir(const struct instance *instance, int *ret, struct error *e)
{
	cleanup(free) char *path = instance_dir_path(instance);
	int dir = instance->service->dir;
	int fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		int r = file_make_dirs(dir, path, 0711);
		if (r < 0)
			return error_code(e, r, "make %s", path);
		fd = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return error_errno(e, "open %s", path);
	*ret = fd;
	return 0;
}

char *instance_group(const struct instance *instance)
{
	return alloc_printf(
		"berth-%s/%s_%s", instance->service->id, instance->project, instance->name);
}

char *instance_url(const struct instance *instance)
{
	return alloc_printf("/1.0/instances/%s", instance->name);
}

json_t *instance_resources(const struct instance *instance)
{
	return json_pack("{s:[o], s:[o]}", "instances",
		json_sprintf("/1.0/instances/%s", instance->name), "containers",
		json_sprintf("/1.0/containers/%s", instance->name));
}

void instance_event(const struct instance *instance, const char *action, json_t *context)
{
	cleanup(free) char *url = instance_url(instance);
	events_lifecycle(instance->service, action, instance->project, url, context);
}

/* What was promised once is promised, whatever the ratio is now. */
static void promise_again(struct instance *instance)
{
	cleanup(spec_done) struct spec spec = {};
	struct error e = {};
	if (instance_spec(instance, &spec, &e) < 0)
		return;
	const struct disk_device *root = devices_root(&spec.devices);
	if (!root)
		return;
	if (instance_promise_storage(instance, root->pool, root->size_bytes, &e) < 0)
		log_warning("promised more than there is instance=%s: %s", instance->name, e.text);
}

static int load_one(void *data, const char *project, const char *name, const json_t *object)
{
	struct service *service = data;
	const struct kind *kind;
	struct instance *instance = NULL;
	struct error e = {};
	int r = kinds_find(json_text(object, "type"), &kind, &e);
	if (r == 0)
		r = instance_add(
			service, project, name, kind, json_deep_copy(object), &instance, &e);
	if (r < 0) {
		log_error("instance not loaded project=%s instance=%s: %s", project, name, e.text);
		return 0;
	}
	assert(instance);
	instance->is_half_made = json_is_true(json_object_get(object, "half_made"));
	idmap_mark(service->instances,
		idmap_range(json_text(
			json_object_get(instance->object, "config"), "volatile.idmap.base")),
		true);
	if (instance_expand(instance, &e) < 0) {
		log_error(
			"instance not expanded project=%s instance=%s: %s", project, name, e.text);
		instance->expanded_config =
			json_incref(json_object_get(instance->object, "config"));
		instance->expanded_devices =
			json_incref(json_object_get(instance->object, "devices"));
	}
	promise_again(instance);
	return 0;
}

/* A snapshot or a backup, stored as "INSTANCE/NAME". */
static int load_part(struct service *service, const char *project, const char *name,
	const json_t *object, bool is_snapshot)
{
	cleanup(free) char *owner = alloc_text_n(name, strcspn(name, "/"));
	struct instance *instance = find_any(service->instances, project, owner);
	if (!instance) {
		log_error("nobody's snapshot or backup project=%s name=%s", project, name);
		return 0;
	}
	json_t *array = is_snapshot ? instance->snapshots : instance->backups;
	const char *created = json_text(object, "created_at") ?: "";
	size_t at = json_array_size(array);
	while (at > 0 &&
		strcmp(json_text(json_array_get(array, at - 1), "created_at") ?: "", created) > 0)
		at--;
	json_array_insert_new(array, at, json_deep_copy(object));
	return 0;
}

static int load_snapshot(void *data, const char *project, const char *name, const json_t *object)
{
	return load_part(data, project, name, object, true);
}

static int load_backup(void *data, const char *project, const char *name, const json_t *object)
{
	return load_part(data, project, name, object, false);
}

/* A profile has changed: what it is in expands anew. */
static void expand_if_using(void *data, struct instance *instance)
{
	const char *profile = data;
	const json_t *profiles = json_object_get(instance->object, "profiles");
	for (size_t i = 0; i < json_array_size(profiles); i++) {
		struct error e = {};
		if (text_equal(profile, json_string_value(json_array_get(profiles, i))) &&
			instance_expand(instance, &e) < 0)
			log_error("instance not expanded instance=%s: %s", instance->name, e.text);
	}
}

static void profile_changed(void *data, const char *action, const char *project, const char *source)
{
	struct service *service = data;
	(void)project; /* a project may see the default one's profiles */
	if (text_equal(action, "profile-updated")) {
		const char *slash = strrchr(source, '/');
		cleanup(free) char *name = alloc_text(slash ? slash + 1 : source);
		instances_each(service, NULL, expand_if_using, name);
	}
}

static void ledger_read_host(struct ledger *ledger)
{
	cpu_set_t online;
	struct cpu_set_mask cpus = {};
	CPU_ZERO(&online);
	if (sched_getaffinity(0, sizeof(online), &online) == 0) {
		static_assert(CPU_SETSIZE <= RESOURCES_CPUS_MAX, "a CPU has no place");
		for (uint32_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (CPU_ISSET(cpu, &online))
				cpu_set_mask_add(&cpus, cpu);
		}
	}
	ledger_init(
		ledger, &cpus, (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

int instances_start(struct service *service, struct error *e)
{
	struct instances *instances = alloc(struct instances);
	uint32_t id = 0;
	service->instances = instances;
	instances->service = service;
	instances->buckets = alloc_array(BUCKETS, struct instance *);
	instances->idmaps = alloc_array(IDMAP_RANGES / 64, uint64_t);
	/* Daemons side by side begin at different ranges, so that their ids seldom meet. */
	if (text_from_hex(service->id, &id, sizeof(id)) == 0)
		instances->first_idmap = id % IDMAP_RANGES;
	ledger_read_host(&instances->ledger);
	int r = cgroups_open(&instances->cgroups, e);
	if (r == 0)
		r = store_each(service->store, "instance", NULL, load_one, service, e);
	if (r == 0)
		r = store_each(service->store, "snapshot", NULL, load_snapshot, service, e);
	if (r == 0)
		r = store_each(service->store, "backup", NULL, load_backup, service, e);
	if (r == 0)
		events_listen(service, profile_changed, service);
	return r;
}

void instances_stop(struct service *service)
{
	struct instances *instances = service->instances;
	if (!instances)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		struct instance *next;
		for (struct instance *at = instances->buckets[i]; at; at = next) {
			next = at->next;
			instance_free(at);
		}
	}
	cgroups_free(instances->cgroups);
	ledger_done(&instances->ledger);
	free(instances->buckets);
	free(instances->idmaps);
	free(instances);
	service->instances = NULL;
}
