/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create.h - makes an instance from what POST /1.0/instances asks for.
 */
#pragma once

#include "daemon/instances.h"

typedef void create_done(void *data, struct instance *instance, int code, const struct error *e);

/*
 * Checks all that can be refused, then makes the volume; `done` is told the instance, or NULL and why not.
 * *ret is there meanwhile, half made and claimed. `body` is the request's body, borrowed.
 */
int instance_create(struct service *service, const char *project, const json_t *body,
	create_done *done, void *data, struct instance **ret, struct error *e) must_use;

/* The same on these layers (array of names, borrowed), of which the source says nothing. */
int instance_create_on(struct service *service, const char *project, const json_t *body,
	json_t *layers, create_done *done, void *data, struct instance **ret,
	struct error *e) must_use;

/*
 * The instance as it would be made, half made, without a volume or a record, for a plan; the caller frees it
 * with instance_free().
 */
int instance_imagine(struct service *service, const char *project, const json_t *body,
	struct instance **ret, struct error *e) must_use;
