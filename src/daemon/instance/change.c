/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.c - changes what an instance is asked to be, while it runs or not.
 */
#include "daemon/instance/change.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/api.h"
#include "daemon/instance/container_change.h"
#include "daemon/instance/launch.h"
#include "daemon/instance/machine_change.h"
#include "daemon/instance/start_plan.h"
#include "daemon/instance/supervisor.h"
#include "daemon/instance/turn.h"
#include "daemon/instance/volume.h"
#include "daemon/network/lease.h"
#include "daemon/network/nics.h"
#include "daemon/network/proxy_nat.h"
#include "daemon/storage/storage.h"
#include "daemon/warnings.h"
#include "host/cgroup_usage.h"
#include "kind/unikernel.h"
#include "model/json.h"

#define REAPPLY_WARNING "A profile's change is not applied to a running instance"

struct change {
	struct instance *instance;
	json_t *object, *config, *devices; /* as they shall be: own and expanded */
	struct spec spec;                  /* borrows from them */
	uint64_t size_bytes, old_bytes;
	change_done *done;
	void *data;
};

static void change_free(struct change *change)
{
	spec_done(&change->spec);
	json_decref(change->object);
	json_decref(change->config);
	json_decref(change->devices);
	free(change);
}

/* Keys that only the daemon knows; a client sends them back as it got them, or not at all. */
static void volatile_keep(json_t *config, const json_t *old)
{
	static const char *const fixed[] = { "volatile.idmap.", "volatile.last_state.",
		"volatile.uuid", "volatile.apply_template" };
	json_t *all = json_mutable(old);
	const char *key;
	json_t *value;
	void *next;
	json_object_foreach_safe(config, next, key, value)
	{
		for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
			if (text_starts(key, fixed[i])) {
				json_object_del(config, key);
				break;
			}
		}
	}
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		key = json_object_iter_key(at);
		if (text_starts(key, "volatile.") && !json_object_get(config, key))
			json_object_set(config, key, json_object_iter_value(at));
	}
}

/* What was chosen for network cards while the change was carried out. */
static void volatile_renew(json_t *config, const json_t *now)
{
	json_t *all = json_mutable(now);
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		const char *key = json_object_iter_key(at);
		if (text_starts(key, "volatile.") &&
			(text_ends(key, ".host_name") || !json_object_get(config, key)))
			json_object_set(config, key, json_object_iter_value(at));
	}
}

/* "" takes a key away. */
static void empty_remove(json_t *config)
{
	const char *key;
	json_t *value;
	void *next;
	json_object_foreach_safe(config, next, key, value)
	{
		if (json_is_null(value) || text_equal(json_string_value(value), ""))
			json_object_del(config, key);
	}
}

/* cloud-init runs anew for an instance that it does not know. */
static void renew_cloud_id(json_t *config, const json_t *old)
{
	static const char *const keys[] = { "cloud-init.user-data", "cloud-init.vendor-data",
		"cloud-init.network-config", "user.user-data", "user.vendor-data",
		"user.network-config", "user.meta-data" };
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (json_equal(json_object_get(config, keys[i]), json_object_get(old, keys[i])) ||
			(!json_object_get(config, keys[i]) && !json_object_get(old, keys[i])))
			continue;
		char uuid[TEXT_UUID_SIZE];
		text_random_uuid(uuid);
		json_set_text(config, "volatile.cloud-init.instance-id", uuid);
		return;
	}
}

