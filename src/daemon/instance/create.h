/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create.h - makes an instance from what POST /1.0/instances asks for.
 */
#pragma once

#include "daemon/instance/instances.h"

typedef void create_done(void *data, struct instance *instance, int code, const struct error *e);

/*
 * Checks all that can be refused, then makes the volume; `done` is told the instance, or NULL and why not.
 * *ret is there meanwhile, half made and claimed. `body` is the request's body, borrowed.
 */
int instance_create(struct service *service, const char *project, const json_t *body,
	create_done *done, void *data, struct instance **ret, struct error *e) must_use;

/* The instance that `body` wants to copy, itself or a snapshot of it; NULL if it names none that is there. */
struct instance *instance_original(
	struct service *service, const char *project, const json_t *body);

struct creation;

/* What an import adds to a request, of which its source says nothing; all borrowed. */
struct create_more {
	json_t *layers;    /* names; NULL: none */
	json_t *templates; /* NULL: none */
	/*
	 * Called with the `data` of `done` when the volume is there and the instance still half made, so that a
	 * daemon that is killed now takes it away again. It ends with creation_filled().
	 */
	void (*fill)(void *data, struct instance *instance, struct creation *creation);
};

int instance_create_with(struct service *service, const char *project, const json_t *body,
	const struct create_more *more, create_done *done, void *data, struct instance **ret,
	struct error *e) must_use;
void creation_filled(struct creation *creation, int code, const struct error *e);

/*
 * The instance as it would be made, half made, without a volume or a record, for a plan; the caller frees it
 * with instance_free().
 */
int instance_imagine(struct service *service, const char *project, const json_t *body,
	struct instance **ret, struct error *e) must_use;
