/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profiles.h - sets of configuration that instances share.
 */
#pragma once

#include "daemon/service.h"

/* What the default profile of a new daemon names. */
#define DEFAULT_POOL    "default"
#define DEFAULT_NETWORK "default"

/* Makes the default profile at first start: a root disk and a network card. */
int profiles_start(struct service *service, struct error *e) must_use;
void profiles_stop(struct service *service);

/*
 * {name, description, config, devices} as `project` sees it (its own, or the default project's, by
 * features.profiles). The caller owns *ret. -ENOENT.
 */
int profile_get(struct service *service, const char *project, const char *name, json_t **ret,
	struct error *e) must_use;

/*
 * Asked before a profile of `project` is stored: -EINVAL and the path of the field that is wrong
 * ("config.limits.cpu: ..."). A module adds its call at start.
 */
typedef int profile_check_call(struct service *service, const char *project, const json_t *config,
	const json_t *devices, struct error *e);
void profiles_add_check(struct service *service, profile_check_call *call);
/* Runs all of them. */
int profile_check(struct service *service, const char *project, const json_t *config,
	const json_t *devices, struct error *e) must_use;
