/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_pack.c - archives of volumes and roots, and back.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/block.h"
#include "disk/tree.h"
#include "job/jail.h"
#include "job/pack.h"
#include "job/source.h"
#include "job/tasks.h"
#include "job/unpack.h"

#define TREES_MAX 1100 /* an instance and its snapshots */

static void report(void *data, uint64_t bytes)
{
	struct task *task = data;
	task_report(task, bytes, 0);
}

/* A root has layers; a volume alone is packed as it is. */
static int open_tree(const json_t *tree, struct error *e)
{
	const json_t *root = json_object_get(tree, "root");
	return root ? source_open_root(root, e)
		    : source_open_volume(json_object_get(tree, "volume"), true, e);
}

struct trees {
	const char *prefixes[TREES_MAX];
	int dirs[TREES_MAX];
	size_t count;
	char *names[TREES_MAX]; /* of machines' disks, owned */
	int disks[TREES_MAX];
	size_t disk_count;
};

static void trees_free(struct trees *trees)
{
	for (size_t i = 0; i < trees->count; i++)
		close(trees->dirs[i]);
	for (size_t i = 0; i < trees->disk_count; i++) {
		close(trees->disks[i]);
		free(trees->names[i]);
	}
	free(trees);
}
DEFINE_CLEANUP(struct trees *, trees_free);

/* A machine's: the disk as PREFIX.img; the layers it stands on as the tree. */
static int open_disk(const json_t *tree, const char *prefix, struct trees *trees,
	bool *ret_has_tree, struct error *e)
{
	const json_t *root = json_object_get(tree, "root");
	const json_t *volume = json_object_get(root ?: tree, "volume");
	*ret_has_tree = true;
	if (!source_is_block(volume))
		return 0;
	*ret_has_tree = json_array_size(json_object_get(root, "layers")) > 0;
	int fd = source_open_block(volume, false, e);
	if (fd < 0)
		return fd;
	trees->names[trees->disk_count] = alloc_printf("%s.img", prefix);
	trees->disks[trees->disk_count++] = fd;
	return 0;
}

static int open_trees(const struct task *task, struct trees *trees, struct error *e)
{
	size_t index;
	json_t *tree;
	json_array_foreach(json_object_get(task->document, "trees"), index, tree)
	{
		const char *prefix = json_string_value(json_object_get(tree, "prefix"));
		if (trees->count == TREES_MAX)
			return error_set(e, -E2BIG, "more than %d trees", TREES_MAX);
		bool has_tree;
		int r = open_disk(tree, prefix ?: "", trees, &has_tree, e);
		if (r < 0)
			return r;
		if (!has_tree)
			continue;
		int dir = open_tree(tree, e);
		if (dir < 0)
			return dir;
		trees->prefixes[trees->count] = prefix ? prefix : "";
		trees->dirs[trees->count++] = dir;
	}
	return 0;
}

static int add_files(const struct task *task, struct pack *pack, struct error *e)
{
	size_t index;
	json_t *file;
	json_array_foreach(json_object_get(task->document, "files"), index, file)
	{
		const char *name = json_string_value(json_object_get(file, "name"));
		const json_t *text = json_object_get(file, "text");
		if (!name || !json_is_string(text))
			return error_set(e, -EINVAL, "files: entry %zu", index);
		int r = pack_add_file(
			pack, name, json_string_value(text), json_string_length(text), e);
		if (r < 0)
			return r;
	}
	return 0;
}

int task_pack(struct task *task, json_t **ret, struct error *e)
{
	task->stage = "pack";
	int output = task_fd(task, 0, e);
	if (output < 0)
		return output;
	cleanup(trees_free) struct trees *trees = alloc(struct trees);
	int r = open_trees(task, trees, e);
	if (r == 0)
		r = jail_files(trees->dirs, trees->count, e);
	cleanup(pack_free) struct pack *pack = NULL;
	if (r == 0)
		r = pack_new(output, task_text_or(task, "compression", "gzip"), &pack, e);
	if (r == 0) {
		pack_set_report(pack, report, task);
		r = add_files(task, pack, e);
	}
	for (size_t i = 0; r == 0 && i < trees->count; i++)
		r = pack_add_tree(pack, trees->prefixes[i], trees->dirs[i], e);
	for (size_t i = 0; r == 0 && i < trees->disk_count; i++)
		r = pack_add_open_file(pack, trees->names[i], trees->disks[i], e);
	char digest[DIGEST_HEX_SIZE];
	uint64_t size = 0;
	if (r == 0)
		r = pack_finish(pack, digest, &size, e);
	if (r == 0)
		*ret = json_pack("{sssI}", "digest", digest, "size", (json_int_t)size);
	return r;
}

