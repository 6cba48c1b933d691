/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backups.h - an instance as one archive, and back.
 *
 * The archive is a tar as LXD and Incus make and read it (backup_index.h), with the snapshots if they are wanted.
 * While it is made of a stopped instance that can't be changed; while of a running one, its snapshots can't.
 */
#pragma once

#include "daemon/instance/instances.h"

typedef void backup_done(void *data, int code, const struct error *e);

struct backup_options {
	const char *name;        /* NULL or "": the next "backupN" */
	const char *expires_at;  /* NULL: never */
	const char *compression; /* NULL or "": gzip */
	bool instance_only;      /* without its snapshots */
};

/* *ret is the backup's name, which the caller owns. */
int backup_create(struct instance *instance, const struct backup_options *options,
	backup_done *done, void *data, char **ret, struct error *e) must_use;

/* In instance->backups; -ENOENT with a sentence. */
int backup_get(
	const struct instance *instance, const char *name, json_t **ret, struct error *e) must_use;
int backup_delete(struct instance *instance, const char *name, struct error *e) must_use;
int backup_rename(struct instance *instance, const char *name, const char *new_name,
	struct error *e) must_use;
/* The archive, readable. */
int backup_open(
	const struct instance *instance, const char *name, int *ret, struct error *e) must_use;

/*
 * Makes an instance of the archive in `fd`, which is borrowed for the time of the call. `name` and `pool` NULL
 * or "": as they were. The archive is read once for its index, once for each snapshot and once for the root.
 */
int backup_import(struct service *service, const char *project, int fd, const char *name,
	const char *pool, backup_done *done, void *data, struct error *e) must_use;

/* Removes those whose time has come. */
void backups_expire(struct service *service);
