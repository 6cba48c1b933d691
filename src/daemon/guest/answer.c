/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer.c - of the config what is meant for the instance: user.* and cloud-init.*
 */
#include "daemon/guest/answer.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "model/json.h"

#define READY "volatile.last_state.ready"

static bool is_shown(const char *key)
{
	return text_starts(key, "user.") || text_starts(key, "cloud-init.");
}

static char *server_text(const struct instance *instance)
{
	cleanup(json_decref) json_t *server = json_pack("{s:s, s:s, s:s, s:s}", "api_version",
		"1.0", "instance_type", instance->kind->name, "location", "none", "state",
		instance_config_is(instance, READY) ? "Ready" : "Started");
	return json_dumps(server, JSON_COMPACT);
}

static char *keys_text(const struct instance *instance)
{
	cleanup(json_decref) json_t *keys = json_array();
	const char *key;
	json_t *value;
	json_object_foreach(instance->expanded_config, key, value)
	{
		if (is_shown(key))
			json_array_append_new(keys, json_sprintf("/1.0/config/%s", key));
	}
	return json_dumps(keys, JSON_COMPACT);
}

/* As templates.c writes it for NoCloud, so that cloud-init knows the instance by whatever it reads. */
static char *meta_data(const struct instance *instance)
{
	const char *id = instance_config(instance, "volatile.cloud-init.instance-id");
	const char *more = instance_config(instance, "user.meta-data");
	return alloc_printf("#cloud-config\ninstance-id: %s\nlocal-hostname: %s\n%s",
		id ?: instance->name, instance->name, more ?: "");
}

/* Once a start, not as often as the instance likes: it is stored. */
static uint32_t state_set(struct instance *instance, bool is_ready)
{
	struct error e = {};
	if (instance_config_is(instance, READY) == is_ready)
		return 200;
	instance_set(instance, READY, is_ready ? "true" : "false");
	if (instance_save(instance, &e) < 0)
		log_error("not stored instance=%s: %s", instance->name, e.text);
	if (is_ready)
		instance_event(instance, "instance-ready", NULL);
	return 200;
}

uint32_t guest_answer(struct instance *instance, const struct guest_message *question, char **ret,
	bool *ret_is_json)
{
	const char *value;
	*ret = NULL;
	*ret_is_json = true;
	switch ((enum guest_question)question->question) {
	case GUEST_GET_SERVER:
		*ret = server_text(instance);
		return 200;
	case GUEST_SET_STATE:
		*ret_is_json = false;
		return state_set(instance, question->value);
	case GUEST_GET_KEYS:
		*ret = keys_text(instance);
		return 200;
	case GUEST_GET_KEY:
		*ret_is_json = false;
		if (!is_shown(question->key))
			return 403;
		value = instance_config(instance, question->key);
		*ret = value ? alloc_text(value) : NULL;
		return value ? 200 : 404;
	case GUEST_GET_META_DATA:
		*ret_is_json = false;
		*ret = meta_data(instance);
		return 200;
	case GUEST_GET_DEVICES:
		*ret = json_dumps(instance->expanded_devices, JSON_COMPACT);
		return 200;
	}
	return 400;
}

static void add_event(json_t *events, const char *type, json_t *metadata)
{
	char now[TEXT_TIME_SIZE];
	json_array_append_new(events,
		json_pack("{s:s, s:s, s:o}", "timestamp", text_format_time(loop_wall_clock(), now),
			"type", type, "metadata", metadata));
}

static void add_key(json_t *events, const char *key, const json_t *old, const json_t *now)
{
	if (is_shown(key) && !(old && now && json_equal(old, now)))
		add_event(events, "config",
			json_pack("{s:s, s:s, s:s}", "key", key, "old_value",
				json_string_value(old) ?: "", "value",
				json_string_value(now) ?: ""));
}

static void add_device(json_t *events, const char *name, const char *action, json_t *device)
{
	add_event(events, "device",
		json_pack("{s:s, s:s, s:O}", "name", name, "action", action, "config", device));
}

json_t *guest_events(const struct instance *instance, const json_t *config, const json_t *devices)
{
	json_t *events = json_array(), *value;
	const char *name;
	json_object_foreach(json_mutable(config), name, value)
		add_key(events, name, value, json_object_get(instance->expanded_config, name));
	json_object_foreach(instance->expanded_config, name, value)
	{
		if (!json_object_get(config, name))
			add_key(events, name, NULL, value);
	}
	json_object_foreach(json_mutable(devices), name, value)
	{
		if (!json_object_get(instance->expanded_devices, name))
			add_device(events, name, "removed", value);
	}
	json_object_foreach(instance->expanded_devices, name, value)
	{
		const json_t *old = json_object_get(devices, name);
		if (!old || !json_equal(old, value))
			add_device(events, name, old ? "updated" : "added", value);
	}
	return events;
}