static int wanted_read(
	const struct instance *instance, const json_t *wanted, json_t **ret, struct error *e)
{
	const char *description = NULL, *architecture = NULL;
	json_t *config = NULL, *devices = NULL, *profiles = NULL;
	bool is_ephemeral = instance_is_ephemeral(instance);
	int r = json_read_text(wanted, "", "description", &description, e);
	if (r == 0)
		r = json_read_text(wanted, "", "architecture", &architecture, e);
	if (r == 0)
		r = json_read_text_map(wanted, "", "config", &config, e);
	if (r == 0)
		r = json_read_object(wanted, "", "devices", &devices, e);
	if (r == 0)
		r = json_read_text_array(wanted, "", "profiles", &profiles, e);
	if (r == 0)
		r = json_read_bool(wanted, "", "ephemeral", &is_ephemeral, e);
	if (r < 0)
		return r;
	json_t *object = json_deep_copy(instance->object);
	if (description)
		json_set_text(object, "description", description);
	if (architecture && architecture[0])
		json_set_text(object, "architecture", architecture);
	json_set_bool(object, "ephemeral", is_ephemeral);
	if (config) {
		json_t *copy = json_deep_copy(config);
		empty_remove(copy);
		volatile_keep(copy, json_object_get(instance->object, "config"));
		renew_cloud_id(copy, json_object_get(instance->object, "config"));
		json_object_set_new(object, "config", copy);
	}
	if (devices)
		json_object_set_new(object, "devices", json_deep_copy(devices));
	if (profiles)
		json_object_set_new(object, "profiles", json_deep_copy(profiles));
	*ret = object;
	return 0;
}

static bool is_nic(const json_t *devices, const char *name)
{
	const json_t *device = json_object_get(devices, name);
	return !device || text_equal(json_text(device, "type"), "nic");
}

static bool is_nat_proxy(const json_t *devices, const char *name)
{
	const json_t *device = json_object_get(devices, name);
	const char *nat = json_text(device, "nat");
	bool is_nat = false;
	return !device ||
		(text_equal(json_text(device, "type"), "proxy") && nat &&
			resources_read_bool(nat, &is_nat, NULL) == 0 && is_nat);
}

/* Devices that a running instance would have to gain, lose or exchange; network cards it can. */
static int devices_check(const json_t *old, const json_t *new, uint32_t can, struct error *e)
{
	static const char *const changing[] = { "limits.max", "limits.read", "limits.write",
		"limits.ingress", "limits.egress", "size" };
	bool plugs_cards = !(can & KIND_IS_MACHINE) || (can & KIND_HAS_AGENT);
	const json_t *const both[] = { old, new };
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		json_t *all = json_mutable(both[i]);
		for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
			const char *name = json_object_iter_key(at);
			const json_t *was = json_object_get(old, name);
			const json_t *is = json_object_get(new, name);
			if ((plugs_cards && is_nic(old, name) && is_nic(new, name)) ||
				(is_nat_proxy(old, name) && is_nat_proxy(new, name)))
				continue;
			if ((can & KIND_CAN_DEVICES) && (!was || container_change_is_live(was)) &&
				(!is || container_change_is_live(is)))
				continue;
			if ((can & KIND_HAS_AGENT) &&
				machine_change_is_disk(json_object_get(old, name)) &&
				machine_change_is_disk(json_object_get(new, name)))
				continue;
			cleanup(json_decref) json_t *left = json_copy(json_object_get(old, name));
			cleanup(json_decref) json_t *right = json_copy(json_object_get(new, name));
			for (size_t k = 0; k < ARRAY_SIZE(changing); k++) {
				json_object_del(left, changing[k]);
				json_object_del(right, changing[k]);
			}
			if (!json_equal(left, right))
				return error_set(e, -EBUSY,
					"devices.%s: can be changed only while the instance is "
					"stopped, but for its limits and size",
					name);
		}
	}
	return 0;
}

/* The cgroup's and the links' limits. */
static int limits_set(struct instance *instance, const struct spec *spec, struct error *e)
{
	struct plan_cgroup limits;
	instance->kind->limits(spec, &instance->live->cpus, &limits);
	/* A machine gives memory back later: until then it has what it had. */
	uint64_t had = instance->live->limits.memory_bytes;
	if ((instance->kind->can & KIND_HAS_AGENT) && limits.memory_bytes < had)
		limits.memory_bytes = had;
	int r = launch_set_limits(instance->live, &limits, e);
	if (r == 0)
		r = nics_update(instance, spec, e);
	return r < 0 ? r : proxy_nat_apply(instance, spec, e);
}

/* What it runs with. */
static int live_spec(const struct instance *instance, struct spec *ret, struct error *e)
{
	const struct live *live = instance->live;
	return spec_read(live->config, live->devices,
		instance->service->instances->ledger.memory_bytes, ret, e);
}

