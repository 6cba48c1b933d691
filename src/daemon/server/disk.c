/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - a volume is made, filled by the agent or given to it, and compared by its digest.
 */
#include "daemon/server/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/volume.h"
#include "daemon/job.h"
#include "daemon/server/line.h"
#include "daemon/server/work.h"
#include "daemon/storage/storage.h"
#include "model/json.h"

/* A disk on its way, in either direction. */
struct moving {
	struct service *service;
	char *project, *name;
	bool is_back;
	server_done *done;
	void *data;
};

static void moved(struct moving *moving, int code, const struct error *e)
{
	static const struct error none;
	moving->done(moving->data, code, e ?: &none);
	free(moving->project);
	free(moving->name);
	free(moving);
}

static struct instance *instance_of(const struct moving *moving)
{
	return instance_find(moving->service, moving->project, moving->name);
}

static struct server *server_of(const struct moving *moving)
{
	struct server *server = server_of_instance(moving->service, moving->project, moving->name);
	return server && server->work ? server : NULL;
}

static int open_volume(
	const struct instance *instance, int flags, char **ret_path, int *ret, struct error *e)
{
	struct volume_ref ref;
	cleanup(json_decref) json_t *plan = NULL;
	instance_volume(instance, NULL, &ref);
	int r = storage_volume_plan(instance->service->storage, &ref, &plan, e);
	if (r < 0)
		return r;
	cleanup(free) char *path = alloc_text(json_text(plan, "path"));
	int fd = path ? open(path, flags | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return error_errno(e, "open the volume");
	*ret = fd;
	if (ret_path)
		*ret_path = TAKE_PTR(path);
	return 0;
}

void server_disk_empty(const struct instance *instance)
{
	struct error e = {};
	struct stat status;
	struct volume_ref ref;
	cleanup(close) int fd = -1;
	instance_volume(instance, NULL, &ref);
	if (!ref.pool || !storage_volume_exists(instance->service->storage, &ref))
		return;
	int r = open_volume(instance, O_RDWR, NULL, &fd, &e);
	if (r == 0 &&
		(fstat(fd, &status) < 0 ||
			(status.st_size > 0 &&
				fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
					status.st_size) < 0)))
		r = error_errno(&e, "empty the volume");
	if (r < 0)
		log_warning("the copy of a server's disk stays instance=%s: %s", instance->name,
			e.text);
}

/* Of the disk that the image was put on, by its serial number or its name. */
static int disk_size(const struct server *server, uint64_t *ret, struct error *e)
{
	const json_t *disks =
		json_object_get(json_object_get(server->object, "inventory"), "disks");
	const char *wanted = server_text(server, "disk") ?: "";
	for (size_t i = 0; i < json_array_size(disks); i++) {
		const json_t *disk = json_array_get(disks, i);
		if (!text_equal(json_text(disk, "serial"), wanted) &&
			!text_equal(json_text(disk, "name"), wanted))
			continue;
		*ret = (uint64_t)json_integer_value(json_object_get(disk, "bytes"));
		return 0;
	}
	return error_set(
		e, -ENOENT, "%s: the disk \"%s\" is not in its inventory", server->name, wanted);
}

static int check(const struct instance *instance, enum server_event event, struct server **ret,
	struct error *e)
{
	struct server *server =
		server_of_instance(instance->service, instance->project, instance->name);
	enum server_state next;
	if (!server || !server->work)
		return error_set(e, -ENOENT, "The instance has no server");
	if (instance->state != INSTANCE_STOPPED)
		return error_set(e, -EBUSY, "The instance is running; stop it first");
	*ret = server;
	return server_next(server->state, event, &next, e);
}

/* The agent counted while it read, this host counts what came. */
static void counted(void *data, int code, json_t *result, const struct error *e)
{
	struct moving *moving = data;
	const struct server *server = server_of(moving);
	const char *digest = json_text(result, "digest") ?: "";
	struct error error = {};
	if (code == 0 && (!server || !text_equal(digest, server_text(server, "saved")))) {
		e = &error;
		code = error_set(&error, -EIO, "the disk came with SHA-256 %s, not %s", digest,
			(server ? server_text(server, "saved") : NULL) ?: "");
	}
	moved(moving, code, e);
}

static void put_back(struct moving *moving, const char *digest);

static void counted_for_way_back(void *data, int code, json_t *result, const struct error *e)
{
	struct moving *moving = data;
	if (code < 0)
		moved(moving, code, e);
	else
		put_back(moving, json_text(result, "digest") ?: "");
}

