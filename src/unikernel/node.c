/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.c - the one tree of files: directories, entries, the content of regular files.
 */
#include "unikernel/node.h"

#include "unikernel/heap.h"

#define FILE_PAGES_MAX (UINT64_C(1) << 26) /* 256 GiB */
#define HASH_FIRST     16u

static uint64_t last_number = 1;
const struct node_keeper *node_keeper;

uint64_t node_now(void)
{
	return platform_clock_realtime();
}

struct node *node_new(uint32_t mode)
{
	struct node *node = heap_alloc(sizeof(*node));
	if (!node)
		return NULL;
	node->references = 1;
	node->mode = mode;
	node->number = ++last_number;
	node->atime_ns = node->mtime_ns = node->ctime_ns = node_now();
	return node;
}

void node_hold(struct node *node)
{
	node->references++;
}

static void free_pages(struct node *node, uint64_t from)
{
	for (uint64_t i = from; i < node->regular.page_count; i++) {
		heap_page_free(node->regular.pages[i]);
		node->regular.pages[i] = NULL;
	}
}

void node_forget_bytes(struct node *node)
{
	free_pages(node, 0);
	heap_free(node->regular.pages);
	memset(&node->regular, 0, sizeof(node->regular));
}

void node_drop(struct node *node)
{
	if (--node->references > 0)
		return;
	if (node->kept)
		node_keeper->drop(node);
	if (S_ISREG(node->mode)) {
		free_pages(node, 0);
		heap_free(node->regular.pages);
	} else if (S_ISLNK(node->mode)) {
		heap_free(node->target);
	} else if (S_ISDIR(node->mode)) {
		heap_free(node->directory.hash);
	}
	heap_free(node);
}

static struct timespec time_of(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
}

/* What the image has counts, and pages of its own; holes do not. */
static blkcnt_t sectors_of(const struct node *node)
{
	const struct image_bytes *image = &node->regular.image;
	uint64_t shown = image->first_bytes + image->second_bytes;
	uint64_t pages =
		((shown < node->size ? shown : node->size) + KERNEL_PAGE - 1) / KERNEL_PAGE;
	for (uint64_t i = pages; i < node->regular.page_count; i++)
		pages += node->regular.pages[i] != NULL;
	return (blkcnt_t)(pages * (KERNEL_PAGE / 512));
}

void node_stat(const struct node *node, struct stat *ret)
{
	*ret = (struct stat){
		.st_dev = 1,
		.st_ino = node->number,
		.st_mode = node->mode,
		.st_nlink = node->links,
		.st_uid = node->uid,
		.st_gid = node->gid,
		.st_rdev = node->rdev,
		.st_size = (off_t)node->size,
		.st_blksize = KERNEL_PAGE,
		.st_blocks = node->kept       ? (blkcnt_t)node_keeper->sectors(node)
			: S_ISREG(node->mode) ? sectors_of(node)
					      : 0,
		.st_atim = time_of(node->atime_ns),
		.st_mtim = time_of(node->mtime_ns),
		.st_ctim = time_of(node->ctime_ns),
	};
}

static uint32_t hash_of(const char *name, size_t length)
{
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ (uint8_t)name[i]) * 16777619u;
	return hash;
}

static bool grow_hash(struct directory *directory)
{
	if (directory->count < directory->hash_size)
		return true;
	uint32_t size = directory->hash_size ? directory->hash_size * 4 : HASH_FIRST;
	struct entry **hash = heap_alloc(size * sizeof(struct entry *));
	if (!hash)
		return directory->hash_size > 0;
	for (struct entry *entry = directory->first; entry; entry = entry->next) {
		entry->next_hash = hash[entry->hash % size];
		hash[entry->hash % size] = entry;
	}
	heap_free(directory->hash);
	directory->hash = hash;
	directory->hash_size = size;
	return true;
}

struct entry *node_show(struct node *node, const char *name, size_t length, struct node *child)
{
	struct directory *directory = &node->directory;
	struct entry *entry = heap_alloc(sizeof(*entry) + length + 1);
	if (!entry || !grow_hash(directory)) {
		heap_free(entry);
		return NULL;
	}
	memcpy(entry->name, name, length);
	entry->length = (uint32_t)length;
	entry->hash = hash_of(name, length);
	entry->node = child;
	entry->cookie = 3 + directory->next_cookie++; /* "." and ".." have 1 and 2 */
	entry->next_hash = directory->hash[entry->hash % directory->hash_size];
	directory->hash[entry->hash % directory->hash_size] = entry;
	if (directory->last)
		directory->last->next = entry;
	else
		directory->first = entry;
	directory->last = entry;
	directory->count++;
	node_hold(child);
	child->links++;
	if (node_is_directory(child)) {
		child->links += child->links == 1; /* its own "." */
		child->directory.parent = node;
		child->directory.name = entry->name;
		child->in_memory |= node->in_memory;
		node->links++;
	} else {
		child->home = node;
	}
	child->named = entry;
	return entry;
}

