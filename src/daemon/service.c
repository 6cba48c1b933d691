/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - the directory, the lock, the store and the programs of berthd.
 */
#include "daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "model/json.h"

#define USED_BY_CALLS_MAX 16

struct used_by {
	used_by_call *calls[USED_BY_CALLS_MAX];
	size_t count;
};

static int make_dirs(struct service *service, struct error *e)
{
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = {
		{ "images", 0711 },
		{ "pools", 0711 },
		{ "instances", 0711 },
		{ "networks", 0711 },
		{ "tmp", 0700 },
	};
	/* What a daemon that was killed left half-way is worth nothing. */
	int r = file_remove_tree(service->dir, "tmp");
	if (r < 0)
		return error_code(e, r, "empty %s/tmp", service->dir_path);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(service->dir, dirs[i].name, dirs[i].mode) < 0 && errno != EEXIST)
			return error_errno(e, "make %s/%s", service->dir_path, dirs[i].name);
	service->tmp_dir = openat(service->dir, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (service->tmp_dir < 0)
		return error_errno(e, "open %s/tmp", service->dir_path);
	return 0;
}

/* The lock is on the directory itself: no file to be left behind, none to be removed by mistake. */
static int open_dir(struct service *service, const char *path, struct error *e)
{
	int r = file_make_dirs(AT_FDCWD, path, 0711);
	if (r < 0)
		return error_code(e, r, "make %s", path);
	service->dir_path = realpath(path, NULL);
	if (!service->dir_path)
		return error_errno(e, "open %s", path);
	service->dir = open(service->dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (service->dir < 0)
		return error_errno(e, "open %s", path);
	if (flock(service->dir, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
			? error_set(e, -EBUSY, "%s: another berthd serves this directory", path)
			: error_errno(e, "lock %s", path);
	return make_dirs(service, e);
}

static int read_id(struct service *service, struct error *e)
{
	cleanup(json_decref) json_t *object = NULL;
	int r = store_get(service->store, "service", "", "id", &object, NULL);
	const char *id = r == 0 ? json_text(object, "id") : NULL;
	if (r == 0 && (!id || strlen(id) != SERVICE_ID_SIZE - 1))
		return error_set(e, -EBADMSG, "the store's service id is damaged");
	if (r < 0 && r != -ENOENT)
		return store_get(service->store, "service", "", "id", &object, e);
	cleanup(free) char *made = NULL;
	if (!id) {
		id = made = text_random_hex((SERVICE_ID_SIZE - 1) / 2);
		object = json_pack("{s:s}", "id", id);
		r = store_put(service->store, "service", "", "id", object, e);
		if (r < 0)
			return r;
	}
	memcpy(service->id, id, SERVICE_ID_SIZE);
	return 0;
}

/* Where this program itself is. */
static char *own_dir(void)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (length <= 0)
		return alloc_text("/usr/libexec/berth");
	path[length] = '\0';
	char *slash = strrchr(path, '/');
	*slash = '\0';
	return alloc_text(path);
}

int service_open(struct loop *loop, const struct service_options *options, struct service **ret,
	struct error *e)
{
	cleanup(service_close) struct service *service = alloc(struct service);
	service->loop = loop;
	service->dir = service->tmp_dir = -1;
	/* Without it each runner makes its own. */
	(void)!jail_rooms_make(&service->rooms, NULL);
	service->has_test_hooks = options->has_test_hooks;
	service->started_ns = loop_wall_clock();
	service->used_by = alloc(struct used_by);
	const char *libexec = getenv("BERTH_LIBEXEC");
	service->libexec = libexec && *libexec ? alloc_text(libexec) : own_dir();
	int r = open_dir(service, options->dir_path, e);
	if (r < 0)
		return r;
	r = store_open(options->store, service->dir, &service->store, e);
	if (r < 0)
		return r;
	r = read_id(service, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(service);
	return 0;
}

void service_close(struct service *service)
{
	if (!service)
		return;
	store_close(service->store);
	if (service->tmp_dir >= 0)
		close(service->tmp_dir);
	jail_rooms_close(&service->rooms);
	if (service->dir >= 0)
		close(service->dir);
	free(service->used_by);
	free(service->dir_path);
	free(service->libexec);
	free(service);
}

int service_program(const struct service *service, const char *name, char **ret, struct error *e)
{
	/* "berth-container" stands in build/src/container/, beside build/src/daemon/; berth-tender-run in tender/. */
	const char *short_name = text_starts(name, "berth-") ? name + 6 : name;
	cleanup(free) char *folder = alloc_text_n(short_name, strcspn(short_name, "-"));
	char *paths[] = {
		alloc_printf("%s/%s", service->libexec, name),
		alloc_printf("%s/%s/%s", service->libexec, folder, name),
		alloc_printf("%s/../%s/%s", service->libexec, folder, name),
		alloc_printf("%s/../libexec/berth/%s", service->libexec, name),
	};
	char *found = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!found && access(paths[i], X_OK) == 0)
			found = TAKE_PTR(paths[i]);
		free(paths[i]);
	}
	if (!found)
		return error_set(e, -ENOENT, "the program %s is not in %s (BERTH_LIBEXEC)", name,
			service->libexec);
	*ret = found;
	return 0;
}

void used_by_add(struct service *service, used_by_call *call)
{
	assert(service->used_by->count < USED_BY_CALLS_MAX);
	service->used_by->calls[service->used_by->count++] = call;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(
		json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

json_t *used_by_list(
	struct service *service, const char *kind, const char *project, const char *name)
{
	cleanup(json_decref) json_t *urls = json_array();
	for (size_t i = 0; i < service->used_by->count; i++)
		service->used_by->calls[i](service, kind, project, name, urls);
	size_t count = json_array_size(urls);
	cleanup(free) json_t **sorted = alloc_array(count + 1, json_t *);
	for (size_t i = 0; i < count; i++)
		sorted[i] = json_array_get(urls, i);
	qsort(sorted, count, sizeof(json_t *), compare_texts);
	json_t *result = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append(result, sorted[i]);
	return result;
}
