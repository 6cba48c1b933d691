/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deferred.c - late answers.
 */
#include "daemon/deferred.h"

static void gone(void *data)
{
	struct deferred *deferred = data;
	deferred->request = NULL;
}

static void deferred_free(struct deferred *deferred)
{
	free(deferred->name);
	json_decref(deferred->context);
	free(deferred);
}

struct deferred *deferred_new(struct service *service, struct request *request, const char *name)
{
	struct deferred *deferred = alloc(struct deferred);
	deferred->service = service;
	deferred->request = request;
	deferred->name = alloc_text(name);
	return deferred;
}

int deferred_started(struct deferred *deferred, int r)
{
	if (r < 0)
		deferred_free(deferred);
	else
		request_defer(deferred->request, gone, deferred);
	return r;
}

void deferred_created(struct deferred *deferred, int code, const struct error *e, const char *url)
{
	if (deferred->request && code < 0)
		reply_error(deferred->request, code, e);
	else if (deferred->request)
		(void)!reply_created(deferred->request, "%s", url);
	deferred_free(deferred);
}

void deferred_sync(struct deferred *deferred, int code, const struct error *e)
{
	if (deferred->request && code < 0)
		reply_error(deferred->request, code, e);
	else if (deferred->request)
		(void)!reply_sync(deferred->request, NULL);
	deferred_free(deferred);
}