int node_link(struct node *node, const char *name, size_t length, struct node *child)
{
	struct node *home = child->home, *parent = NULL;
	struct entry *named = child->named;
	if (node_is_directory(child))
		parent = child->directory.parent;
	struct entry *entry = node_show(node, name, length, child);
	if (!entry)
		return -ENOSPC;
	int r = node_keeper ? node_keeper->link(node, entry, child) : 0;
	if (r == 0)
		return 0;
	node_hold(child);
	if (parent && named) { /* a directory that was to move stays */
		child->directory.parent = parent;
		child->directory.name = named->name;
	}
	node_hide(node, entry);
	child->home = home;
	child->named = named;
	node_drop(child);
	return r;
}

int node_unlink(struct node *node, struct entry *entry)
{
	const struct node *child = entry->node;
	bool is_moving = node_is_directory(child) && child->named != entry;
	int r = node_keeper ? node_keeper->unlink(node, entry, is_moving) : 0;
	if (r == 0)
		node_hide(node, entry);
	return r;
}

void node_hide(struct node *node, struct entry *entry)
{
	struct directory *directory = &node->directory;
	struct entry **link = &directory->hash[entry->hash % directory->hash_size];
	while (*link != entry)
		link = &(*link)->next_hash;
	*link = entry->next_hash;
	struct entry *before = NULL;
	for (struct entry *other = directory->first; other != entry; other = other->next)
		before = other;
	if (before)
		before->next = entry->next;
	else
		directory->first = entry->next;
	if (directory->last == entry)
		directory->last = before;
	directory->count--;
	struct node *child = entry->node;
	child->links--;
	if (node_is_directory(child)) {
		node->links--;
		if (child->directory.name == entry->name)
			child->links = 0;
	}
	if (child->named == entry) {
		child->named = NULL;
		child->home = NULL;
	}
	heap_free(entry);
	node_drop(child);
}

struct entry *node_entry(struct node *node, const char *name, size_t length)
{
	if (node->fill)
		node->fill(node);
	const struct directory *directory = &node->directory;
	if (!directory->hash_size)
		return NULL;
	uint32_t hash = hash_of(name, length);
	struct entry *entry = directory->hash[hash % directory->hash_size];
	while (entry &&
		(entry->hash != hash || entry->length != length ||
			memcmp(entry->name, name, length) != 0))
		entry = entry->next_hash;
	return entry;
}

int node_change(struct node *node)
{
	int r = node_keeper ? node_keeper->change(node, node->size) : 0;
	return r < 0 ? r : 0;
}

void node_changed(struct node *node)
{
	if (node->kept)
		node_keeper->changed(node);
}

/* Copies what the image has of the range; what it has not reads as zero. */
static void read_image(const struct image_bytes *image, uint8_t *to, uint64_t size, uint64_t offset)
{
	while (size > 0) {
		uint64_t count = size;
		const uint8_t *from = NULL;
		if (offset < image->first_bytes) {
			from = image->first + offset;
			count = image->first_bytes - offset;
		} else if (offset - image->first_bytes < image->second_bytes) {
			from = image->second + (offset - image->first_bytes);
			count = image->second_bytes - (offset - image->first_bytes);
		}
		if (count > size)
			count = size;
		if (from)
			memcpy(to, from, count);
		else
			memset(to, 0, count);
		to += count;
		offset += count;
		size -= count;
	}
}

int64_t node_read(struct node *node, void *to, uint64_t size, uint64_t offset)
{
	uint8_t *out = to;
	if (offset >= node->size)
		return 0;
	if (size > node->size - offset)
		size = node->size - offset;
	if (node->kept)
		return node_keeper->read(node, to, size, offset);
	if (node->regular.page_count == 0) {
		read_image(&node->regular.image, out, size, offset);
		return (int64_t)size;
	}
	for (uint64_t left = size; left > 0;) {
		uint64_t page = offset / KERNEL_PAGE, start = offset % KERNEL_PAGE;
		uint64_t count = left < KERNEL_PAGE - start ? left : KERNEL_PAGE - start;
		if (page < node->regular.page_count && node->regular.pages[page])
			memcpy(out, node->regular.pages[page] + start, count);
		else
			read_image(&node->regular.image, out, count, offset);
		out += count;
		offset += count;
		left -= count;
	}
	return (int64_t)size;
}

