/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_backup.c - what a backup of an instance says of itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "job/jail.h"
#include "job/metadata.h"
#include "job/tasks.h"
#include "job/template_files.h"
#include "job/unpack.h"
#include "model/json.h"

#define INDEX_BYTES_MAX (4 * MIB)
#define INDEX           "backup/index.yaml"
#define INDEX_OLD       "backup/meta/index.yaml" /* of berth's first archives */
#define VOLUME          "backup/container"
#define TEMPLATES       VOLUME "/templates"

static bool wants(const char *name)
{
	static const char *const names[] = { "", "backup", INDEX, "backup/meta", INDEX_OLD, VOLUME,
		VOLUME "/metadata.yaml", TEMPLATES };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (text_equal(name, names[i]))
			return true;
	return text_starts(name, TEMPLATES "/");
}

/* What the trees of an archive take: its root, and each snapshot's. They stand one behind the other. */
struct weight {
	char tree[256];
	uint64_t bytes, most_bytes;
};

/* A file takes whole blocks, and a little for its name. */
static void weigh(void *data, const char *name, uint64_t bytes)
{
	struct weight *weight = data;
	const char *root = strstr(name, "/rootfs");
	size_t length = root ? (size_t)(root - name) : 0;
	if (!length || length >= sizeof(weight->tree) || bytes > UNPACK_BYTES_MAX)
		return;
	if (strncmp(weight->tree, name, length) != 0 || weight->tree[length]) {
		memcpy(weight->tree, name, length);
		weight->tree[length] = '\0';
		weight->bytes = 0;
	}
	weight->bytes += (bytes + 4095) / 4096 * 4096 + 512;
	if (weight->bytes > weight->most_bytes)
		weight->most_bytes = weight->bytes;
}

/* 0 and no *ret if there is none. */
static int read_yaml(int stage, const char *path, json_t **ret, struct error *e)
{
	struct stat status;
	cleanup(close) int fd = file_open_beneath(stage, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) ||
		status.st_size > (off_t)INDEX_BYTES_MAX)
		return error_set(e, -EINVAL, "%s: it is no file of at most %d bytes", path,
			(int)INDEX_BYTES_MAX);
	size_t length = (size_t)status.st_size;
	cleanup(free) char *yaml = alloc_zeroed(1, length + 1);
	int r = file_read_at(fd, yaml, length, 0);
	if (r < 0)
		return error_code(e, r, "read %s", path);
	r = metadata_read(yaml, length, ret, e);
	return r < 0 ? error_prefix(e, r, "%s", path) : 0;
}

static int read_index(int stage, json_t *told, struct error *e)
{
	json_t *index = NULL, *metadata = NULL;
	int r = read_yaml(stage, INDEX, &index, e);
	json_object_set_new(told, "is_old", json_boolean(r == 0 && !index));
	if (r == 0 && !index)
		r = read_yaml(stage, INDEX_OLD, &index, e);
	if (r == 0 && !index)
		r = error_set(e, -EINVAL, "the archive is no backup: it has no %s", INDEX);
	if (r < 0)
		return r;
	json_object_set_new(told, "index", index);
	r = read_yaml(stage, VOLUME "/metadata.yaml", &metadata, e);
	if (r < 0 || !metadata)
		return r;
	json_object_set_new(told, "metadata", metadata);
	cleanup(close) int volume = file_open_beneath(stage, VOLUME, O_RDONLY | O_DIRECTORY, 0);
	if (volume < 0)
		return error_code(e, volume, "open %s", VOLUME);
	return template_files_read(volume, json_object_get(metadata, "templates"), e);
}

int task_backup_index(struct task *task, json_t **ret, struct error *e)
{
	task->stage = "read";
	int archive = task_fd(task, 0, e), stage = task_fd(task, 1, e), out = task_fd(task, 2, e);
	if (archive < 0 || stage < 0 || out < 0)
		return -EBADF;
	int r = jail_files(&stage, 1, e);
	struct weight weight = {};
	struct unpack_options options = {
		.wants = wants, .left_out = weigh, .bytes_max = 2 * INDEX_BYTES_MAX, .data = &weight
	};
	struct unpack_result result;
	if (r == 0)
		r = unpack_archive(archive, stage, &options, NULL, &result, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *told = json_object();
	json_object_set_new(told, "root_bytes", json_integer((json_int_t)weight.most_bytes));
	r = read_index(stage, told, e);
	if (r < 0)
		return r;
	cleanup(free) char *text = json_dumps(told, JSON_COMPACT);
	r = text ? file_write_all(out, text, strlen(text)) : -ENOMEM;
	if (r < 0)
		return error_code(e, r, "tell what the backup says");
	*ret = json_object();
	return 0;
}
