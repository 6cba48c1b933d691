/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fetch.h - gets the image that a launch asks for from a registry, when it is not here yet.
 */
#pragma once

#include <jansson.h>

#include "daemon/image/images.h"

/*
 * `source` is the "source" of POST /1.0/instances: {"type": "image", "protocol": "oci", "server", "alias"}. The
 * image is kept as a cached one, or the one that is here already is found. All that can be refused is refused
 * before it returns; `done` comes later with {"fingerprint", "size"}; `progress` may be NULL.
 */
int images_fetch(struct service *service, const char *project, const json_t *source,
	void (*progress)(void *data, json_t *progress), images_done *done, void *data,
	struct error *e) must_use;
