/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opened.c - open regular files and directories, and files whose text is made when they are opened.
 */
#include "unikernel/opened.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "unikernel/heap.h"

#define TEXT_MAX 65536u

static int64_t regular_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	int64_t got = node_read(file->node, to, size, *position);
	if (got > 0)
		*position += (uint64_t)got;
	return got;
}

static int64_t regular_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	if ((file->flags & O_APPEND) && position == &file->position)
		*position = file->node->size;
	int64_t put = node_write(file->node, from, size, *position);
	if (put > 0)
		*position += (uint64_t)put;
	return put;
}

static int64_t seek_to(struct file *file, int64_t offset, int whence, uint64_t size)
{
	int64_t base = 0;
	switch (whence) {
	case SEEK_SET:
		break;
	case SEEK_CUR:
		base = (int64_t)file->position;
		break;
	case SEEK_END:
		base = (int64_t)size;
		break;
	case SEEK_DATA:
		return offset < 0 || (uint64_t)offset >= size
			? -ENXIO
			: (int64_t)(file->position = (uint64_t)offset);
	case SEEK_HOLE:
		return offset < 0 || (uint64_t)offset >= size ? -ENXIO
							      : (int64_t)(file->position = size);
	default:
		return -EINVAL;
	}
	int64_t result;
	if (__builtin_add_overflow(base, offset, &result) || result < 0)
		return -EINVAL;
	file->position = (uint64_t)result;
	return result;
}

static int64_t regular_seek(struct file *file, int64_t offset, int whence)
{
	return seek_to(file, offset, whence, file->node->size);
}

static int64_t node_file_stat(struct file *file, struct stat *ret)
{
	node_stat(file->node, ret);
	return 0;
}

static void node_file_close(struct file *file)
{
	node_drop(file->node);
}

static const struct file_operations regular_operations = {
	.read = regular_read,
	.write = regular_write,
	.seek = regular_seek,
	.stat = node_file_stat,
	.ioctl = file_no_ioctl,
	.poll = file_poll_always,
	.close = node_file_close,
};

static int64_t directory_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	(void)file, (void)to, (void)size, (void)position;
	return -EISDIR;
}

static int64_t directory_seek(struct file *file, int64_t offset, int whence)
{
	return seek_to(file, offset, whence, INT64_MAX);
}

static const struct file_operations directory_operations = {
	.read = directory_read,
	.write = file_no_write,
	.seek = directory_seek,
	.stat = node_file_stat,
	.ioctl = file_no_ioctl,
	.poll = file_poll_always,
	.close = node_file_close,
};

/* Text that was made when the file was opened; file->object holds its length first. */
struct text {
	uint64_t size;
	char bytes[];
};

static int64_t text_read(struct file *file, void *to, uint64_t size, uint64_t *position)
{
	const struct text *text = file->object;
	if (*position >= text->size)
		return 0;
	if (size > text->size - *position)
		size = text->size - *position;
	memcpy(to, text->bytes + *position, size);
	*position += size;
	return (int64_t)size;
}

/* What can be set in /proc and /sys is taken and changes nothing. */
static int64_t text_write(struct file *file, const void *from, uint64_t size, uint64_t *position)
{
	(void)file, (void)from, (void)position;
	return (int64_t)size;
}

static int64_t text_seek(struct file *file, int64_t offset, int whence)
{
	return seek_to(file, offset, whence, ((struct text *)file->object)->size);
}

static void text_close(struct file *file)
{
	heap_free(file->object);
	node_drop(file->node);
}

static const struct file_operations text_operations = {
	.read = text_read,
	.write = text_write,
	.seek = text_seek,
	.stat = node_file_stat,
	.ioctl = file_no_ioctl,
	.poll = file_poll_always,
	.close = text_close,
};

static int64_t open_text(struct node *node, uint32_t flags, const char *path, struct file **ret)
{
	struct text *text = heap_alloc(sizeof(*text) + TEXT_MAX);
	struct file *file = text ? file_new(&text_operations, flags, path) : NULL;
	if (!file) {
		heap_free(text);
		return -ENOMEM;
	}
	int64_t size = node->generate(node, text->bytes, TEXT_MAX);
	text->size = size < 0 ? 0 : (uint64_t)size;
	file->object = text;
	file->node = node;
	node_hold(node);
	*ret = file;
	return 0;
}

int64_t opened_new(struct node *node, uint32_t flags, const char *path, struct file **ret)
{
	bool is_directory = node_is_directory(node);
	if (is_directory && (flags & O_ACCMODE) != O_RDONLY)
		return -EISDIR;
	if (!(flags & O_PATH)) {
		if (node->open)
			return node->open(node, flags, ret);
		if (node->generate && S_ISREG(node->mode))
			return open_text(node, flags, path, ret);
	}
	if (!is_directory && !S_ISREG(node->mode) && !(flags & O_PATH))
		return -ENXIO;
	struct file *file =
		file_new(is_directory ? &directory_operations : &regular_operations, flags, path);
	if (!file)
		return -ENOMEM;
	file->node = node;
	node_hold(node);
	int r = (flags & O_TRUNC) && S_ISREG(node->mode) ? node_truncate(node, 0) : 0;
	if (r < 0) {
		file_drop(file);
		return r;
	}
	*ret = file;
	return 0;
}

bool opened_is_directory(const struct file *file)
{
	return file->operations == &directory_operations;
}

/* Writes one entry, or says that it does not fit. */
static bool put_entry(uint8_t **to, const uint8_t *end, uint64_t next, const char *name,
	size_t length, const struct node *node)
{
	uint64_t size = (offsetof(struct dirent64, d_name) + length + 1 + 7) & ~UINT64_C(7);
	if (size > (uint64_t)(end - *to))
		return false;
	struct dirent64 *entry = (void *)*to;
	entry->d_ino = node->number;
	entry->d_off = (off_t)next;
	entry->d_reclen = (unsigned short)size;
	entry->d_type = (uint8_t)IFTODT(node->mode);
	memcpy(entry->d_name, name, length);
	entry->d_name[length] = '\0';
	*to += size;
	return true;
}

/* The position of a directory is the cookie of the last entry that was given. */
int64_t opened_list(struct file *file, uint8_t *to, uint64_t size)
{
	struct node *node = file->node;
	uint8_t *start = to, *end = to + size;
	bool is_full = false, has_any = false;
	if (!opened_is_directory(file))
		return -ENOTDIR;
	if (node->links == 0)
		return -ENOENT;
	if (node->fill)
		node->fill(node);
	const char *const dots[] = { ".", ".." };
	const struct node *const dot_nodes[] = { node, node->directory.parent };
	for (uint64_t i = 0; i < 2 && !is_full; i++) {
		if (file->position > i)
			continue;
		has_any = true;
		is_full = !put_entry(&to, end, i + 1, dots[i], i + 1, dot_nodes[i]);
		if (!is_full)
			file->position = i + 1;
	}
	for (struct entry *entry = node->directory.first; entry && !is_full; entry = entry->next) {
		if (entry->cookie <= file->position)
			continue;
		has_any = true;
		is_full = !put_entry(
			&to, end, entry->cookie, entry->name, entry->length, entry->node);
		if (!is_full)
			file->position = entry->cookie;
	}
	if (to == start)
		return has_any ? -EINVAL : 0;
	return to - start;
}
