/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c - from names to nodes: walks, symbolic links, the working directory.
 */
#include "unikernel/path.h"

#include "unikernel/heap.h"

#define LINKS_MAX 40

struct node *path_root, *path_working;
uint32_t path_umask = 022;

int64_t path_read_link(struct node *link, char *to, uint64_t size)
{
	if (link->generate)
		return link->generate(link, to, size);
	uint64_t length = strlen(link->target);
	if (length > size)
		length = size;
	memcpy(to, link->target, length);
	return (int64_t)length;
}

/* Takes the next name off *path. */
static int next_name(const char **path, struct place *place)
{
	const char *start = *path, *end = start;
	while (*end && *end != '/')
		end++;
	place->length = (size_t)(end - start);
	if (place->length > NAME_LONGEST)
		return -ENAMETOOLONG;
	memcpy(place->name, start, place->length);
	place->name[place->length] = '\0';
	place->wants_directory = *end == '/';
	while (*end == '/')
		end++;
	*path = end;
	return 0;
}

static void step(struct place *place)
{
	struct node *here = place->directory;
	place->entry = NULL;
	if (text_is(place->name, "."))
		place->node = here;
	else if (text_is(place->name, ".."))
		place->node = here->directory.parent;
	else {
		place->entry = node_entry(here, place->name, place->length);
		place->node = place->entry ? place->entry->node : NULL;
	}
}

struct walk {
	char *buffer; /* of a followed link's text with the rest of the path */
	const char *path;
	int links;
};

/* The link's text stands before what is left of the path. */
static int follow(struct walk *walk, struct place *place)
{
	if (++walk->links > LINKS_MAX)
		return -ELOOP;
	char *joined = heap_alloc(PATH_LONGEST * 2);
	if (!joined)
		return -ENOMEM;
	int64_t length = path_read_link(place->node, joined, PATH_LONGEST - 1);
	size_t rest = strlen(walk->path);
	if (length <= 0 || rest >= PATH_LONGEST - 2) {
		heap_free(joined);
		return length < 0 ? (int)length : -ENOENT;
	}
	if (place->wants_directory)
		joined[length++] = '/';
	memcpy(joined + length, walk->path, rest + 1);
	heap_free(walk->buffer);
	walk->buffer = joined;
	walk->path = joined;
	if (*joined == '/')
		place->directory = path_root;
	while (*walk->path == '/')
		walk->path++;
	return 0;
}

static int walk_on(struct walk *walk, struct place *place, bool follows)
{
	place->node = place->directory;
	while (*walk->path) {
		if (!node_is_directory(place->directory))
			return -ENOTDIR;
		int r = next_name(&walk->path, place);
		if (r < 0)
			return r;
		step(place);
		bool is_last = *walk->path == '\0';
		if (!place->node)
			return is_last ? 0 : -ENOENT;
		if (S_ISLNK(place->node->mode) && (!is_last || follows || place->wants_directory)) {
			r = follow(walk, place);
			if (r < 0)
				return r;
			place->node = place->directory;
			place->entry = NULL;
			continue;
		}
		if (is_last)
			return place->wants_directory && !node_is_directory(place->node) ? -ENOTDIR
											 : 0;
		place->directory = place->node;
	}
	return 0;
}

int path_walk(struct node *start, const char *path, bool follows, struct place *ret)
{
	struct walk walk = { .path = path };
	if (!*path)
		return -ENOENT;
	if (strlen(path) >= PATH_LONGEST)
		return -ENAMETOOLONG;
	ret->directory = *path == '/' ? path_root : start;
	ret->entry = NULL;
	ret->length = 0;
	ret->wants_directory = false;
	ret->name[0] = '\0';
	while (*walk.path == '/')
		walk.path++;
	int r = walk_on(&walk, ret, follows);
	heap_free(walk.buffer);
	return r;
}

int path_find(struct node *start, const char *path, bool follows, struct node **ret)
{
	struct place place;
	int r = path_walk(start, path, follows, &place);
	if (r == 0 && !place.node)
		r = -ENOENT;
	if (r == 0)
		*ret = place.node;
	return r;
}

int64_t path_of(const struct node *directory, char *to, uint64_t size)
{
	uint64_t start = size;
	if (size < 2)
		return -ERANGE;
	to[--start] = '\0';
	if (directory == path_root)
		to[--start] = '/';
	for (; directory != path_root; directory = directory->directory.parent) {
		if (directory->links == 0)
			return -ENOENT;
		size_t length = strlen(directory->directory.name);
		if (start < length + 1)
			return -ERANGE;
		start -= length;
		memcpy(to + start, directory->directory.name, length);
		to[--start] = '/';
	}
	memmove(to, to + start, size - start);
	return (int64_t)(size - start);
}

int path_make_special(
	const struct place *place, uint32_t mode, uint64_t rdev, char *target, struct node **ret)
{
	if (place->directory->links == 0)
		return -ENOENT;
	if (!S_ISDIR(mode) && place->wants_directory)
		return S_ISREG(mode) ? -EISDIR : -ENOENT;
	uint32_t kind = mode & S_IFMT;
	struct node *node = node_new(kind | (mode & ~(S_ISLNK(mode) ? 0 : path_umask) & 07777));
	if (!node)
		return -ENOSPC;
	node->rdev = rdev;
	if (target) {
		node->target = target;
		node->size = strlen(target);
	}
	int r = node_link(place->directory, place->name, place->length, node);
	if (r < 0 && target)
		node->target = NULL; /* still the caller's */
	node_drop(node);             /* the link holds it */
	if (r < 0)
		return r;
	place->directory->mtime_ns = place->directory->ctime_ns = node_now();
	node_changed(place->directory);
	*ret = node;
	return 0;
}

int path_make(const struct place *place, uint32_t mode, struct node **ret)
{
	return path_make_special(place, mode, 0, NULL, ret);
}