static int live_change(struct instance *instance, const struct spec *spec, struct error *e)
{
	struct live *live = instance->live;
	struct ledger *ledger = &instance->service->instances->ledger;
	struct resources old = live->promised;
	struct cpu_set_mask old_cpus = live->cpus;
	launch_unreserve(live);
	int r = launch_reserve(live, spec, e);
	if (r == 0)
		r = limits_set(instance, spec, e);
	if (r == 0)
		return 0;
	struct error again = {};
	cleanup(spec_done) struct spec before = {};
	launch_unreserve(live);
	if (ledger_reserve(ledger, &old, &again) == 0) {
		live->promised = old;
		live->cpus = old_cpus;
		ledger_use_cpus(ledger, &old_cpus);
	}
	if (live_spec(instance, &before, &again) < 0 || limits_set(instance, &before, &again) < 0)
		log_error("limits not put back instance=%s: %s", instance->name, again.text);
	return r;
}

static int change_check(struct change *change, struct spec *spec, struct error *e)
{
	struct instance *instance = change->instance;
	struct instances *instances = instance->service->instances;
	struct kind_host host = { cpu_set_mask_count(&instances->ledger.cpus),
		instances->ledger.memory_bytes, NULL };
	cleanup(free) char *kernel = start_plan_kernel(instance->service);
	host.kernel = kernel;
	int r = spec_check(json_object_get(change->object, "config"),
		json_object_get(change->object, "devices"), e);
	if (r == 0)
		r = instances_expand_of(instance->service, instance->project,
			json_object_get(change->object, "profiles"),
			json_object_get(change->object, "config"),
			json_object_get(change->object, "devices"), &change->config,
			&change->devices, e);
	if (r == 0)
		r = spec_read(
			change->config, change->devices, instances->ledger.memory_bytes, spec, e);
	if (r == 0)
		r = instance->kind->check(spec, &host, e);
	if (r == 0)
		r = start_plan_check_volumes(instance, spec, e);
	if (r < 0)
		return r;
	struct resources asked = spec_resources(spec);
	struct volume_ref ref;
	instance_volume(instance, NULL, &ref);
	const struct disk_device *root = devices_root(&spec->devices);
	if (!text_equal(ref.pool, root->pool))
		return error_set(e, -EINVAL,
			"devices.%s.pool: an instance stays in its pool; copy it to another",
			root->device);
	r = start_plan_check_sources(spec, change->devices, instance->expanded_devices, e);
	if (r == 0 && !(instance->kind->can & KIND_IS_SERVER))
		r = storage_volume_check(
			instance->service->storage, &ref, asked.storage_bytes, root->device, e);
	if (r == 0 && instance->live)
		r = devices_check(instance->live->devices, change->devices, instance->kind->can, e);
	if (r == 0)
		r = ledger_check(&instances->ledger, &asked, e);
	return r;
}

static void change_end(struct change *change, int code, const struct error *e)
{
	instance_release(change->instance);
	change->done(change->data, code, e);
	change_free(change);
}

static void change_store(struct change *change)
{
	struct instance *instance = change->instance;
	struct error e = {};
	json_t *old = instance->object;
	volatile_renew(json_object_get(change->object, "config"), json_object_get(old, "config"));
	instance->object = json_incref(change->object);
	int r = instance_save(instance, &e);
	if (r < 0) {
		json_decref(instance->object);
		instance->object = old;
		change_end(change, r, &e);
		return;
	}
	json_decref(old);
	instance_set_expanded(instance, TAKE_PTR(change->config), TAKE_PTR(change->devices));
	if (instance->live)
		live_applied(instance->live, instance->expanded_config, instance->expanded_devices);
	instance_event(instance, "instance-updated", NULL);
	change_end(change, 0, NULL);
}

static void resized(void *data, int code, const struct error *e)
{
	struct change *change = data;
	if (code < 0)
		change_end(change, code, e);
	else
		change_store(change);
}

/* The root's size, and then the record. */
static int size_change(struct change *change, struct error *e)
{
	struct instance *instance = change->instance;
	struct volume_ref ref;
	instance_volume(instance, NULL, &ref);
	if (change->size_bytes == change->old_bytes) {
		change_store(change);
		return 0;
	}
	return storage_volume_resize(
		instance->service->storage, &ref, change->size_bytes, resized, change, e);
}

