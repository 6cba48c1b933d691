/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - the contract of a storage pool: volumes that hold directories, each with a size that holds.
 *
 * A volume is named by its path below the pool: "containers/default_c1", "custom/default_data",
 * "containers-snapshots/default_c1/snap0". Its parts are made of letters, digits and `-_.`, and the
 * caller has checked them. What a process finds there is a directory, or a file with a file system that it
 * mounts where only it can see it (`pool_driver.stands_as`). A volume of VOLUME_BLOCK is bytes: the file disk.img
 * in its directory, or that file itself.
 *
 * Every function blocks. Those in `slow` may take longer than a millisecond and belong into a berth-job;
 * berthd calls the others itself. A volume appears whole or not at all.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define POOL_VOLUME_NAME_MAX 512

enum {
	POOL_CAN_LIMIT = 1 << 0,  /* a size other than 0 is a hard limit */
	POOL_CAN_SHRINK = 1 << 1, /* a size can become smaller */
	POOL_CAN_FREEZE = 1 << 2, /* copies a volume that is in use, as of one moment */
};

enum {
	POOL_SLOW_CREATE = 1 << 0,
	POOL_SLOW_REMOVE = 1 << 1,
	POOL_SLOW_COPY = 1 << 2,
	POOL_SLOW_RESIZE = 1 << 3,
};

enum volume_form {
	VOLUME_DIRECTORY,
	VOLUME_IMAGE, /* a file with an ext4 file system */
};

enum volume_use {
	VOLUME_ROOT,    /* has the directories upper, work and rootfs */
	VOLUME_CONTENT, /* is empty at first */
	VOLUME_BLOCK,   /* bytes without a file system, as a disk has them (block.h) */
};

/* "root", "content", "block", as tasks write it. */
const char *volume_use_name(enum volume_use use);
enum volume_use volume_use_read(const char *name);

struct pool_driver;

struct pool {
	const struct pool_driver *driver;
	char *home;    /* the pool's own directory: DIR/pools/NAME */
	char *volumes; /* where the volumes are: home, or home/mnt */
	int dir;       /* an open descriptor of `volumes`; -1 if the pool is not open */
	uint32_t can;
	uint32_t slow;
};

struct pool_options {
	const char
		*source; /* a directory or device to use instead of the pool's own; NULL for none */
	uint64_t size_bytes; /* of a pool that lives in one file; 0 to let the driver choose */
};

struct pool_space {
	uint64_t total_bytes;
	uint64_t used_bytes;
	uint64_t total_inodes; /* 0 where the file system has no such limit */
	uint64_t used_inodes;
};

/* Every member is set. */
struct pool_driver {
	const char *name;

	/* 0 if a pool of this driver with hard limits can stand in the directory `home`, else why not. */
	int (*probe)(const char *home, struct error *e);

	/* Makes the pool in the empty directory pool->home. Slow: runs programs. */
	int (*make)(struct pool *pool, const struct pool_options *options, struct error *e);

	/* Mounts what must be mounted; sets `volumes`, `dir`, `can` and `slow`. */
	int (*open)(struct pool *pool, struct error *e);

	/* Unmounts and destroys everything in pool->home but that directory itself. */
	int (*destroy)(struct pool *pool, struct error *e);

	/* Changes the capacity of the pool itself; -EOPNOTSUPP if it has none of its own. */
	int (*grow)(struct pool *pool, uint64_t size_bytes, struct error *e);

	enum volume_form (*stands_as)(const struct pool *pool, const char *name);

	int (*create)(struct pool *pool, const char *name, enum volume_use use, uint64_t size_bytes,
		struct error *e);
	int (*remove)(struct pool *pool, const char *name, struct error *e);

	/* A copy with a life of its own; a snapshot is a copy that nobody writes. */
	int (*copy)(struct pool *pool, const char *from, const char *to, enum volume_use use,
		uint64_t size_bytes, struct error *e);
	int (*rename)(struct pool *pool, const char *from, const char *to, struct error *e);
	int (*resize)(struct pool *pool, const char *name, enum volume_use use, uint64_t size_bytes,
		struct error *e);
	int (*used)(struct pool *pool, const char *name, uint64_t *ret_bytes, struct error *e);
	int (*space)(struct pool *pool, struct pool_space *ret, struct error *e);
};

/* The path of the volume's directory or file; the caller owns it. */
char *pool_volume_path(const struct pool *pool, const char *name) must_use;

/* The path of a block volume's file; the caller owns it. */
char *pool_block_path(const struct pool *pool, const char *name) must_use;

/* Whether the volume is there. */
bool pool_has_volume(const struct pool *pool, const char *name);

/* pool_driver.space of a pool that has what the file system has that its volumes are on. */
int pool_space_of_files(struct pool *pool, struct pool_space *ret, struct error *e);

void pool_free(struct pool *pool); /* leaves the pool mounted */
DEFINE_CLEANUP(struct pool *, pool_free);
