/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resources.h - linux.resources of config.json, for a cgroup of v1 or v2.
 */
#pragma once

#include <jansson.h>

#include "host/cgroup.h"

/* CGROUP_BIT() of what the resources need; always those that tell what a container uses. */
uint32_t oci_resources_need(const json_t *resources);

/* `is_new`: device rules are set too, with none given as an empty list. */
int oci_resources_set(
	struct cgroup *group, const json_t *resources, bool is_new, struct error *e) must_use;
