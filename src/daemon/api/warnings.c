/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warnings.c - /1.0/warnings: listed, acknowledged, deleted.
 */
#include <errno.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "model/json.h"

struct listing {
	const struct request *request;
	json_t *warnings;
};

static int add_to_listing(void *data, const char *project, const char *name, const json_t *object)
{
	(void)project, (void)name;
	struct listing *listing = data;
	const char *of = json_text(object, "project");
	const char *wanted = request_query(listing->request, "project");
	if (!wanted || !*of || text_equal(of, wanted))
		json_array_append(listing->warnings, json_mutable(object));
	return 0;
}

static int list_warnings(struct service *service, struct request *request, struct error *e)
{
	struct listing listing = { .request = request, .warnings = json_array() };
	int r = store_each(service->store, "warning", "", add_to_listing, &listing, e);
	if (r < 0) {
		json_decref(listing.warnings);
		return r;
	}
	return reply_collection(request, listing.warnings, "/1.0/warnings", "uuid", e);
}

static int get_warning(struct service *service, struct request *request, struct error *e)
{
	json_t *warning;
	int r = store_get(
		service->store, "warning", "", request_param(request, "uuid"), &warning, e);
	return r < 0 ? r : reply_object(request, warning);
}

static int put_warning(struct service *service, struct request *request, struct error *e)
{
	const char *uuid = request_param(request, "uuid");
	cleanup(json_decref) json_t *warning = NULL;
	int r = store_get(service->store, "warning", "", uuid, &warning, e);
	if (r == 0)
		r = request_if_match(request, warning, e);
	const char *status = NULL;
	if (r == 0)
		r = json_require_text(request_json(request), "", "status", &status, e);
	if (r < 0)
		return r;
	bool is_acknowledged = text_equal(status, "acknowledged");
	if (!is_acknowledged && !text_equal(status, "new"))
		return error_set(e, -EINVAL, "status: new or acknowledged is wanted");
	json_set_text(warning, "status", status);
	r = store_put(service->store, "warning", "", uuid, warning, e);
	if (r < 0)
		return r;
	events_lifecycle_f(service, is_acknowledged ? "warning-acknowledged" : "warning-reset",
		NULL, NULL, "/1.0/warnings/%s", uuid);
	return reply_sync(request, NULL);
}

static int delete_warning(struct service *service, struct request *request, struct error *e)
{
	const char *uuid = request_param(request, "uuid");
	int r = store_remove(service->store, "warning", "", uuid, e);
	if (r < 0)
		return r;
	events_lifecycle_f(service, "warning-deleted", NULL, NULL, "/1.0/warnings/%s", uuid);
	return reply_sync(request, NULL);
}

const struct route warnings_routes[] = {
	{ "GET", "/1.0/warnings", REQUEST_NONE, list_warnings, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/warnings/{uuid}", REQUEST_NONE, get_warning, ROUTE_NO_PROJECT },
	{ "PUT", "/1.0/warnings/{uuid}", REQUEST_JSON, put_warning, ROUTE_NO_PROJECT },
	{ "PATCH", "/1.0/warnings/{uuid}", REQUEST_JSON, put_warning, ROUTE_NO_PROJECT },
	{ "DELETE", "/1.0/warnings/{uuid}", REQUEST_NONE, delete_warning, ROUTE_NO_PROJECT },
	{},
};