/* The cgroup follows what the guest has given back; if it would not, all is as it was. */
static void live_is_changed(void *data, int code, const struct error *e)
{
	struct change *change = data;
	struct instance *instance = change->instance;
	cleanup(spec_done) struct spec spec = {};
	struct error error = {};
	if (code < 0) {
		if (instance->live && live_spec(instance, &spec, &error) == 0 &&
			live_change(instance, &spec, &error) < 0)
			log_error(
				"limits not put back instance=%s: %s", instance->name, error.text);
		change_end(change, code, e);
		return;
	}
	code = spec_read(change->config, change->devices,
		instance->service->instances->ledger.memory_bytes, &spec, &error);
	if (code == 0 && instance->live) {
		struct plan_cgroup limits;
		instance->kind->limits(&spec, &instance->live->cpus, &limits);
		code = launch_set_limits(instance->live, &limits, &error);
	}
	if (code == 0)
		code = size_change(change, &error);
	if (code < 0)
		change_end(change, code, &error);
}

/* What its library OS hands out was set at its start: the host can give less, not more. */
static int unikernel_change_check(const struct live *live, const struct spec *spec, struct error *e)
{
	struct cgroup_usage usage = {};
	uint64_t had =
		(uint64_t)json_integer_value(json_object_get(live->document, "memory_bytes"));
	uint64_t wanted = unikernel_memory(spec);
	char text[TEXT_SIZE_MAX];
	if (wanted > had)
		return error_set(e, -EBUSY,
			"config.limits.memory: the running unikernel can have %s at most; stop it for more",
			text_format_bytes(had, text));
	if (live->group && cgroup_usage(live->group, false, &usage, NULL) == 0 &&
		usage.memory_bytes > wanted + unikernel_beside(spec))
		return error_set(e, -EBUSY,
			"config.limits.memory: the running unikernel holds %s; stop it first",
			text_format_bytes(usage.memory_bytes, text));
	return 0;
}

static int live_or_not(struct change *change, const struct spec *spec, struct error *e)
{
	struct instance *instance = change->instance;
	cleanup(spec_done) struct spec before = {};
	bool is_machine = instance->kind->can & KIND_HAS_AGENT;
	int r = 0;
	if (instance->live)
		r = live_spec(instance, &before, e);
	if (r == 0 && instance->live && is_machine)
		r = machine_change_check(instance->live, &before, spec, e);
	if (r == 0 && instance->live && (instance->kind->can & KIND_HAS_REPORT))
		r = unikernel_change_check(instance->live, spec, e);
	if (r == 0 && instance->live)
		r = live_change(instance, spec, e);
	if (r < 0)
		return r;
	if (!instance->live || !(instance->kind->can & (KIND_HAS_AGENT | KIND_CAN_DEVICES)))
		return size_change(change, e);
	if (!is_machine) {
		container_change(instance->live, spec, live_is_changed, change);
		return 0;
	}
	machine_change(instance->live, &before, spec, live_is_changed, change);
	return 0;
}

static int change_make(struct change *change, struct error *e)
{
	struct instance *instance = change->instance;
	struct volume_ref ref;
	int r = change_check(change, &change->spec, e);
	if (r < 0)
		return r;
	instance_volume(instance, NULL, &ref);
	change->old_bytes = instance->storage_bytes;
	change->size_bytes = spec_resources(&change->spec).storage_bytes;
	r = instance_promise_storage(instance, ref.pool, change->size_bytes, e);
	return r < 0 ? r : live_or_not(change, &change->spec, e);
}

int instance_change(struct instance *instance, const json_t *wanted, change_done *done, void *data,
	struct error *e)
{
	json_t *object = NULL;
	int r = wanted_read(instance, wanted, &object, e);
	if (r < 0)
		return r;
	struct change *change = alloc(struct change);
	*change = (struct change){
		.instance = instance, .object = object, .done = done, .data = data
	};
	r = instance_claim(instance, "updating", e);
	if (r < 0) {
		change_free(change);
		return r;
	}
	r = change_make(change, e);
	if (r < 0) {
		instance_release(instance);
		change_free(change);
	}
	return r;
}

