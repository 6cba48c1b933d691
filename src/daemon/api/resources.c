/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resources.c - /1.0/resources, what the host has; /1.0/berth/doctor, what it can do.
 */
#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "host/doctor.h"
#include "host/facts.h"

static int get_resources(struct service *service, struct request *request, struct error *e)
{
	(void)service;
	json_t *resources;
	int r = facts_resources(&resources, e);
	return r < 0 ? r : reply_object(request, resources);
}

static int get_doctor(struct service *service, struct request *request, struct error *e)
{
	(void)e;
	return reply_sync(request, doctor_json(service->dir_path));
}

const struct route resources_routes[] = {
	{ "GET", "/1.0/resources", REQUEST_NONE, get_resources, ROUTE_NO_PROJECT },
	{ "GET", "/1.0/berth/doctor", REQUEST_NONE, get_doctor, ROUTE_NO_PROJECT },
	{},
};
