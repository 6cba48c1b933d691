/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profiles.c - profiles in the store.
 */
#include "daemon/profiles.h"

#include "base/text.h"
#include "daemon/api.h"
#include "daemon/projects.h"
#include "model/json.h"

#define CHECKS_MAX 8

struct profiles {
	profile_check_call *checks[CHECKS_MAX];
	size_t check_count;
};

/* What devices of profiles name: networks and pools. */
static const struct {
	const char *kind, *type, *key;
	const char *feature; /* of projects, that decides whose it is; NULL: it is nobody's */
} uses[] = {
	{ "network", "nic", "network", "networks" },
	{ "storage-pool", "disk", "pool", NULL },
};

struct search {
	struct service *service;
	size_t use;
	const char *project, *name;
	json_t *urls;
};

static int find_in_profile(void *data, const char *project, const char *name, const json_t *profile)
{
	const struct search *search = data;
	const char *feature = uses[search->use].feature;
	const char *device;
	json_t *map;
	if (feature && !text_equal(project_of(search->service, project, feature), search->project))
		return 0;
	json_object_foreach(json_object_get(profile, "devices"), device, map)
	{
		if (!text_equal(json_text(map, "type"), uses[search->use].type) ||
			!text_equal(json_text(map, uses[search->use].key), search->name))
			continue;
		cleanup(free) char *url = url_for("/1.0/profiles", name, project);
		json_array_append_new(search->urls, json_string(url));
		break;
	}
	return 0;
}

static void profiles_that_use(struct service *service, const char *kind, const char *project,
	const char *name, json_t *urls)
{
	for (size_t i = 0; i < ARRAY_SIZE(uses); i++) {
		struct search search = { service, i, project, name, urls };
		if (text_equal(kind, uses[i].kind))
			(void)!store_each(
				service->store, "profile", NULL, find_in_profile, &search, NULL);
	}
}

int profiles_start(struct service *service, struct error *e)
{
	service->profiles = alloc(struct profiles);
	used_by_add(service, profiles_that_use);
	if (store_has(service->store, "profile", PROJECT_DEFAULT, "default"))
		return 0;
	cleanup(json_decref) json_t *profile =
		json_pack("{s:s,s:s,s:{},s:{s:{s:s,s:s,s:s},s:{s:s,s:s,s:s}}}", "name", "default",
			"description", "Default berth profile", "config", "devices", "eth0", "type",
			"nic", "name", "eth0", "network", DEFAULT_NETWORK, "root", "type", "disk",
			"path", "/", "pool", DEFAULT_POOL);
	return store_put(service->store, "profile", PROJECT_DEFAULT, "default", profile, e);
}

void profiles_stop(struct service *service)
{
	free(TAKE_PTR(service->profiles));
}

int profile_get(struct service *service, const char *project, const char *name, json_t **ret,
	struct error *e)
{
	return store_get(
		service->store, "profile", project_of(service, project, "profiles"), name, ret, e);
}

void profiles_add_check(struct service *service, profile_check_call *call)
{
	struct profiles *profiles = service->profiles;
	assert(profiles->check_count < CHECKS_MAX);
	profiles->checks[profiles->check_count++] = call;
}

int profile_check(struct service *service, const char *project, const json_t *config,
	const json_t *devices, struct error *e)
{
	for (size_t i = 0; i < service->profiles->check_count; i++) {
		int r = service->profiles->checks[i](service, project, config, devices, e);
		if (r < 0)
			return r;
	}
	return 0;
}
