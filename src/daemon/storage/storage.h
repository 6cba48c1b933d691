/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storage.h - the pools of this daemon and the volumes in them.
 *
 * A volume is found by its name (struct volume_ref). What takes longer than a millisecond runs in a
 * berth-job: every function with a `done` returns 0 and calls it later, never before it returned, or returns
 * a negative errno and never calls it. All that can be refused is refused before it returns.
 *
 * An instance's root is a volume with an upper layer over the image's read-only layers. Which layers a
 * volume stands on is kept with the volume: copies, snapshots and restores inherit it, and the layers live
 * as long as a volume names them.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"
#include "daemon/storage/volume_ref.h"

struct service;
struct storage;

struct volume_options {
	uint64_t size_bytes; /* 0: the pool's volume.size, or no limit */
	const json_t
		*layers;  /* array of layer names, top first, as image_layers() gives; NULL: none */
	bool is_block;    /* a custom volume of bytes; a machine's always is */
	const char *fill; /* path of a file with the bytes that it begins with; NULL: none */
};

/*
 * Loads pools and volumes from the store, mounts the pools, removes what a killed daemon left half done.
 * Makes the pool `default` if there is none: with `driver` ("btrfs", "dir", "loop") or the best one for
 * this host when it is NULL or "auto".
 */
int storage_open(struct service *service, const char *driver, struct storage **ret,
	struct error *e) must_use;
void storage_close(struct storage *storage);
DEFINE_CLEANUP(struct storage *, storage_close);

/*
 * Whether such a volume could be the root that `device` is: the pool exists, holds sizes, has the room. Changes
 * nothing.
 */
int storage_volume_check(struct storage *storage, const struct volume_ref *ref, uint64_t size_bytes,
	const char *device, struct error *e) must_use;

bool storage_volume_exists(struct storage *storage, const struct volume_ref *ref);

int storage_volume_create(struct storage *storage, const struct volume_ref *ref,
	const struct volume_options *options, storage_done *done, void *data,
	struct error *e) must_use;

/* Removes the volume with its snapshots, or one snapshot. 0 and done(0) if there is none. */
int storage_volume_delete(struct storage *storage, const struct volume_ref *ref, storage_done *done,
	void *data, struct error *e) must_use;

/*
 * Makes `to` from `from`: an instance's copy; a snapshot (`to` has the snapshot's name); a volume from a
 * snapshot. Pools may differ. `size_bytes` 0 keeps the size. Where the pool can't copy a volume in use as of
 * one moment (storage_volume_needs_pause()) the caller pauses a running instance meanwhile.
 */
int storage_volume_copy(struct storage *storage, const struct volume_ref *from,
	const struct volume_ref *to, uint64_t size_bytes, storage_done *done, void *data,
	struct error *e) must_use;
bool storage_volume_needs_pause(struct storage *storage, const struct volume_ref *ref);

/* Puts the volume back to what its snapshot `ref->snapshot` holds. Nobody may use it meanwhile. */
int storage_volume_restore(struct storage *storage, const struct volume_ref *ref,
	storage_done *done, void *data, struct error *e) must_use;

/*
 * Puts in place of the volume's content what `options` say, as for a new one; its size and its snapshots stay.
 * Nobody may use it meanwhile.
 */
int storage_volume_rebuild(struct storage *storage, const struct volume_ref *ref,
	const struct volume_options *options, storage_done *done, void *data,
	struct error *e) must_use;

/* Renames a volume with its snapshots, or a snapshot. At once. */
typedef int storage_more(void *data, struct error *e);
int storage_volume_rename(struct storage *storage, const struct volume_ref *ref, const char *name,
	storage_more *more, void *data, struct error *e) must_use;

/* Changes the limit, also while an instance uses it. */
int storage_volume_resize(struct storage *storage, const struct volume_ref *ref,
	uint64_t size_bytes, storage_done *done, void *data, struct error *e) must_use;

/* What it holds now. `ret_size` is 0 without a limit. */
int storage_volume_usage(struct storage *storage, const struct volume_ref *ref, uint64_t *ret_used,
	uint64_t *ret_size, struct error *e) must_use;

/*
 * The `source` of a mount in a plan document (doc/plan.md): {"type": "directory", "path": ...} or
 * {"type": "image", "path": ..., "fs": "ext4"}; of bytes {"type": "block", "path": ...}. New reference.
 */
int storage_volume_plan(struct storage *storage, const struct volume_ref *ref, json_t **ret,
	struct error *e) must_use;

/* The `root` of a plan document: {"layers": [paths, top first], "volume": {...}}. New reference. */
int storage_root_plan(struct storage *storage, const struct volume_ref *ref, json_t **ret,
	struct error *e) must_use;

/* The names of the snapshots of a volume, oldest first: array of strings. New reference. */
json_t *storage_volume_snapshots(struct storage *storage, const struct volume_ref *ref);

/* Bytes that the pool has and that are free; for the ledger. */
int storage_pool_space(struct storage *storage, const char *pool, uint64_t *ret_total,
	uint64_t *ret_free, struct error *e) must_use;
