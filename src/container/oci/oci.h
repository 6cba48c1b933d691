/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci.h - an OCI bundle's config.json (runtime-spec 1.x) as struct container.
 */
#pragma once

#include "container/container.h"

/* What the configuration asks for beside the container itself. All borrowed from the document. */
struct oci_config {
	struct container *container;
	const char *version;
	const char *cgroups_path; /* NULL: none named */
	const json_t *resources;
	const json_t *hooks;
	const json_t *annotations;
	struct sock_filter *filter; /* owned: what container->process.filter points to */
	uint32_t *groups;           /* owned: the supplementary groups */
	char **texts;               /* owned: paths that were put together */
	size_t text_count;
	const char *notice; /* what was left out although asked for; NULL: nothing */
};

/* Reads BUNDLE/config.json. -EINVAL names the member. */
int oci_read(const char *bundle, struct oci_config *ret, struct error *e) must_use;

/* Reads a `process` object over what `process` has: for exec. Arrays are new. */
int oci_read_process(const json_t *object, struct container_process *process, uint32_t **ret_groups,
	struct error *e) must_use;

void oci_done(struct oci_config *config);
static inline void oci_done_cleanup(struct oci_config *local)
{
	oci_done(local);
}
