/* SPDX-License-Identifier: Apache-2.0 */
/*
 * from_image.h - what an instance takes from the image that it is made of, or made anew of.
 */
#pragma once

#include "daemon/instance/instances.h"

struct image_parts {
	json_t *layers; /* borrowed until the next turn of the loop; NULL: none */
	char *disk;     /* path of a machine's first bytes, owned; NULL: none */
	uint64_t disk_bytes;
	const char *fingerprint; /* borrowed likewise */
};

/* The image that `source` of a request names, if the kind can be made of it. Borrowed. */
int image_of_source(struct service *service, const char *project, const json_t *source,
	const struct kind *kind, json_t **ret, struct error *e) must_use;

/*
 * Writes in an instance's object what comes of the image: its properties, templates, architecture, and of its
 * config what is not there yet.
 */
void image_apply(
	struct service *service, const json_t *image, json_t *object, struct image_parts *ret);

/* Takes out what an image brought, as far as nobody changed it since. */
void image_unapply(struct service *service, const char *project, json_t *object);

/* Takes over keys, with a prefix, that are not there yet. */
void image_config_default(json_t *config, const json_t *more, const char *prefix);
