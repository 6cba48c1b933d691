/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collections.h - the route tables of the API, one a collection; routes.c lists them.
 */
#pragma once

struct route;

extern const struct route agent_routes[];            /* api_agent.c */
extern const struct route server_routes[];           /* api_server.c */
extern const struct route certificates_routes[];     /* api_certificates.c */
extern const struct route events_routes[];           /* api_events.c */
extern const struct route images_routes[];           /* api_images.c */
extern const struct route forwards_routes[];         /* api_forwards.c */
extern const struct route metal_routes[];            /* api_metal.c */
extern const struct route metrics_routes[];          /* api_metrics.c */
extern const struct route networks_routes[];         /* api_networks.c */
extern const struct route operations_routes[];       /* api_operations.c */
extern const struct route profiles_routes[];         /* api_profiles.c */
extern const struct route projects_routes[];         /* api_projects.c */
extern const struct route rebuild_routes[];          /* api_rebuild.c */
extern const struct route resources_routes[];        /* api_resources.c */
extern const struct route storage_routes[];          /* api_storage.c */
extern const struct route volume_backups_routes[];   /* api_volume_backups.c */
extern const struct route volume_snapshots_routes[]; /* api_volume_snapshots.c */
extern const struct route volumes_routes[];          /* api_volumes.c */
extern const struct route warnings_routes[];         /* api_warnings.c */
extern const struct route instances_routes[];        /* api_instances.c */
extern const struct route state_routes[];            /* api_state.c */
extern const struct route servers_routes[];          /* api_servers.c */
extern const struct route snapshots_routes[];        /* api_snapshots.c */
extern const struct route exec_routes[];             /* api_exec.c */
extern const struct route console_routes[];          /* api_console.c */
extern const struct route files_routes[];            /* api_files.c */
extern const struct route backups_routes[];          /* api_backups.c */
extern const struct route logs_routes[];             /* api_logs.c */

struct service;
struct request;
struct error;

/* POST /1.0/instances with an archive as its body; api_backups.c. */
int request_import(struct service *service, struct request *request, struct error *e);
