/* SPDX-License-Identifier: Apache-2.0 */
/*
 * templates.h - files that are written into an instance before it starts: its image's templates and the seed of
 * cloud-init.
 */
#pragma once

#include "daemon/instance/instances.h"

/*
 * What is due at this start, as the container's plan has it: templates for `volatile.apply_template` (create, copy,
 * rename) and for every start; the caller owns *ret, NULL if there is nothing.
 */
int templates_plan(
	struct instance *instance, const struct spec *spec, json_t **ret, struct error *e) must_use;
