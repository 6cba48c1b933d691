/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images.h - the images of this daemon: found by name, kept as layers on disk.
 *
 * An image is a record in the store and layers under DIR/images/layers/NAME, read-only directories owned by
 * ids 0..65535 that images and volumes share by digest. A layer lives as long as an image or a volume names
 * it; nobody counts, the names are looked through.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

struct service;
struct images;

int images_open(struct service *service, struct images **ret, struct error *e) must_use;
void images_close(struct images *images);
DEFINE_CLEANUP(struct images *, images_close);

/*
 * The image of an alias, a fingerprint or the beginning of one (at least 12 digits), borrowed until the next
 * turn of the loop: the object of GET /1.0/images/{fingerprint} and beside it
 *   "layers": names for struct volume_options, top first,
 *   "config": what an instance made of it gets as defaults ("oci.entrypoint", "environment.PATH", ...),
 *   "disk", "disk_bytes": of a machine's, what images_disk_path() names,
 * -ENOENT with a sentence if there is none.
 */
int images_find(struct images *images, const char *project, const char *name, json_t **ret,
	struct error *e) must_use;

/*
 * Called once with {"fingerprint", "size"} in `result`, or with why it failed.
 */
typedef void images_done(void *data, int code, json_t *result, const struct error *e);

/* Notes that an instance was made from it: "last_used_at". */
void images_touch(struct images *images, const char *project, const char *fingerprint);

/* The directory of a layer; the caller owns it. */
/* The path of the disk that an image of a machine is, or NULL; the caller owns it. */
char *images_disk_path(const struct images *images, const json_t *image) must_use;
char *images_layer_path(const struct images *images, const char *layer) must_use;

/* Asks for a look at which layers nobody names any more, soon. */
void images_collect(struct images *images);
