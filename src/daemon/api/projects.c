/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projects.c - /1.0/projects.
 */
#include <errno.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/operation.h"
#include "daemon/projects.h"
#include "daemon/server/seed.h"
#include "model/json.h"

static const struct {
	const char *name;
	bool is_on; /* in a new project */
} features[] = {
	{ "features.images", true },
	{ "features.networks", false },
	{ "features.networks.zones", false },
	{ "features.profiles", true },
	{ "features.storage.buckets", true },
	{ "features.storage.volumes", true },
};

static json_t *shown(struct service *service, const json_t *project)
{
	json_t *result = json_copy(json_mutable(project));
	json_object_set_new(result, "used_by",
		used_by_list(service, "project", json_text(project, "name"),
			json_text(project, "name")));
	return result;
}

static int list_projects(struct service *service, struct request *request, struct error *e)
{
	json_t *list = json_array();
	const char *name;
	json_t *project;
	json_object_foreach(json_mutable(projects_all(service)), name, project)
	{
		if (client_has_project(&request->client, name))
			json_array_append_new(list, shown(service, project));
	}
	return reply_collection(request, list, "/1.0/projects", "name", e);
}

static int check_config(const json_t *config, struct error *e)
{
	for (void *at = json_object_iter(json_mutable(config)); at;
		at = json_object_iter_next(json_mutable(config), at)) {
		const char *key = json_object_iter_key(at);
		const char *value = json_string_value(json_object_iter_value(at));
		size_t i = 0;
		if (text_starts(key, "user."))
			continue;
		if (text_equal(key, "berth.vlan")) {
			if (value && (!*value || server_seed_vlan_read(value)))
				continue;
			return error_set(e, -EINVAL, "config.berth.vlan: 1 to 4094 is wanted");
		}
		while (i < ARRAY_SIZE(features) && !text_equal(features[i].name, key))
			i++;
		if (i == ARRAY_SIZE(features))
			return error_set(e, -EINVAL, "config.%.64s: there is no such key", key);
		if (!text_equal(value, "true") && !text_equal(value, "false"))
			return error_set(e, -EINVAL, "config.%s: true or false is wanted", key);
	}
	return 0;
}

/* Description and config of the body; the caller owns *ret. */
static int read_project(const char *name, const json_t *body, json_t **ret, struct error *e)
{
	const char *description = "";
	json_t *config = NULL;
	int r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0 && config)
		r = check_config(config, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s,s:s,s:o}", "name", name, "description", description, "config",
		config ? json_copy(config) : json_object());
	return 0;
}

static void tell(struct service *service, const char *action, const char *name)
{
	cleanup(free) char *url = url_for("/1.0/projects", name, NULL);
	events_lifecycle(service, action, name, url, NULL);
}

static int create_project(struct service *service, struct request *request, struct error *e)
{
	const char *name;
	int r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0)
		r = name_check("name", name, e);
	if (r < 0)
		return r;
	if (project_exists(service, name))
		return error_set(e, -EEXIST, "project \"%s\" exists already", name);
	cleanup(json_decref) json_t *project = NULL;
	r = read_project(name, request_json(request), &project, e);
	if (r < 0)
		return r;
	json_t *config = json_object_get(project, "config");
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (!json_object_get(config, features[i].name))
			json_set_text(
				config, features[i].name, features[i].is_on ? "true" : "false");

	/* A project with profiles of its own needs a default one. */
	r = store_begin(service->store, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *profile = json_pack("{s:s,s:{},s:{}}", "description",
		"Default berth profile for the project", "config", "devices");
	r = store_put(service->store, "profile", name, "default", profile, e);
	if (r == 0)
		r = project_put(service, project, e);
	if (r < 0) {
		store_rollback(service->store);
		return r;
	}
	r = store_commit(service->store, e);
	if (r < 0)
		return r;
	tell(service, "project-created", name);
	cleanup(free) char *url = url_for("/1.0/projects", name, NULL);
	return reply_created(request, "%s", url);
}

static int get_project(struct service *service, struct request *request, struct error *e)
{
	cleanup(json_decref) json_t *project = NULL;
	int r = project_get(service, request_param(request, "name"), &project, e);
	return r < 0 ? r : reply_object_seen(request, shown(service, project), project);
}

/* Features say where objects live, so they stay as they are once there are any. */
static int check_features(
	struct service *service, const json_t *old, const json_t *new, struct error *e)
{
	const char *name = json_text(old, "name");
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const char *key = features[i].name;
		const char *was = json_text(json_object_get(old, "config"), key);
		const char *is = json_text(json_object_get(new, "config"), key);
		if (text_equal(was ? was : "false", is ? is : "false"))
			continue;
		if (text_equal(name, PROJECT_DEFAULT))
			return error_set(e, -EINVAL,
				"config.%s: the default project's features can't be changed", key);
		cleanup(json_decref) json_t *used_by = used_by_list(service, "project", name, name);
		if (json_array_size(used_by) > 0)
			return error_set(e, -EINVAL,
				"config.%s: can't be changed while the project has objects", key);
	}
	return 0;
}

