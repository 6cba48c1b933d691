/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profiles.c - profiles in the store.
 */
#include "daemon/profiles.h"

#include "daemon/projects.h"
#include "model/json.h"

#define CHECKS_MAX 8

struct profiles {
	profile_check_call *checks[CHECKS_MAX];
	size_t check_count;
};

int profiles_start(struct service *service, struct error *e)
{
	service->profiles = alloc(struct profiles);
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
