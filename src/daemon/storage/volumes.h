/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volumes.h - what is known of pools and volumes: the records behind storage.h, for its own files only.
 *
 * A volume's record: {"size": bytes, "layers": [...], "content": "block" (absent: files), "description", "config": {}, "created_at",
 * "snapshots": {NAME: {"created_at", "description", "expires_at", "size"}}, "backups": {NAME: {...}},
 * "state": "making" | "removing" (absent: it is whole), "next": {"layers", "is_whole"}: what takes the content's place
 * (replace.c)}. Records stand in the store before their volumes are
 * made and after they are removed: a killed daemon finds what was left half done.
 */
#pragma once

#include <jansson.h>

#include "daemon/service.h"
#include "daemon/storage/volume_ref.h"
#include "disk/pools.h"

struct storage_pool {
	struct storage_pool *next;
	char *name;
	json_t *record;    /* {"driver", "description", "config"} */
	struct pool *pool; /* NULL if it could not be opened */
	struct error why;  /* then */
};

struct storage {
	struct service *service;
	struct storage_pool *pools;
	json_t *volumes; /* records by "PROJECT/POOL/TYPE/NAME" */
};

/* -ENOENT with a sentence; -EIO if it could not be opened. */
/* In a volume's record: the name that it is about to get. */
#define RENAMING "renaming"
/* After a rename that came to nothing: gives the volume its old name again, that of `ref`. */
void storage_rename_mend(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, const char *name);

int pool_find(struct storage *storage, const char *name, struct storage_pool **ret,
	struct error *e) must_use;
char *pool_home(const struct storage *storage, const char *name) must_use;
int pool_record_put(struct storage *storage, struct storage_pool *pool, struct error *e) must_use;

/* "container", "virtual-machine", "custom". */
const char *volume_type_name(enum volume_type type);
int volume_type_read(const char *name, enum volume_type *ret, struct error *e) must_use;

/* Its name below the pool: "custom/default/data", "containers-snapshots/default/c1/s0". */
char *volume_place(const struct volume_ref *ref) must_use;
/* Where its snapshots are: "custom-snapshots/default/data". */
char *volume_snapshots_place(const struct volume_ref *ref) must_use;
/* Where its backups are, below DIR. */
char *volume_backups_place(const struct volume_ref *ref) must_use;
/* The URL in API answers. */
char *volume_url(const struct volume_ref *ref) must_use;

/* The record of the volume itself, borrowed; NULL if there is none. */
json_t *volume_record(const struct storage *storage, const struct volume_ref *ref);
/* Its record or its snapshot's; -ENOENT with a sentence. */
int volume_find(struct storage *storage, const struct volume_ref *ref, json_t **ret,
	struct error *e) must_use;
/* Stores the record, new (taken over) or changed. */
int volume_record_put(struct storage *storage, const struct volume_ref *ref, json_t *record,
	struct error *e) must_use;
/* As it stands in the store already. */
void volume_record_keep(struct storage *storage, const struct volume_ref *ref, json_t *record);
int volume_record_remove(
	struct storage *storage, const struct volume_ref *ref, struct error *e) must_use;

/* Reads all records of the store. */
int volumes_load(struct storage *storage, struct error *e) must_use;

/* Calls for each volume (not snapshots). */
typedef void volume_call(void *data, const struct volume_ref *ref, json_t *record);
void volumes_each(struct storage *storage, volume_call *call, void *data);

/*
 * Steps of a pool's driver, one after the other, here if they are quick and in jobs if not. `end` is called
 * in the same turn of the loop or later, `done` always later.
 */
struct volume_work;
typedef void volume_work_end(struct volume_work *work, int code);

struct volume_work {
	struct storage *storage;
	struct storage_pool *pool;
	char *pool_name, *project, *name, *snapshot; /* owned copies of the volume's name */
	enum volume_type type;
	enum volume_use use;
	json_t *steps; /* objects of the task "volume": {"operation", "volume", ...} */
	size_t next;
	volume_work_end *end;
	storage_done *done;
	void *data;
	int code;
	struct error why;
};

struct volume_work *volume_work_new(struct storage *storage, struct storage_pool *pool,
	const struct volume_ref *ref, volume_work_end *end, storage_done *done,
	void *data) must_use;
/* What the volume is made for: by its type, or what its record says. */
enum volume_use volume_use_of(const struct storage *storage, const struct volume_ref *ref);
struct volume_ref volume_work_ref(const struct volume_work *work);

/* Adds a step; `from` may be NULL. */
void volume_work_add(struct volume_work *work, const char *operation, const char *place,
	const char *from, uint64_t size_bytes);
/* Adds a step: the bytes of the file, from the beginning of a volume that was made of bytes. */
void volume_work_fill(
	struct volume_work *work, const char *file, const char *place, uint64_t size_bytes);
/* Frees work that was not started. */
void volume_work_drop(struct volume_work *work);
/* Takes the work over; it may have ended when this returns. */
void volume_work_start(struct volume_work *work);
/* Whether one of its steps needs a job. */
bool volume_work_is_slow(const struct volume_work *work);
