/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deferred.h - an answer that comes when a job is done, if the client still waits.
 */
#pragma once

#include "daemon/api.h"

struct deferred {
	struct service *service;
	struct request *request; /* NULL: the client is gone, or it was answered */
	char *name;              /* what it is about; for the handler */
	json_t *context;         /* for the handler; may be NULL */
};

struct deferred *deferred_new(
	struct service *service, struct request *request, const char *name) must_use;

/* What the handler returns: if `r` is negative nothing was started, and it is freed. */
int deferred_started(struct deferred *deferred, int r) must_use;

/* The end: 201 with the URL, 200 with nothing, or the error. Frees it. */
void deferred_created(struct deferred *deferred, int code, const struct error *e, const char *url);
void deferred_sync(struct deferred *deferred, int code, const struct error *e);
