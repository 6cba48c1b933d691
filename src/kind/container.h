/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.h - the kind `container`: processes of this host's kernel in namespaces of their own.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind kind_container;

/* `nics` and `resolver` of the document, as other kinds have them, too. */
json_t *container_nics(const struct kind_input *input);
void container_resolver(json_t *document, const struct kind_input *input);

/* `mounts` and `devices` of the document alone, for a change while it runs. */
json_t *container_mounts(const struct kind_input *input) must_use;
json_t *container_nodes(const struct kind_input *input) must_use;

/* The cgroup's limits alone, for a change while it runs. */
void container_limits(
	const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret);
