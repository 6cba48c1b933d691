/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - the server's own configuration.
 */
#include "daemon/config.h"

#include <errno.h>

#include "base/text.h"
#include "model/json.h"

#define KEYS_MAX 64

struct config {
	json_t *values;
	const struct config_key *keys[KEYS_MAX];
	size_t key_count;
};

int config_start(struct service *service, struct error *e)
{
	struct config *config = alloc(struct config);
	service->config = config;
	cleanup(json_decref) json_t *stored = NULL;
	int r = store_get(service->store, "service", "", "config", &stored, NULL);
	if (r < 0 && r != -ENOENT)
		return store_get(service->store, "service", "", "config", &stored, e);
	config->values = r == 0 ? TAKE_PTR(stored) : json_object();
	return 0;
}

void config_stop(struct service *service)
{
	if (!service->config)
		return;
	json_decref(service->config->values);
	free(TAKE_PTR(service->config));
}

void config_add(struct service *service, const struct config_key *key)
{
	struct config *config = service->config;
	assert(config->key_count < KEYS_MAX);
	config->keys[config->key_count++] = key;
}

const char *config_get(const struct service *service, const char *name)
{
	return json_text(service->config->values, name);
}

const json_t *config_all(const struct service *service)
{
	return service->config->values;
}

static int check(
	const struct config *config, const char *name, const json_t *value, struct error *e)
{
	if (!json_is_string(value))
		return error_set(e, -EINVAL, "config.%.64s: a text is wanted", name);
	if (text_starts(name, "user."))
		return 0;
	for (size_t i = 0; i < config->key_count; i++) {
		if (!text_equal(config->keys[i]->name, name))
			continue;
		int r = config->keys[i]->check ? config->keys[i]->check(json_string_value(value), e)
					       : 0;
		return r < 0 ? error_prefix(e, r, "config.%s", name) : 0;
	}
	return error_set(e, -EINVAL, "config.%.64s: there is no such key", name);
}

static int prepare(struct service *service, const json_t *wanted, struct error *e)
{
	struct config *config = service->config;
	for (size_t i = 0; i < config->key_count; i++) {
		const struct config_key *key = config->keys[i];
		const char *value = json_text(wanted, key->name);
		if (!key->prepare || text_equal(value, json_text(config->values, key->name)))
			continue;
		int r = key->prepare(service, value, e);
		if (r < 0)
			return error_prefix(e, r, "config.%s", key->name);
	}
	return 0;
}

int config_set(struct service *service, const json_t *values, struct error *e)
{
	struct config *config = service->config;
	cleanup(json_decref) json_t *wanted = json_object();
	for (void *at = json_object_iter(json_mutable(values)); at;
		at = json_object_iter_next(json_mutable(values), at)) {
		json_t *value = json_object_iter_value(at);
		const char *name = json_object_iter_key(at);
		/* An empty text unsets. */
		if (json_is_string(value) && json_string_length(value) == 0)
			continue;
		int r = check(config, name, value, e);
		if (r < 0)
			return r;
		json_object_set(wanted, name, value);
	}
	int r = prepare(service, wanted, e);
	if (r == 0)
		r = store_put(service->store, "service", "", "config", wanted, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *old = TAKE_PTR(config->values);
	config->values = TAKE_PTR(wanted);
	for (size_t i = 0; i < config->key_count; i++) {
		const struct config_key *key = config->keys[i];
		const char *value = json_text(config->values, key->name);
		if (key->changed && !text_equal(value, json_text(old, key->name)))
			key->changed(service, value);
	}
	return 0;
}
