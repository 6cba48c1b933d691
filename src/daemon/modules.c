/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules.c - the list of modules, lowest first: a module may use those above it.
 */
#include "daemon/modules.h"

#include "daemon/config.h"
#include "daemon/engine.h"
#include "daemon/events.h"
#include "daemon/fleet.h"
#include "daemon/guest/guest.h"
#include "daemon/image/images.h"
#include "daemon/instance/container_change.h"
#include "daemon/instance/instances.h"
#include "daemon/instance/turn.h"
#include "daemon/job.h"
#include "daemon/metrics.h"
#include "daemon/network/network.h"
#include "daemon/operation.h"
#include "daemon/profiles.h"
#include "daemon/projects.h"
#include "daemon/server/instance.h"
#include "daemon/server/netboot.h"
#include "daemon/server/netboot_serve.h"
#include "daemon/spare.h"
#include "daemon/storage/storage.h"
#include "daemon/trust.h"

static int start_events(struct service *service, struct error *e)
{
	(void)e;
	service->events = events_new(service);
	return 0;
}

static void stop_events(struct service *service)
{
	events_free(TAKE_PTR(service->events));
}

static int start_operations(struct service *service, struct error *e)
{
	(void)e;
	service->operations = operations_new(service);
	return 0;
}

static void stop_operations(struct service *service)
{
	operations_free(TAKE_PTR(service->operations));
}

static int start_metrics(struct service *service, struct error *e)
{
	(void)e;
	service->metrics = metrics_new();
	return 0;
}

static void stop_metrics(struct service *service)
{
	metrics_free(TAKE_PTR(service->metrics));
}

static int start_storage(struct service *service, struct error *e)
{
	return storage_open(service, getenv("BERTH_STORAGE_DRIVER"), &service->storage, e);
}

static void stop_storage(struct service *service)
{
	storage_close(TAKE_PTR(service->storage));
}

static int start_images(struct service *service, struct error *e)
{
	return images_open(service, &service->images, e);
}

static void stop_images(struct service *service)
{
	images_close(TAKE_PTR(service->images));
}

/* stop() must take a module whose start() failed or was never called. */
static const struct {
	const char *name;
	int (*start)(struct service *service, struct error *e);
	void (*stop)(struct service *service);
} modules[] = {
	{ "events", start_events, stop_events },
	{ "operations", start_operations, stop_operations },
	{ "metrics", start_metrics, stop_metrics },
	{ "config", config_start, config_stop },
	{ "engine", engine_start, engine_stop },
	{ "trust", trust_start, trust_stop },
	{ "projects", projects_start, projects_stop },
	{ "profiles", profiles_start, profiles_stop },
	{ "networks", networks_start, networks_stop },
	{ "jobs", jobs_open, jobs_close },
	{ "storage", start_storage, stop_storage },
	{ "images", start_images, stop_images },
	{ "netboot", netboot_start, netboot_stop },
	{ "runners", spares_start, spares_stop },
	{ "instances", instances_start, instances_stop },
	{ "turns", turns_start, turns_stop },
	{ "guest API", guest_start, guest_stop },
	{ "servers", netboot_serve_start, netboot_serve_stop },
	{ "devices", container_watch_start, container_watch_stop },
	{ "fleet", fleet_start, fleet_stop },
	{ "instances on servers", server_instances_start, server_instances_stop },
};

void modules_stop(struct service *service)
{
	for (size_t i = ARRAY_SIZE(modules); i > 0; i--)
		modules[i - 1].stop(service);
}

int modules_start(struct service *service, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		int r = modules[i].start(service, e);
		if (r < 0) {
			modules_stop(service);
			return error_prefix(e, r, "start %s", modules[i].name);
		}
	}
	return 0;
}