/* A profile's change, taken over by a machine that runs. */
struct reapplying {
	struct instance *instance;
	struct spec before, wanted; /* of what the live one has, and of the instance */
	json_t *held[4];            /* what they borrow from: another change may come meanwhile */
};

static char *reapply_url(const struct instance *instance)
{
	return url_for("/1.0/instances", instance->name, instance->project);
}

static void reapply_failed(const struct instance *instance, const struct error *e)
{
	cleanup(free) char *url = reapply_url(instance);
	log_warning("a profile's change is not applied instance=%s: %s", instance->name, e->text);
	service_warning(
		instance->service, REAPPLY_WARNING, "low", instance->project, url, "%s", e->text);
}

static void reapplied(struct instance *instance, json_t *config, json_t *devices)
{
	cleanup(free) char *url = reapply_url(instance);
	if (instance->live)
		live_applied(instance->live, config, devices);
	service_warning_resolve(instance->service, REAPPLY_WARNING, instance->project, url);
}

static void reapplying_free(struct reapplying *reapplying)
{
	spec_done(&reapplying->before);
	spec_done(&reapplying->wanted);
	for (size_t i = 0; i < ARRAY_SIZE(reapplying->held); i++)
		json_decref(reapplying->held[i]);
	free(reapplying);
}

static void machine_reapplied(void *data, int code, const struct error *e)
{
	struct reapplying *reapplying = data;
	struct instance *instance = reapplying->instance;
	struct plan_cgroup limits;
	struct error error = {};
	instance_release(instance);
	if (code == 0 && instance->live) {
		instance->kind->limits(&reapplying->wanted, &instance->live->cpus, &limits);
		e = &error;
		code = launch_set_limits(instance->live, &limits, &error);
	} else if (instance->live && live_change(instance, &reapplying->before, &error) < 0) {
		log_error("limits not put back instance=%s: %s", instance->name, error.text);
	}
	if (code < 0)
		reapply_failed(instance, e);
	else
		reapplied(instance, reapplying->held[2], reapplying->held[3]);
	reapplying_free(reapplying);
}

static void machine_reapply(struct instance *instance)
{
	struct live *live = instance->live;
	struct error e = {};
	struct reapplying *reapplying = alloc(struct reapplying);
	reapplying->instance = instance;
	json_t *const held[] = { live->config, live->devices, instance->expanded_config,
		instance->expanded_devices };
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		reapplying->held[i] = json_incref(held[i]);
	int r = live_spec(instance, &reapplying->before, &e);
	if (r == 0)
		r = instance_spec(instance, &reapplying->wanted, &e);
	if (r == 0)
		r = devices_check(
			live->devices, instance->expanded_devices, instance->kind->can, &e);
	if (r == 0)
		r = machine_change_check(live, &reapplying->before, &reapplying->wanted, &e);
	if (r == 0)
		r = instance_claim(instance, "updating", &e);
	if (r < 0) {
		reapply_failed(instance, &e);
		reapplying_free(reapplying);
		return;
	}
	r = live_change(instance, &reapplying->wanted, &e);
	if (r < 0) {
		instance_release(instance);
		reapply_failed(instance, &e);
		reapplying_free(reapplying);
		return;
	}
	machine_change(
		live, &reapplying->before, &reapplying->wanted, machine_reapplied, reapplying);
}

/* A profile's change that came while the instance was held. */
static void reapply_turn(void *data, struct instance *instance, int code, const struct error *e)
{
	(void)data;
	(void)e;
	if (code == 0)
		instance_reapply(instance);
}

void instance_reapply(struct instance *instance)
{
	cleanup(spec_done) struct spec spec = {};
	struct error e = {};
	if (!instance->live)
		return;
	if (instance->doing) {
		if (!turn_is_waiting(instance, reapply_turn))
			turn_wait(instance, &(struct turn_options){ .call = reapply_turn });
		return;
	}
	if (instance->kind->can & KIND_HAS_AGENT) {
		machine_reapply(instance);
		return;
	}
	if (instance_spec(instance, &spec, &e) < 0 || live_change(instance, &spec, &e) < 0) {
		reapply_failed(instance, &e);
		return;
	}
	reapplied(instance, instance->expanded_config, instance->expanded_devices);
	container_renew(instance);
}
