/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.h - makes an image of bytes from outside: jobs, one after the other, then one record.
 */
#pragma once

#include <jansson.h>

#include "daemon/image/images.h"

struct image_import;

struct image_import_options {
	const char *project; /* whose images these are (project_of()) */
	json_t *wishes; /* taken over: {"properties", "public", "aliases", "filename", "expires_at", "profiles"} */
	bool is_disk;   /* `rootfs` was sent as a disk, whatever it looks like */
	bool is_shared; /* an image that is there already is as good as a new one */
	void (*progress)(void *data, json_t *progress); /* may be NULL */
	images_done *done;                              /* result {"fingerprint", "size"} */
	void *data;
};

/*
 * An LXD image: `image` is unified, or the metadata of `rootfs` (-1: none). The descriptors (O_TMPFILE files on the
 * daemon's file system) are duplicated. `fingerprint` is what the client announced, or NULL.
 */
int image_import_file(struct images *images, int image, int rootfs, const char *fingerprint,
	const struct image_import_options *options, struct image_import **ret,
	struct error *e) must_use;

/* A tar of an OCI layout; `name` of the image in it or NULL. */
int image_import_oci_archive(struct images *images, int archive, const char *name,
	const struct image_import_options *options, struct image_import **ret,
	struct error *e) must_use;

/* From a registry: `source` "docker://host/name:tag"; `is_plain`: without TLS. */
int image_import_registry(struct images *images, const char *source, bool is_plain,
	const struct image_import_options *options, struct image_import **ret,
	struct error *e) must_use;

/* Of an instance: `pack` is the task "pack" without "task" (taken over). */
int image_import_pack(struct images *images, json_t *pack,
	const struct image_import_options *options, struct image_import **ret,
	struct error *e) must_use;

/*
 * A unikernel of an image that is here: `record` with the program that `entrypoint` begins with rewritten; NULL: the
 * image's own. What cannot run is refused with a sentence.
 */
int image_import_unikernel(struct images *images, const json_t *record, const char *entrypoint,
	const struct image_import_options *options, struct image_import **ret,
	struct error *e) must_use;

/* `done` gets -ECANCELED. */
void image_import_cancel(struct image_import *import);
