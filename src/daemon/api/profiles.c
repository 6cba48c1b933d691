/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profiles.c - /1.0/profiles. The model of a simple collection: read it to write another.
 *
 * What is stored is what the client said: {name, description, config, devices}. used_by is asked for when
 * it is shown.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/names.h"
#include "daemon/profiles.h"
#include "daemon/projects.h"
#include "http/uri.h"
#include "model/json.h"

/* The profile as the API shows it; takes `profile`. */
static json_t *shown(
	struct service *service, const char *project, const char *name, json_t *profile)
{
	json_object_set_new(profile, "name", json_string(name));
	json_object_set_new(profile, "project", json_string(project));
	json_object_set_new(profile, "used_by", used_by_list(service, "profile", project, name));
	return profile;
}

struct listing {
	struct service *service;
	json_t *profiles;
};

static int add_to_listing(void *data, const char *project, const char *name, const json_t *object)
{
	struct listing *listing = data;
	json_array_append_new(listing->profiles,
		shown(listing->service, project, name, json_copy(json_mutable(object))));
	return 0;
}

static int list_profiles(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_of(service, request_project(request), "profiles");
	struct listing listing = { .service = service, .profiles = json_array() };
	int r = store_each(service->store, "profile",
		request_all_projects(request) ? NULL : project, add_to_listing, &listing, e);
	if (r < 0) {
		json_decref(listing.profiles);
		return r;
	}
	return reply_collection(request, listing.profiles, "/1.0/profiles", "name", e);
}

/* What the body says, on top of `old`; the caller owns *ret. */
static int read_profile(struct service *service, const char *project, const json_t *body,
	const json_t *old, json_t **ret, struct error *e)
{
	const char *description = old ? json_text(old, "description") : "";
	json_t *config = old ? json_object_get(old, "config") : NULL;
	json_t *devices = old ? json_object_get(old, "devices") : NULL;
	int r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = json_read_object(body, "", "devices", &devices, e);
	const char *name;
	json_t *device;
	json_object_foreach(devices, name, device)
	{
		json_t *map = NULL;
		if (r == 0)
			r = json_read_text_map(devices, "devices", name, &map, e);
	}
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *profile = json_pack("{s:s,s:o,s:o}", "description",
		description, "config", config ? json_copy(config) : json_object(), "devices",
		devices ? json_copy(devices) : json_object());
	r = profile_check(service, project, json_object_get(profile, "config"),
		json_object_get(profile, "devices"), e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(profile);
	return 0;
}

static void tell(struct service *service, const char *action, const char *project, const char *name)
{
	cleanup(free) char *url = url_for("/1.0/profiles", name, NULL);
	events_lifecycle(service, action, project, url, NULL);
}

static int create_profile(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_of(service, request_project(request), "profiles");
	const char *name;
	int r = json_require_text(request_json(request), "", "name", &name, e);
	if (r == 0)
		r = name_check("name", name, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *profile = NULL;
	r = read_profile(service, project, request_json(request), NULL, &profile, e);
	if (r < 0)
		return r;
	r = store_add(service->store, "profile", project, name, profile, e);
	if (r < 0)
		return r;
	tell(service, "profile-created", project, name);
	cleanup(free) char *url = url_for("/1.0/profiles", name, request_project(request));
	return reply_created(request, "%s", url);
}

static int get_profile(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_of(service, request_project(request), "profiles");
	const char *name = request_param(request, "name");
	json_t *profile;
	int r = profile_get(service, project, name, &profile, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *seen = json_copy(profile);
	return reply_object_seen(request, shown(service, project, name, profile), seen);
}

static int change_profile(
	struct service *service, struct request *request, bool is_patch, struct error *e)
{
	const char *project = project_of(service, request_project(request), "profiles");
	const char *name = request_param(request, "name");
	cleanup(json_decref) json_t *old = NULL;
	int r = profile_get(service, project, name, &old, e);
	if (r == 0)
		r = request_if_match(request, old, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch ? json_patched(old, request_json(request))
						     : json_incref(request_json(request));
	cleanup(json_decref) json_t *profile = NULL;
	r = read_profile(service, project, body, NULL, &profile, e);
	if (r < 0)
		return r;
	r = store_put(service->store, "profile", project, name, profile, e);
	if (r < 0)
		return r;
	tell(service, "profile-updated", project, name);
	return reply_sync(request, NULL);
}

static int put_profile(struct service *service, struct request *request, struct error *e)
{
	return change_profile(service, request, false, e);
}

static int patch_profile(struct service *service, struct request *request, struct error *e)
{
	return change_profile(service, request, true, e);
}

/* The default one stays; one in use, too. */
static int check_movable(struct service *service, const char *project, const char *name,
	const char *verb, struct error *e)
{
	if (text_equal(name, "default"))
		return error_set(e, -EPERM, "the profile \"default\" can't be %s", verb);
	cleanup(json_decref) json_t *used_by = used_by_list(service, "profile", project, name);
	if (json_array_size(used_by) > 0)
		return error_set(e, -EINVAL, "Profile is currently in use");
	return 0;
}

static int rename_profile(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_of(service, request_project(request), "profiles");
	const char *name = request_param(request, "name");
	const char *new_name;
	int r = json_require_text(request_json(request), "", "name", &new_name, e);
	if (r == 0)
		r = name_check("name", new_name, e);
	if (r == 0)
		r = check_movable(service, project, name, "renamed", e);
	if (r == 0)
		r = store_rename(service->store, "profile", project, name, new_name, e);
	if (r < 0)
		return r;
	cleanup(free) char *url = url_for("/1.0/profiles", new_name, NULL);
	events_lifecycle(
		service, "profile-renamed", project, url, json_pack("{s:s}", "old_name", name));
	cleanup(free) char *location = url_for("/1.0/profiles", new_name, request_project(request));
	return reply_created(request, "%s", location);
}

static int delete_profile(struct service *service, struct request *request, struct error *e)
{
	const char *project = project_of(service, request_project(request), "profiles");
	const char *name = request_param(request, "name");
	int r = check_movable(service, project, name, "deleted", e);
	if (r == 0)
		r = store_remove(service->store, "profile", project, name, e);
	if (r < 0)
		return r;
	tell(service, "profile-deleted", project, name);
	return reply_sync(request, NULL);
}

const struct route profiles_routes[] = {
	{ "GET", "/1.0/profiles", REQUEST_NONE, list_profiles, 0 },
	{ "POST", "/1.0/profiles", REQUEST_JSON, create_profile, 0 },
	{ "GET", "/1.0/profiles/{name}", REQUEST_NONE, get_profile, 0 },
	{ "PUT", "/1.0/profiles/{name}", REQUEST_JSON, put_profile, 0 },
	{ "PATCH", "/1.0/profiles/{name}", REQUEST_JSON, patch_profile, 0 },
	{ "POST", "/1.0/profiles/{name}", REQUEST_JSON, rename_profile, 0 },
	{ "DELETE", "/1.0/profiles/{name}", REQUEST_NONE, delete_profile, 0 },
	{},
};
