/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - the one tree of files: directories, entries, the content of regular files.
 *
 * Everything that was looked at is a struct node. What comes from the image is filled in when its directory is
 * first asked (`fill`), and its bytes stay in the image until somebody writes: then the page is copied. So the
 * tmpfs lies above the image without a second tree. Times are ns since the epoch.
 */
#pragma once

#include <sys/stat.h>

#include "unikernel/kernel.h"

#define NAME_LONGEST 255u

struct node;
struct file;

struct entry {
	struct entry *next; /* in its directory, by cookie */
	struct entry *next_hash;
	struct node *node;
	uint64_t cookie;
	uint32_t hash;
	uint32_t length;
	bool is_over_image; /* the image has this name, too */
	bool is_kept;       /* the volume has it for this node */
	char name[];
};

/* Bytes of a regular file as they stand in the image: two runs, since the last part may stand elsewhere. */
struct image_bytes {
	const uint8_t *first;
	uint64_t first_bytes;
	const uint8_t *second;
	uint64_t second_bytes;
};

struct directory {
	struct node *parent;
	struct entry *first, *last;
	struct entry **hash;
	uint32_t hash_size, count;
	uint64_t next_cookie;
	const char *name; /* in its parent; the entry's text */
};

struct node {
	uint32_t references; /* open files, working directories, and one for being linked */
	uint32_t mode, uid, gid;
	uint32_t links;
	uint64_t number;
	uint64_t size;
	uint64_t atime_ns, mtime_ns, ctime_ns;
	uint64_t rdev;
	union {
		struct directory directory;
		struct {
			uint8_t **pages; /* NULL: still in the image, or a hole */
			uint64_t page_count;
			struct image_bytes image;
			struct node *prepared; /* what is run in its place; NULL: itself */
		} regular;
		char *target; /* of a symbolic link */
	};
	struct node *home;   /* of what is no directory: one that names it, by `named` */
	struct entry *named; /* the entry of a directory, or one of the others */
	struct kept *kept;   /* its place on the volume; NULL: in the image or in memory */
	bool in_memory;      /* a directory: what is in it has no place on the volume */
	bool has_image;      /* a directory: the image may have names in it */
	void (*fill)(struct node *node); /* before a directory is read */
	int64_t (*generate)(
		struct node *node, char *to, uint64_t size); /* the text of a file or link */
	int64_t (*open)(struct node *node, uint32_t flags,
		struct file **ret); /* NULL: regular or directory */
	uint64_t private_data;
};

/*
 * Where changes are kept (kept.c); NULL: in memory. link() is called when the entry is there, unlink() before it goes;
 * change() before a node that has no place is changed: 0 with one that has its first bytes, 1 if it stays in memory; changed() afterwards.
 * The others are for nodes with a place.
 */
struct node_keeper {
	int (*link)(struct node *directory, struct entry *entry, struct node *node);
	int (*unlink)(struct node *directory, struct entry *entry, bool is_moving);
	int (*change)(struct node *node, uint64_t bytes);
	void (*changed)(struct node *node);
	int64_t (*read)(const struct node *node, void *to, uint64_t size, uint64_t offset);
	int64_t (*write)(struct node *node, const void *from, uint64_t size, uint64_t offset);
	int (*truncate)(struct node *node, uint64_t size);
	int (*reserve)(struct node *node, uint64_t from, uint64_t end);
	void (*drop)(struct node *node);
	uint64_t (*sectors)(const struct node *node);
};
extern const struct node_keeper *node_keeper;

/* A node with one reference and no link; NULL without memory. */
struct node *node_new(uint32_t mode);
void node_hold(struct node *node);
void node_drop(struct node *node);
void node_stat(const struct node *node, struct stat *ret);

static inline bool node_is_directory(const struct node *node)
{
	return S_ISDIR(node->mode);
}

/* Adds a name for `child`, which gains a link. 0, -ENOMEM, -ENOSPC. The name must not be there. */
int node_link(struct node *directory, const char *name, size_t length, struct node *child);

/* Takes the entry away; its node loses a link. 0, -ENOSPC. */
int node_unlink(struct node *directory, struct entry *entry);

/* The same for names that are there already, or that nobody keeps; NULL without memory. */
struct entry *node_show(
	struct node *directory, const char *name, size_t length, struct node *child);
void node_hide(struct node *directory, struct entry *entry);

/* Around a change of mode, owner or times: 0, -ENOSPC. */
int node_change(struct node *node);
void node_changed(struct node *node);

/* A regular file's bytes stand elsewhere now. */
void node_forget_bytes(struct node *node);
struct entry *node_entry(struct node *directory, const char *name, size_t length);

/* Bytes of a regular file. Reading stops at the end; writing grows it; -ENOSPC, -EFBIG. */
int64_t node_read(struct node *node, void *to, uint64_t size, uint64_t offset);
int64_t node_write(struct node *node, const void *from, uint64_t size, uint64_t offset);
int node_truncate(struct node *node, uint64_t size);

/* Room for the bytes from `from` to `end`, which belong to the file then; all of it, or -ENOSPC, -EFBIG and none. */
int node_reserve(struct node *node, uint64_t from, uint64_t end);

uint64_t node_now(void);