/* What stood there before the archive's bytes do. */
static int clean_tree(int volume, const char *below, struct error *e)
{
	int r = file_remove_tree(volume, below);
	if (r < 0)
		return error_code(e, r, "empty the volume");
	return mkdirat(volume, below, 0755) < 0 ? error_errno(e, "make %s anew", below) : 0;
}

/* The entry PREFIX.img to a volume of bytes, which keeps its size if it is larger. */
static int unpack_block(
	struct task *task, const json_t *volume, int archive, json_t **ret, struct error *e)
{
	struct stat before;
	struct unpack_result result;
	cleanup(close) int disk = source_open_block(volume, true, e);
	if (disk < 0)
		return disk;
	if (fstat(disk, &before) < 0)
		return error_errno(e, "stat the volume");
	/* Holes of the archive must not show what stood there. */
	if (task_flag(task, "clean") && ftruncate(disk, 0) < 0)
		return error_errno(e, "empty the volume");
	cleanup(free) char *prefix = alloc_printf("%s.img", task_text_or(task, "prefix", ""));
	struct unpack_options options = { .prefix = prefix, .has_file = true, .file = disk };
	int r = jail_files(NULL, 0, e);
	if (r == 0)
		r = unpack_archive(archive, -1, &options, NULL, &result, e);
	if (r == 0 && !result.has_file)
		r = error_set(e, -EINVAL, "the archive has no %s", prefix);
	if (r == 0)
		r = block_grow_file(disk, (uint64_t)before.st_size, e);
	if (r == 0)
		*ret = json_pack("{sI}", "bytes", (json_int_t)result.bytes);
	return r;
}

int task_unpack(struct task *task, json_t **ret, struct error *e)
{
	task->stage = "unpack";
	int archive = task_fd(task, 0, e);
	if (archive < 0)
		return archive;
	if (source_is_block(json_object_get(task->document, "volume")))
		return unpack_block(
			task, json_object_get(task->document, "volume"), archive, ret, e);
	cleanup(close) int volume =
		source_open_volume(json_object_get(task->document, "volume"), false, e);
	if (volume < 0)
		return volume;
	const char *below = task_text_or(task, "below", ".");
	bool is_cleaned = task_flag(task, "clean") && !text_equal(below, ".");
	int r = is_cleaned ? clean_tree(volume, below, e) : 0;
	if (r < 0)
		return r;
	cleanup(close) int to = file_open_beneath(volume, below, O_RDONLY | O_DIRECTORY, 0);
	if (to < 0)
		return error_code(e, to, "open the volume");
	r = jail_files(&to, 1, e);
	if (r < 0)
		return r;
	struct unpack_options options = { .prefix = task_text_or(task, "prefix", NULL) };
	struct unpack_result result;
	r = unpack_archive(archive, to, &options, NULL, &result, e);
	if (r == 0)
		*ret = json_pack("{sIsI}", "bytes", (json_int_t)result.bytes, "entries",
			(json_int_t)result.entries);
	return r;
}

int task_join(struct task *task, json_t **ret, struct error *e)
{
	int out = task_fd(task, 0, e);
	int r = out < 0 ? out : jail_files(NULL, 0, e);
	size_t index;
	json_t *piece;
	json_array_foreach(json_object_get(task->document, "pieces"), index, piece)
	{
		if (r < 0)
			break;
		if (json_is_string(piece)) {
			r = file_write_all(
				out, json_string_value(piece), json_string_length(piece));
			continue;
		}
		int from = task_fd(task, (size_t)json_integer_value(piece), e);
		if (from < 0)
			return from;
		r = file_copy(from, out);
	}
	if (r < 0)
		return error_code(e, r, "join files");
	*ret = json_object();
	return 0;
}
