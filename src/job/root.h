/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root.h - puts entries with names that somebody else chose below one directory, and nowhere else.
 *
 * Names are relative and without `..`; no link is followed on the way to an entry, no mount crossed. An entry
 * that exists is replaced, but a directory by a directory only. Errors say what is wrong but not with which entry:
 * the caller prefixes its name.
 */
#pragma once

#include <sys/stat.h>
#include <time.h>

#include "base/base.h"
#include "base/error.h"

#define ROOT_ID_MAX    65535 /* the ids that an instance has */
#define ROOT_NAME_MAX  4096
#define ROOT_DEPTH_MAX 256

struct root;

struct root_dress {
	mode_t mode; /* with the set-id bits */
	uint32_t uid;
	uint32_t gid;
	struct timespec modified;
};

/* `dir` is borrowed until root_free(). */
struct root *root_new(int dir) must_use;
void root_free(struct root *root);
DEFINE_CLEANUP(struct root *, root_free);

/*
 * The name without leading and doubled "./": "a/b", or "" for the root itself; the caller owns *ret.
 * -EINVAL if it is absolute, has a ".." in it, or is too long or too deep.
 */
int root_clean_name(const char *name, char **ret, struct error *e) must_use;

/* In all that follow `name` is clean. Directories above an entry are made if they are missing. */

int root_make_dir(struct root *root, const char *name, const struct root_dress *dress,
	struct error *e) must_use;

/* Makes an empty file and returns its descriptor, open for reading and writing; dress it last. */
int root_make_file(struct root *root, const char *name, struct error *e) must_use;

/* Owner, mode and times of what root_make_file() opened. */
int root_dress_file(int fd, const struct root_dress *dress, struct error *e) must_use;

/* `target` may be anything: it is only read inside the instance. */
int root_make_link(struct root *root, const char *name, const char *target,
	const struct root_dress *dress, struct error *e) must_use;

/* Another name for the file `target`, a clean name, that was made before. */
int root_make_hard_link(
	struct root *root, const char *name, const char *target, struct error *e) must_use;

int root_make_fifo(struct root *root, const char *name, const struct root_dress *dress,
	struct error *e) must_use;

/* Overlay: the name is gone / what lower layers have in the directory `name` is gone. */
int root_make_whiteout(struct root *root, const char *name, struct error *e) must_use;
int root_make_opaque(struct root *root, const char *name, struct error *e) must_use;

/* Sets the times of the directories, which every entry made in them changed. Last of all. */
int root_finish(struct root *root, struct error *e) must_use;