static int change_project(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	const char *name = request_param(request, "name");
	cleanup(json_decref) json_t *old = NULL;
	int r = project_get(service, name, &old, e);
	if (r == 0)
		r = request_if_match(request, old, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch ? json_patched(old, request_json(request))
						     : json_incref(request_json(request));
	cleanup(json_decref) json_t *project = NULL;
	r = read_project(name, body, &project, e);
	if (r == 0)
		r = check_features(service, old, project, e);
	if (r == 0)
		r = project_put(service, project, e);
	if (r < 0)
		return r;
	tell(service, "project-updated", name);
	return reply_sync(request, NULL);
}

static int put_project(struct service *service, struct request *request, struct error *e)
{
	return change_project(service, request, false, e);
}

static int patch_project(struct service *service, struct request *request, struct error *e)
{
	return change_project(service, request, true, e);
}

static int check_empty(struct service *service, const char *name, const char *verb, struct error *e)
{
	if (!project_exists(service, name))
		return error_set(e, -ENOENT, "project \"%.64s\" does not exist", name);
	if (text_equal(name, PROJECT_DEFAULT))
		return error_set(e, -EPERM, "the project \"default\" can't be %s", verb);
	cleanup(json_decref) json_t *used_by = used_by_list(service, "project", name, name);
	if (json_array_size(used_by) > 0)
		return error_set(e, -EINVAL, "Only empty projects can be %s", verb);
	return 0;
}

/* Profiles live in the store only, so they move, or go, with their project. */
static int list_profile(void *data, const char *project, const char *name, const json_t *object)
{
	(void)project;
	json_object_set_new(data, name, json_copy(json_mutable(object)));
	return 0;
}

static int move_profiles(
	struct service *service, const char *name, const char *new_name, struct error *e)
{
	cleanup(json_decref) json_t *profiles = json_object();
	int r = store_each(service->store, "profile", name, list_profile, profiles, e);
	const char *profile_name;
	json_t *profile;
	json_object_foreach(profiles, profile_name, profile)
	{
		if (r == 0 && new_name)
			r = store_put(
				service->store, "profile", new_name, profile_name, profile, e);
		if (r == 0)
			r = store_remove(service->store, "profile", name, profile_name, e);
	}
	return r;
}

static int replace_project(
	struct service *service, const char *name, json_t *project, struct error *e)
{
	const char *new_name = project ? json_text(project, "name") : NULL;
	int r = store_begin(service->store, e);
	if (r < 0)
		return r;
	r = move_profiles(service, name, new_name, e);
	if (r == 0 && project)
		r = project_put(service, project, e);
	if (r == 0)
		r = project_remove(service, name, e);
	if (r < 0) {
		store_rollback(service->store);
		return r;
	}
	return store_commit(service->store, e);
}

static int rename_project(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "name");
	const char *new_name;
	int r = json_require_text(request_json(request), "", "name", &new_name, e);
	if (r == 0)
		r = name_check("name", new_name, e);
	if (r == 0)
		r = check_empty(service, name, "renamed", e);
	if (r < 0)
		return r;
	if (project_exists(service, new_name))
		return error_set(e, -EEXIST, "project \"%s\" exists already", new_name);
	cleanup(json_decref) json_t *project = NULL;
	r = project_get(service, name, &project, e);
	if (r < 0)
		return r;
	json_set_text(project, "name", new_name);
	r = replace_project(service, name, project, e);
	if (r < 0)
		return r;
	tell(service, "project-renamed", new_name);
	struct operation *operation = operation_new(
		service, &(struct operation_options){ .description = "Renaming project" });
	operation_done(operation, NULL);
	return reply_operation(request, operation);
}

static int delete_project(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "name");
	int r = check_empty(service, name, "removed", e);
	if (r == 0)
		r = replace_project(service, name, NULL, e);
	if (r < 0)
		return r;
	tell(service, "project-deleted", name);
	return reply_sync(request, NULL);
}

/* {"Limit": -1, "Usage": n}: Go's names, as LXD's clients read them. */
static json_t *usage(size_t count)
{
	return json_pack("{s:i,s:I}", "Limit", -1, "Usage", (json_int_t)count);
}

static size_t count_urls(const json_t *urls, const char *start)
{
	size_t count = 0, i;
	const json_t *url;
	json_array_foreach(json_mutable(urls), i, url) count +=
		text_starts(json_string_value(url), start);
	return count;
}

static int get_state(struct service *service, struct request *request, struct error *e)
{
	const char *name = request_param(request, "name");
	if (!project_exists(service, name))
		return error_set(e, -ENOENT, "project \"%.64s\" does not exist", name);
	cleanup(json_decref) json_t *urls = used_by_list(service, "project", name, name);
	json_t *resources = json_pack("{s:o,s:o,s:o,s:o}", "instances",
		usage(count_urls(urls, "/1.0/instances/")), "networks",
		usage(count_urls(urls, "/1.0/networks/")), "images",
		usage(count_urls(urls, "/1.0/images/")), "volumes",
		usage(count_urls(urls, "/1.0/storage-pools/")));
	return reply_sync(request, json_pack("{s:o}", "resources", resources));
}

const struct route projects_routes[] = {
	{ "GET", "/1.0/projects", REQUEST_NONE, list_projects, ROUTE_NO_PROJECT },
	{ "POST", "/1.0/projects", REQUEST_JSON, create_project, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/projects/{name}", REQUEST_NONE, get_project, ROUTE_NO_PROJECT },
	{ "PUT", "/1.0/projects/{name}", REQUEST_JSON, put_project, ROUTE_NO_PROJECT },
	{ "PATCH", "/1.0/projects/{name}", REQUEST_JSON, patch_project, ROUTE_NO_PROJECT },
	{ "POST", "/1.0/projects/{name}", REQUEST_JSON, rename_project, ROUTE_NO_PROJECT },
	{ "DELETE", "/1.0/projects/{name}", REQUEST_NONE, delete_project, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/projects/{name}/state", REQUEST_NONE, get_state, ROUTE_NO_PROJECT },
	{},
};
