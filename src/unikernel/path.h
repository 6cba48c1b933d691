/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.h - from names to nodes: walks, symbolic links, the working directory.
 */
#pragma once

#include "unikernel/node.h"

#define PATH_LONGEST 4096u

struct place {
	struct node *directory; /* where the last name stands; borrowed */
	struct entry *entry;    /* NULL if there is none yet */
	struct node
		*node; /* of the entry, or the directory itself for "/", "." and ".."; or NULL */
	char name[NAME_LONGEST + 1];
	size_t length;
	bool wants_directory; /* the path ends in a slash */
};

extern struct node *path_root, *path_working;
extern uint32_t path_umask;

/*
 * Walks `path` from `start`. 0 with *ret (entry NULL if only the last name is missing), or -ENOENT, -ENOTDIR,
 * -ELOOP, -ENAMETOOLONG. `follows`: a symbolic link at the end is followed.
 */
int path_walk(struct node *start, const char *path, bool follows, struct place *ret);

/* The same where the last name has to be there. */
int path_find(struct node *start, const char *path, bool follows, struct node **ret);

/* The absolute path of a directory: its length with the NUL, or -ENOENT, -ERANGE. */
int64_t path_of(const struct node *directory, char *to, uint64_t size);

/* The text of a symbolic link: bytes without a NUL. */
int64_t path_read_link(struct node *link, char *to, uint64_t size);

/* A new node of `mode` at a walked place without an entry. */
int path_make(const struct place *place, uint32_t mode, struct node **ret);

/* The same of a device, or of a link to `target`, which is then the node's. */
int path_make_special(
	const struct place *place, uint32_t mode, uint64_t rdev, char *target, struct node **ret);
