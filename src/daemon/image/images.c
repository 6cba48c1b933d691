/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images.c - records of images, and the sweep of layers that nobody names.
 */
#include "daemon/image/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/api.h"
#include "daemon/events.h"
#include "daemon/image/store.h"
#include "daemon/job.h"
#include "daemon/projects.h"
#include "daemon/storage/volumes.h"
#include "model/json.h"

#define FINGERPRINT_LENGTH 64
#define SHORT_MIN          4 /* digits that a beginning of a fingerprint needs */
#define COLLECT_AFTER_NS   (50 * NS_PER_MS)
#define EXPIRY_LOOK_NS     (600 * NS_PER_SEC)

static char *key_of(const char *project, const char *name)
{
	return alloc_printf("%s/%s", project, name);
}

json_t *image_record(const struct images *images, const char *project, const char *fingerprint)
{
	cleanup(free) char *key = key_of(project, fingerprint);
	return json_object_get(images->records, key);
}

json_t *image_alias(const struct images *images, const char *project, const char *name)
{
	cleanup(free) char *key = key_of(project, name);
	return json_object_get(images->aliases, key);
}

/* The value takes the place of the old one, which may be itself. */
static int put(struct images *images, const char *collection, json_t *table, const char *project,
	const char *name, json_t *object, struct error *e)
{
	cleanup(free) char *key = key_of(project, name);
	if (json_object_get(table, key) == object)
		json_incref(object);
	int r = store_put(images->service->store, collection, project, name, object, e);
	if (r < 0)
		json_decref(object);
	else
		json_object_set_new(table, key, object);
	return r;
}

int image_record_put(struct images *images, const char *project, json_t *record, struct error *e)
{
	return put(images, "image", images->records, project, json_text(record, "fingerprint"),
		record, e);
}

int image_alias_put(struct images *images, const char *project, const char *name, json_t *alias,
	struct error *e)
{
	return put(images, "image-alias", images->aliases, project, name, alias, e);
}

int image_alias_remove(
	struct images *images, const char *project, const char *name, struct error *e)
{
	int r = store_remove(images->service->store, "image-alias", project, name, e);
	if (r < 0)
		return r;
	cleanup(free) char *key = key_of(project, name);
	json_object_del(images->aliases, key);
	return 0;
}

static bool key_in_project(const char *key, const char *project, const char **ret_name)
{
	const char *slash = strchr(key, '/');
	*ret_name = slash + 1;
	return !project ||
		(strlen(project) == (size_t)(slash - key) &&
			strncmp(key, project, (size_t)(slash - key)) == 0);
}

void images_each(const struct images *images, const char *project, image_call *call, void *data)
{
	const char *key;
	json_t *record;
	void *next;
	json_object_foreach_safe(images->records, next, key, record)
	{
		const char *name;
		if (!key_in_project(key, project, &name))
			continue;
		cleanup(free) char *of = alloc_text_n(key, (size_t)(name - key - 1));
		call(data, of, record);
	}
}

static json_t *aliases_of(const struct images *images, const char *project, const char *fingerprint)
{
	json_t *list = json_array();
	const char *key;
	json_t *alias;
	json_object_foreach(images->aliases, key, alias)
	{
		const char *name;
		if (key_in_project(key, project, &name) &&
			text_equal(json_text(alias, "target"), fingerprint))
			json_array_append_new(list,
				json_pack("{ssssss}", "name", name, "description",
					json_text(alias, "description") ?: "", "type",
					json_text(alias, "type") ?: "container"));
	}
	return list;
}

json_t *image_shown(const struct images *images, const char *project, const json_t *record)
{
	json_t *shown = json_copy((json_t *)(uintptr_t)record);
	json_object_del(shown, "layers");
	json_object_del(shown, "config");
	json_object_del(shown, "files");
	json_object_del(shown, "disk");
	json_object_del(shown, "disk_bytes");
	json_object_set_new(
		shown, "aliases", aliases_of(images, project, json_text(record, "fingerprint")));
	json_set_text(shown, "project", project);
	return shown;
}

struct beginning {
	const char *text;
	json_t *found;
	unsigned count;
};

static void match_beginning(void *data, const char *project, json_t *record)
{
	struct beginning *beginning = data;
	(void)project;
	if (text_starts(json_text(record, "fingerprint"), beginning->text)) {
		beginning->found = record;
		beginning->count++;
	}
}

int images_find(
	struct images *images, const char *project, const char *name, json_t **ret, struct error *e)
{
	project = project_of(images->service, project, "images");
	const json_t *alias = image_alias(images, project, name);
	struct beginning beginning = { .text = alias ? json_text(alias, "target") : name };
	if (strlen(beginning.text) >= SHORT_MIN)
		images_each(images, project, match_beginning, &beginning);
	if (beginning.count == 0)
		return error_set(e, -ENOENT, "the image \"%s\" does not exist", name);
	if (beginning.count > 1)
		return error_set(e, -EINVAL, "the images are %u that begin with \"%s\"",
			beginning.count, name);
	*ret = beginning.found;
	return 0;
}

