/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_files.c - trees removed, volumes made and copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/block.h"
#include "disk/pools.h"
#include "disk/tree.h"
#include "job/digest.h"
#include "job/jail.h"
#include "job/source.h"
#include "job/tasks.h"
#include "model/json.h"

int task_remove(struct task *task, json_t **ret, struct error *e)
{
	int dir = task_fd(task, 0, e);
	int r = dir < 0 ? dir : jail_files(&dir, 1, e);
	if (r < 0)
		return r;
	size_t index;
	json_t *name;
	json_array_foreach(json_object_get(task->document, "names"), index, name)
	{
		const char *text = json_string_value(name);
		if (!text || !*text || *text == '/' || strstr(text, ".."))
			return error_set(e, -EINVAL, "names: entry %zu", index);
		int failed = file_remove_tree(dir, text);
		if (failed < 0)
			r = error_code(e, failed, "remove %s", text);
	}
	if (r == 0)
		*ret = json_object();
	return r;
}

int task_digest(struct task *task, json_t **ret, struct error *e)
{
	char hex[DIGEST_HEX_SIZE];
	struct digest digest;
	int file = task_fd(task, 0, e);
	int r = file < 0 ? file : jail_files(NULL, 0, e);
	if (r == 0 && lseek(file, 0, SEEK_SET) < 0)
		r = error_errno(e, "rewind the file");
	digest_start(&digest);
	if (r == 0)
		r = digest_add_rest(&digest, file, e);
	if (r < 0)
		return r;
	digest_end(&digest, hex);
	*ret = json_pack("{s:s}", "digest", hex);
	return 0;
}

static int open_pool(const json_t *from, struct pool **ret, struct error *e)
{
	const char *name = json_string_value(json_object_get(from, "driver"));
	const char *home = json_string_value(json_object_get(from, "home"));
	const struct pool_driver *driver = name ? pools_find_driver(name) : NULL;
	if (!driver || !home)
		return error_set(e, -EINVAL, "pool: no driver \"%s\"", name ? name : "");
	return pools_open(driver, home, ret, e);
}

static int report(void *data, const struct tree_size *done)
{
	task_report(data, done->bytes, 0);
	return 0;
}

/* The bytes of one file to the beginning of another, that keeps its size if it is larger. */
static int transfer_block(struct task *task, struct error *e)
{
	const char *from = json_text(json_object_get(task->document, "source"), "path");
	const char *to = json_text(json_object_get(task->document, "target"), "path");
	struct stat status;
	if (!from || !to)
		return error_set(e, -EINVAL, "source: there is no path");
	cleanup(close) int in = open(from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup(close) int out = open(to, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0 || out < 0 || fstat(out, &status) < 0)
		return error_errno(e, "open %s", in < 0 ? from : to);
	int r = tree_copy_file(in, out, e);
	return r < 0 ? r : block_grow_file(out, (uint64_t)status.st_size, e);
}

/* From one pool to another: file by file, between what instances would see. */
static int transfer(struct task *task, const char *to, struct error *e)
{
	if (text_equal(json_text(json_object_get(task->document, "target"), "type"), "block"))
		return transfer_block(task, e);
	cleanup(close) int source =
		source_open_volume(json_object_get(task->document, "source"), false, e);
	if (source < 0)
		return source;
	const json_t *target = json_object_get(task->document, "target");
	cleanup(close) int destination = source_open_volume(target, false, e);
	int r = destination < 0 ? destination : 0;
	/* The new volume has its directories already: the copy brings its own. */
	static const char *const parts[] = { "upper", "work", "rootfs", "lost+found" };
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = file_remove_tree(destination, parts[i]);
	const int dirs[] = { source, destination };
	if (r == 0)
		r = jail_files(dirs, ARRAY_SIZE(dirs), e);
	if (r == 0)
		r = tree_copy(source, destination, report, task, e);
	return r < 0 ? error_prefix(e, r, "copy to the volume %s", to) : 0;
}

static int carry_out(struct task *task, struct pool *pool, const char *operation, struct error *e)
{
	const char *name;
	int r = task_text(task, "volume", &name, e);
	if (r < 0)
		return r;
	const struct pool_driver *driver = pool->driver;
	enum volume_use use = volume_use_read(task_text_or(task, "use", NULL));
	uint64_t size = task_number(task, "size", 0);
	if (text_equal(operation, "create"))
		return driver->create(pool, name, use, size, e);
	if (text_equal(operation, "remove"))
		return driver->remove(pool, name, e);
	if (text_equal(operation, "resize"))
		return driver->resize(pool, name, use, size, e);
	if (text_equal(operation, "transfer"))
		return transfer(task, name, e);
	const char *from;
	r = task_text(task, "from", &from, e);
	if (r == 0 && text_equal(operation, "copy"))
		return driver->copy(pool, from, name, use, size, e);
	return r < 0 ? r : error_set(e, -EINVAL, "operation: \"%s\" is not known", operation);
}

static int make_pool(struct task *task, const json_t *from, struct error *e)
{
	const char *name = json_string_value(json_object_get(from, "driver"));
	const char *home = json_string_value(json_object_get(from, "home"));
	const struct pool_driver *driver = name ? pools_find_driver(name) : NULL;
	if (!driver || !home)
		return error_set(e, -EINVAL, "pool: no driver \"%s\"", name ? name : "");
	struct pool_options options = { .source = task_text_or(task, "source", NULL),
		.size_bytes = task_number(task, "size", 0) };
	cleanup(pool_free) struct pool *pool = NULL;
	return pools_make(driver, home, &options, &pool, e);
}

int task_volume(struct task *task, json_t **ret, struct error *e)
{
	task->stage = "copy";
	const char *operation;
	int r = task_text(task, "operation", &operation, e);
	if (r < 0)
		return r;
	const json_t *from = json_object_get(task->document, "pool");
	if (text_equal(operation, "make-pool")) {
		r = make_pool(task, from, e);
	} else {
		cleanup(pool_free) struct pool *pool = NULL;
		r = open_pool(from, &pool, e);
		if (r == 0)
			r = carry_out(task, pool, operation, e);
	}
	if (r == 0)
		*ret = json_object();
	return r;
}
