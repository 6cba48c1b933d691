/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projects.c - projects, kept in memory: each request asks for one.
 */
#include "daemon/projects.h"

#include <errno.h>

#include "base/text.h"
#include "model/json.h"

struct projects {
	json_t *all; /* by name */
};

static int load(void *data, const char *project, const char *name, const json_t *object)
{
	(void)project;
	json_object_set_new(data, name, json_copy(json_mutable(object)));
	return 0;
}

int projects_start(struct service *service, struct error *e)
{
	service->projects = alloc(struct projects);
	service->projects->all = json_object();
	int r = store_each(service->store, "project", "", load, service->projects->all, e);
	if (r < 0 || project_exists(service, PROJECT_DEFAULT))
		return r;
	cleanup(json_decref) json_t *project = json_pack("{s:s,s:s,s:{s:s,s:s,s:s,s:s,s:s,s:s}}",
		"name", PROJECT_DEFAULT, "description", "Default berth project", "config",
		"features.images", "true", "features.networks", "true", "features.networks.zones",
		"true", "features.profiles", "true", "features.storage.buckets", "true",
		"features.storage.volumes", "true");
	return project_put(service, project, e);
}

void projects_stop(struct service *service)
{
	if (!service->projects)
		return;
	json_decref(service->projects->all);
	free(TAKE_PTR(service->projects));
}

int project_get(struct service *service, const char *name, json_t **ret, struct error *e)
{
	json_t *project = json_object_get(service->projects->all, name);
	if (!project)
		return error_set(e, -ENOENT, "project \"%.64s\" does not exist", name);
	*ret = json_deep_copy(project);
	return 0;
}

bool project_exists(struct service *service, const char *name)
{
	return json_object_get(service->projects->all, name) != NULL;
}

const char *project_of(struct service *service, const char *project, const char *feature)
{
	if (text_equal(project, PROJECT_DEFAULT))
		return PROJECT_DEFAULT;
	const json_t *config =
		json_object_get(json_object_get(service->projects->all, project), "config");
	cleanup(free) char *key = alloc_printf("features.%s", feature);
	return text_equal(json_text(config, key), "true") ? project : PROJECT_DEFAULT;
}

int project_put(struct service *service, const json_t *project, struct error *e)
{
	const char *name = json_text(project, "name");
	int r = store_put(service->store, "project", "", name, project, e);
	if (r == 0)
		json_object_set_new(
			service->projects->all, name, json_deep_copy(json_mutable(project)));
	return r;
}

int project_remove(struct service *service, const char *name, struct error *e)
{
	int r = store_remove(service->store, "project", "", name, e);
	if (r == 0)
		json_object_del(service->projects->all, name);
	return r;
}

const json_t *projects_all(const struct service *service)
{
	return service->projects->all;
}
