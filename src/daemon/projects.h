/* SPDX-License-Identifier: Apache-2.0 */
/*
 * projects.h - which project an object belongs to.
 */
#pragma once

#include "daemon/service.h"

#define PROJECT_DEFAULT "default"

/* Makes the default project. */
int projects_start(struct service *service, struct error *e) must_use;
void projects_stop(struct service *service);

/* The caller owns *ret: {name, description, config}. -ENOENT. */
int project_get(struct service *service, const char *name, json_t **ret, struct error *e) must_use;
bool project_exists(struct service *service, const char *name);

/*
 * Where a project's objects of `feature` ("images", "profiles", "storage.volumes", "storage.buckets",
 * "networks", "networks.zones") live: in the project itself, or in the default one. Borrowed from
 * `project`, or a constant.
 */
const char *project_of(struct service *service, const char *project, const char *feature);

/* Stores a new or changed project, or takes one away; for api/projects.c. */
int project_put(struct service *service, const json_t *project, struct error *e) must_use;
int project_remove(struct service *service, const char *name, struct error *e) must_use;
/* All, by name: a borrowed object of objects. */
const json_t *projects_all(const struct service *service);
