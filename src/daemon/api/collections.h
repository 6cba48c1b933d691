/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collections.h - the route tables of the API, one a collection; routes.c lists them.
 */
#pragma once

struct route;

extern const struct route agent_routes[];            /* agent.c */
extern const struct route server_routes[];           /* server.c */
extern const struct route certificates_routes[];     /* certificates.c */
extern const struct route events_routes[];           /* events.c */
extern const struct route images_routes[];           /* images.c */
extern const struct route forwards_routes[];         /* forwards.c */
extern const struct route metal_routes[];            /* metal.c */
extern const struct route metrics_routes[];          /* metrics.c */
extern const struct route networks_routes[];         /* networks.c */
extern const struct route operations_routes[];       /* operations.c */
extern const struct route profiles_routes[];         /* profiles.c */
extern const struct route projects_routes[];         /* projects.c */
extern const struct route rebuild_routes[];          /* rebuild.c */
extern const struct route resources_routes[];        /* resources.c */
extern const struct route storage_routes[];          /* storage.c */
extern const struct route volume_backups_routes[];   /* volume_backups.c */
extern const struct route volume_snapshots_routes[]; /* volume_snapshots.c */
extern const struct route volumes_routes[];          /* volumes.c */
extern const struct route warnings_routes[];         /* warnings.c */
extern const struct route instances_routes[];        /* instances.c */
extern const struct route state_routes[];            /* state.c */
extern const struct route servers_routes[];          /* servers.c */
extern const struct route snapshots_routes[];        /* snapshots.c */
extern const struct route exec_routes[];             /* exec.c */
extern const struct route console_routes[];          /* console.c */
extern const struct route files_routes[];            /* files.c */
extern const struct route backups_routes[];          /* backups.c */
extern const struct route logs_routes[];             /* logs.c */

struct service;
struct request;
struct error;

/* POST /1.0/instances with an archive as its body; backups.c. */
int request_import(struct service *service, struct request *request, struct error *e);
