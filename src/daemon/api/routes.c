/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes.c - the list of collections.
 */
#include "daemon/api/routes.h"

#include "daemon/api/collections.h"

const struct route *const routes[] = {
	server_routes,
	agent_routes,
	backups_routes,
	certificates_routes,
	console_routes,
	events_routes,
	exec_routes,
	files_routes,
	forwards_routes,
	images_routes,
	instances_routes,
	logs_routes,
	metal_routes,
	metrics_routes,
	networks_routes,
	operations_routes,
	profiles_routes,
	projects_routes,
	rebuild_routes,
	resources_routes,
	servers_routes,
	snapshots_routes,
	state_routes,
	storage_routes,
	volume_backups_routes,
	volume_snapshots_routes,
	volumes_routes,
	warnings_routes,
	NULL,
};