void images_touch(struct images *images, const char *project, const char *fingerprint)
{
	project = project_of(images->service, project, "images");
	json_t *record = image_record(images, project, fingerprint);
	char now[TEXT_TIME_SIZE];
	if (!record)
		return;
	json_set_text(record, "last_used_at", text_format_time(loop_wall_clock(), now));
	struct error e = {};
	if (image_record_put(images, project, record, &e) < 0)
		log_warning("note the use of image fingerprint=%s: %s", fingerprint, e.text);
}

char *images_disk_path(const struct images *images, const json_t *image)
{
	const char *disk = json_text(image, "disk");
	return disk ? alloc_printf("%s/images/files/%s", images->service->dir_path, disk) : NULL;
}

char *images_layer_path(const struct images *images, const char *layer)
{
	return alloc_printf("%s/images/layers/%s", images->service->dir_path, layer);
}

static void remove_files(struct images *images, const json_t *record)
{
	size_t index;
	json_t *file;
	json_array_foreach(json_object_get(record, "files"), index, file)
	{
		const char *name = json_string_value(file);
		if (unlinkat(images->files, name, 0) < 0 && errno != ENOENT)
			log_warning("remove image file name=%s: %s", name, strerror(errno));
	}
	const char *disk = json_text(record, "disk");
	if (disk)
		(void)unlinkat(images->files, disk, 0);
}

static void look_for_same(void *data, const char *project, json_t *record)
{
	struct beginning *same = data;
	(void)project;
	same->count += text_equal(json_text(record, "fingerprint"), same->text);
}

int image_remove(
	struct images *images, const char *project, const char *fingerprint, struct error *e)
{
	json_t *record = json_incref(image_record(images, project, fingerprint));
	cleanup(json_decref) json_t *kept = record;
	cleanup(json_decref) json_t *aliases = aliases_of(images, project, fingerprint);
	int r = store_remove(images->service->store, "image", project, fingerprint, e);
	if (r < 0)
		return r;
	cleanup(free) char *key = key_of(project, fingerprint);
	json_object_del(images->records, key);
	size_t index;
	json_t *alias;
	json_array_foreach(aliases, index, alias)
	{
		if (image_alias_remove(images, project, json_text(alias, "name"), NULL) < 0)
			log_warning("image alias stays name=%s", json_text(alias, "name"));
	}
	/* Another project may have the same image; files are shared by fingerprint. */
	struct beginning same = { .text = fingerprint };
	images_each(images, NULL, look_for_same, &same);
	if (same.count == 0)
		remove_files(images, kept);
	images_collect(images);
	cleanup(free) char *url = url_for("/1.0/images", fingerprint, project);
	events_lifecycle(images->service, "image-deleted", project, url, NULL);
	return 0;
}

static void name_layers(json_t *named, const json_t *layers)
{
	size_t index;
	json_t *layer;
	json_array_foreach(layers, index, layer)
	{
		json_object_set_new(named, json_string_value(layer), json_true());
	}
}

static void name_of_image(void *data, const char *project, json_t *record)
{
	(void)project;
	name_layers(data, json_object_get(record, "layers"));
	/* Its files, too: layers and files never have the same name. */
	name_layers(data, json_object_get(record, "files"));
	if (json_text(record, "disk"))
		json_object_set_new(data, json_text(record, "disk"), json_true());
}

static void name_of_volume(void *data, const struct volume_ref *ref, json_t *record)
{
	(void)ref;
	name_layers(data, json_object_get(record, "layers"));
	name_layers(data, json_object_get(json_object_get(record, "next"), "layers"));
	const char *name;
	json_t *snapshot;
	json_t *snapshots = json_object_get(record, "snapshots");
	json_object_foreach(snapshots, name, snapshot)
	{
		name_layers(data, json_object_get(snapshot, "layers"));
	}
}

static void trash_removed(void *data, int code, json_t *result, const struct error *e)
{
	(void)data;
	(void)result;
	if (code < 0)
		log_warning("remove layers: %s", e->text);
}

