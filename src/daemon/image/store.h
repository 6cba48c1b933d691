/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - records of images and aliases, and the files behind them; for images' own files only.
 *
 * A record is the object of GET /1.0/images/{fingerprint} and beside it "layers", "config" and "files" (one name
 * of a unified image, two of a split one, none of an OCI image). A record is written after everything it names is
 * in place ("disk": a raw one beside the files, or one of them), so an image is whole or not there; what no record names is swept.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"

struct images {
	struct service *service;
	json_t *records; /* by "PROJECT/FINGERPRINT" */
	json_t *aliases; /* {"target", "description", "type"} by "PROJECT/NAME" */
	int dir;         /* DIR/images */
	int layers;      /* DIR/images/layers */
	int files;       /* DIR/images/files */
	unsigned busy;   /* imports under way: their layers have no record yet */
	struct source *collect_timer;
	struct source *expiry_timer;
};

/* Borrowed; NULL if there is none. */
json_t *image_record(const struct images *images, const char *project, const char *fingerprint);
json_t *image_alias(const struct images *images, const char *project, const char *name);

/* Stores the record, new (taken over) or changed. */
int image_record_put(
	struct images *images, const char *project, json_t *record, struct error *e) must_use;
int image_alias_put(struct images *images, const char *project, const char *name, json_t *alias,
	struct error *e) must_use;
int image_alias_remove(
	struct images *images, const char *project, const char *name, struct error *e) must_use;

/* Takes the record, its aliases and its files away; layers go when nobody names them. */
int image_remove(struct images *images, const char *project, const char *fingerprint,
	struct error *e) must_use;

/* As the API shows it: with its aliases, without what is ours. New reference. */
json_t *image_shown(const struct images *images, const char *project, const json_t *record);

/* Calls for each record of the project, or of all if it is NULL. */
typedef void image_call(void *data, const char *project, json_t *record);
void images_each(const struct images *images, const char *project, image_call *call, void *data);