static void count(struct moving *moving)
{
	const struct instance *instance = instance_of(moving);
	struct error e = {};
	cleanup(close) int fd = -1;
	int r = instance ? open_volume(instance, O_RDONLY, NULL, &fd, &e)
			 : error_set(&e, -ENOENT, "The instance is gone");
	if (r == 0)
		r = job_start(moving->service,
			&(struct job_options){ .task = json_pack("{s:s}", "task", "digest"),
				.fds = { fd },
				.fd_count = 1,
				.done = moving->is_back ? counted_for_way_back : counted,
				.data = moving },
			NULL, &e);
	if (r < 0)
		moved(moving, r, &e);
}

static void came(void *data, int code, const struct error *e)
{
	if (code < 0)
		moved(data, code, e);
	else
		count(data);
}

static void volume_is_there(void *data, int code, const struct error *e)
{
	struct moving *moving = data;
	struct server *server = server_of(moving);
	const struct instance *instance = instance_of(moving);
	struct error error = {};
	cleanup(free) char *path = NULL;
	cleanup(close) int fd = -1;
	uint64_t bytes = 0;
	if (code == 0 && (!server || !instance))
		code = error_set(&error, -ENOENT, "The instance is gone");
	if (code == 0)
		code = disk_size(server, &bytes, &error);
	if (code == 0)
		code = open_volume(instance, O_RDWR, &path, &fd, &error);
	/* What an interrupted one left must not stand where the disk has zeros. */
	if (code == 0 && (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)bytes) < 0))
		code = error_errno(&error, "make the volume as large as the disk");
	if (code == 0) {
		json_object_set_new(server->object, "saving",
			json_pack("{s:s, s:I}", "path", path, "bytes", (json_int_t)bytes));
		code = server_go(server, SERVER_SAVE, came, moving, &error);
	}
	if (code < 0)
		moved(moving, code, error.text[0] ? &error : e);
}

static struct moving *moving_new(
	const struct instance *instance, bool is_back, server_done *done, void *data)
{
	struct moving *moving = alloc(struct moving);
	*moving = (struct moving){ .service = instance->service,
		.project = alloc_text(instance->project),
		.name = alloc_text(instance->name),
		.is_back = is_back,
		.done = done,
		.data = data };
	return moving;
}

static void begin(void *data)
{
	volume_is_there(data, 0, NULL);
}

int server_disk_save(struct instance *instance, server_done *done, void *data, struct error *e)
{
	struct storage *storage = instance->service->storage;
	struct server *server = NULL;
	struct volume_ref ref;
	uint64_t bytes = 0;
	int r = check(instance, SERVER_SAVE, &server, e);
	if (r == 0)
		r = disk_size(server, &bytes, e);
	instance_volume(instance, NULL, &ref);
	if (r == 0 && !ref.pool)
		r = error_set(e, -EINVAL,
			"The instance has no root device whose pool could hold the snapshot");
	if (r < 0)
		return r;
	struct moving *moving = moving_new(instance, false, done, data);
	if (storage_volume_exists(storage, &ref)) {
		loop_defer(instance->service->loop, begin, moving);
		return 0;
	}
	r = storage_volume_create(storage, &ref, &(struct volume_options){ .size_bytes = bytes },
		volume_is_there, moving, e);
	if (r < 0) {
		free(moving->project);
		free(moving->name);
		free(moving);
	}
	return r;
}

static void put_back(struct moving *moving, const char *digest)
{
	struct server *server = server_of(moving);
	const struct instance *instance = instance_of(moving);
	struct error e = {};
	cleanup(free) char *path = NULL;
	cleanup(close) int fd = -1;
	struct stat status = {};
	int r = server && instance ? open_volume(instance, O_RDONLY, &path, &fd, &e)
				   : error_set(&e, -ENOENT, "The instance is gone");
	if (r == 0 && fstat(fd, &status) < 0)
		r = error_errno(&e, "look at the volume");
	if (r == 0) {
		json_t *deployment = json_pack("{s:s, s:s, s:I, s:[], s:b, s:s, s:O?}", "path",
			path, "digest", digest, "bytes", (json_int_t)status.st_size, "files",
			"is_plain", 1, "disk", server_text(server, "disk") ?: "", "vlan",
			json_object_get(json_object_get(server->object, "deployment"), "vlan"));
		json_object_set_new(
			deployment, "agent", json_boolean(server_line_is_wanted(instance)));
		r = server_deploy(server, SERVER_REBUILD, moving->project, moving->name, deployment,
			moving->done, moving->data, &e);
	}
	if (r < 0) {
		moved(moving, r, &e);
		return;
	}
	free(moving->project);
	free(moving->name);
	free(moving);
}

int server_disk_put_back(struct instance *instance, server_done *done, void *data, struct error *e)
{
	struct server *server = NULL;
	int r = check(instance, SERVER_REBUILD, &server, e);
	if (r < 0)
		return r;
	count(moving_new(instance, true, done, data));
	return 0;
}