/* Out of the way by a rename, then removed by a job. */
static void remove_unnamed(struct images *images, int dir, const json_t *named)
{
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = again < 0 ? NULL : fdopendir(again);
	if (!entries)
		return;
	json_t *trash = json_array();
	int tmp = images->service->tmp_dir;
	for (struct dirent *entry; (entry = readdir(entries));) {
		/* A layer's file system for machines is "LAYER.erofs", beside it. */
		cleanup(free) char *layer =
			alloc_text_n(entry->d_name, strcspn(entry->d_name, "."));
		if (entry->d_name[0] == '.' || json_object_get(named, layer) ||
			json_object_get(named, entry->d_name))
			continue;
		cleanup(free) char *random = text_random_hex(8);
		if (renameat(dir, entry->d_name, tmp, random) == 0)
			json_array_append_new(trash, json_string(random));
	}
	closedir(entries);
	if (json_array_size(trash) == 0) {
		json_decref(trash);
		return;
	}
	const struct job_options options = {
		.task = json_pack("{ssso}", "task", "remove", "names", trash),
		.fds = { tmp },
		.fd_count = 1,
		.done = trash_removed,
	};
	struct error e = {};
	if (job_start(images->service, &options, NULL, &e) < 0)
		log_warning("remove layers: %s", e.text);
}

static void collect(void *data)
{
	struct images *images = data;
	/* The end of the import asks again. */
	if (images->busy > 0)
		return;
	cleanup(json_decref) json_t *named = json_object();
	images_each(images, NULL, name_of_image, named);
	volumes_each(images->service->storage, name_of_volume, named);
	remove_unnamed(images, images->layers, named);
	remove_unnamed(images, images->files, named);
}

void images_collect(struct images *images)
{
	if (images)
		timer_set_after(images->collect_timer, COLLECT_AFTER_NS);
}

static void note_expired(void *data, const char *project, json_t *record)
{
	const char *expires = json_text(record, "expires_at");
	char now[TEXT_TIME_SIZE];
	text_format_time(loop_wall_clock(), now);
	/* RFC 3339 in UTC sorts as text; the first year means never. */
	if (expires && !text_starts(expires, "0001-") && !text_starts(expires, "1970-") &&
		strcmp(expires, now) < 0 && json_is_true(json_object_get(record, "cached")))
		json_array_append_new(data,
			json_pack("{ssss}", "project", project, "fingerprint",
				json_text(record, "fingerprint")));
}

/* Images that were fetched for one launch go when their time is over; the others stay, as they were asked for. */
static void expire(void *data)
{
	struct images *images = data;
	cleanup(json_decref) json_t *expired = json_array();
	images_each(images, NULL, note_expired, expired);
	size_t index;
	json_t *image;
	json_array_foreach(expired, index, image)
	{
		struct error e = {};
		if (image_remove(images, json_text(image, "project"),
			    json_text(image, "fingerprint"), &e) < 0)
			log_warning("remove expired image: %s", e.text);
	}
	timer_set_after(images->expiry_timer, EXPIRY_LOOK_NS);
}

static int load_record(void *data, const char *project, const char *name, const json_t *object)
{
	cleanup(free) char *key = key_of(project, name);
	json_object_set_new(data, key, json_deep_copy((json_t *)(uintptr_t)object));
	return 0;
}

static int open_dir(
	struct service *service, const char *path, mode_t mode, int *ret, struct error *e)
{
	int r = file_make_dirs(service->dir, path, mode);
	if (r < 0)
		return error_code(e, r, "make %s/%s", service->dir_path, path);
	*ret = openat(service->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? error_errno(e, "open %s/%s", service->dir_path, path) : 0;
}

int images_open(struct service *service, struct images **ret, struct error *e)
{
	cleanup(images_close) struct images *images = alloc(struct images);
	images->service = service;
	images->records = json_object();
	images->aliases = json_object();
	images->dir = images->layers = images->files = -1;
	images->collect_timer = loop_add_timer(service->loop, collect, images);
	images->expiry_timer = loop_add_timer(service->loop, expire, images);
	int r = open_dir(service, "images", 0711, &images->dir, e);
	if (r == 0)
		r = open_dir(service, "images/layers", 0711, &images->layers, e);
	if (r == 0)
		r = open_dir(service, "images/files", 0700, &images->files, e);
	if (r == 0)
		r = store_each(service->store, "image", NULL, load_record, images->records, e);
	if (r == 0)
		r = store_each(
			service->store, "image-alias", NULL, load_record, images->aliases, e);
	if (r < 0)
		return r;
	/* What an import left when we were killed. */
	images_collect(images);
	timer_set_after(images->expiry_timer, NS_PER_SEC);
	*ret = TAKE_PTR(images);
	return 0;
}

void images_close(struct images *images)
{
	if (!images)
		return;
	source_free(images->collect_timer);
	source_free(images->expiry_timer);
	json_decref(images->records);
	json_decref(images->aliases);
	if (images->dir >= 0)
		close(images->dir);
	if (images->layers >= 0)
		close(images->layers);
	if (images->files >= 0)
		close(images->files);
	free(images);
}