static int grow_pages(struct node *node, uint64_t pages)
{
	if (pages <= node->regular.page_count)
		return 0;
	if (pages > FILE_PAGES_MAX)
		return -EFBIG;
	uint64_t count = node->regular.page_count ? node->regular.page_count : 4;
	while (count < pages)
		count *= 2;
	uint8_t **grown = heap_alloc(count * sizeof(uint8_t *));
	if (!grown)
		return -ENOSPC;
	memcpy(grown, node->regular.pages, node->regular.page_count * sizeof(uint8_t *));
	heap_free(node->regular.pages);
	node->regular.pages = grown;
	node->regular.page_count = count;
	return 0;
}

/* The page, as the file's own; a copy of the image's if that had it. */
static uint8_t *own_page(struct node *node, uint64_t page)
{
	if (!node->regular.pages[page]) {
		uint8_t *fresh = heap_page();
		if (!fresh)
			return NULL;
		read_image(&node->regular.image, fresh, KERNEL_PAGE, page * KERNEL_PAGE);
		node->regular.pages[page] = fresh;
	}
	return node->regular.pages[page];
}

int64_t node_write(struct node *node, const void *from, uint64_t size, uint64_t offset)
{
	const uint8_t *in = from;
	if (size == 0)
		return 0;
	if (offset > FILE_PAGES_MAX * KERNEL_PAGE || size > FILE_PAGES_MAX * KERNEL_PAGE)
		return -EFBIG;
	int r = node_change(node);
	if (r < 0)
		return r;
	if (node->kept)
		return node_keeper->write(node, from, size, offset);
	r = grow_pages(node, (offset + size + KERNEL_PAGE - 1) / KERNEL_PAGE);
	if (r < 0)
		return r;
	node->regular.prepared = NULL;
	uint64_t done = 0;
	while (done < size) {
		uint64_t start = offset % KERNEL_PAGE;
		uint64_t count =
			size - done < KERNEL_PAGE - start ? size - done : KERNEL_PAGE - start;
		uint8_t *page = own_page(node, offset / KERNEL_PAGE);
		if (!page)
			break;
		memcpy(page + start, in + done, count);
		done += count;
		offset += count;
	}
	if (offset > node->size)
		node->size = offset;
	node->mtime_ns = node->ctime_ns = node_now();
	return done ? (int64_t)done : -ENOSPC;
}

static void cut_image(struct image_bytes *image, uint64_t size)
{
	if (image->first_bytes + image->second_bytes <= size)
		return;
	if (image->first_bytes >= size) {
		image->first_bytes = size;
		image->second_bytes = 0;
	} else {
		image->second_bytes = size - image->first_bytes;
	}
}

int node_truncate(struct node *node, uint64_t size)
{
	if (size > FILE_PAGES_MAX * KERNEL_PAGE)
		return -EFBIG;
	int r = node_keeper ? node_keeper->change(node, size) : 0;
	if (r < 0)
		return r;
	if (node->kept)
		return node_keeper->truncate(node, size);
	node->regular.prepared = NULL;
	if (size < node->size) {
		cut_image(&node->regular.image, size);
		uint64_t page = size / KERNEL_PAGE, start = size % KERNEL_PAGE;
		if (page < node->regular.page_count) {
			if (start && node->regular.pages[page])
				memset(node->regular.pages[page] + start, 0, KERNEL_PAGE - start);
			free_pages(node, start ? page + 1 : page);
		}
	}
	node->size = size;
	node->mtime_ns = node->ctime_ns = node_now();
	return 0;
}

int node_reserve(struct node *node, uint64_t from, uint64_t end)
{
	uint64_t size = node->size;
	if (end > FILE_PAGES_MAX * KERNEL_PAGE)
		return -EFBIG;
	int r = node_change(node);
	if (r < 0)
		return r;
	if (node->kept)
		return node_keeper->reserve(node, from, end);
	r = grow_pages(node, (end + KERNEL_PAGE - 1) / KERNEL_PAGE);
	for (uint64_t at = from; r == 0 && at < end; at = (at | (KERNEL_PAGE - 1)) + 1)
		r = own_page(node, at / KERNEL_PAGE) ? 0 : -ENOSPC;
	if (r == 0)
		return end > size ? node_truncate(node, end) : 0;
	free_pages(node, (size + KERNEL_PAGE - 1) / KERNEL_PAGE);
	return r;
}
