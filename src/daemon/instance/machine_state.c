/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_state.c - files "state" and "snapshot-NAME.state" with a ".json" beside each.
 */
#include "daemon/instance/machine_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "abi/runner.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/machine_change.h"
#include "disk/tree.h"
#include "model/json.h"

#define MACHINE_PLAN "machine.json"

static char *name_of(const char *snapshot, const char *end)
{
	return snapshot ? alloc_printf("snapshot-%s.state%s", snapshot, end)
			: alloc_printf("state%s", end);
}

int machine_state_check(const struct instance *instance, struct error *e)
{
	if (!(instance->kind->can & KIND_IS_MACHINE))
		return error_set(
			e, -EINVAL, "stateful: a %s has no state to keep", instance->kind->name);
	if (!instance->live || instance->state != INSTANCE_RUNNING)
		return error_set(e, -EINVAL, "stateful: the instance does not run");
	return 0;
}

struct saving {
	struct instance *instance;
	char *snapshot;
	machine_state_done *done;
	void *data;
};

static int copy_in(int dir, const char *from, const char *to, struct error *e)
{
	cleanup(close) int in = openat(dir, from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	cleanup(close) int out =
		openat(dir, to, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (in < 0 || out < 0)
		return error_errno(e, "copy %s to %s", from, to);
	return tree_copy_file(in, out, e);
}

/* The same file under another name: nobody writes to one that is whole. */
static int link_in(int from_dir, const char *from, int to_dir, const char *to, struct error *e)
{
	if (unlinkat(to_dir, to, 0) < 0 && errno != ENOENT)
		return error_errno(e, "remove %s", to);
	return linkat(from_dir, from, to_dir, to, 0) < 0 ? error_errno(e, "link %s to %s", from, to)
							 : 0;
}

/* A unikernel's state says itself what it is of. */
static bool has_shape(const struct instance *instance)
{
	return (instance->kind->can & KIND_HAS_AGENT) != 0;
}

/* Whole, it gets its name; the shape first. */
static int keep(const struct saving *saving, struct error *e)
{
	cleanup(close) int dir = -1;
	cleanup(free) char *new = name_of(saving->snapshot, ".new");
	cleanup(free) char *shape = name_of(saving->snapshot, ".json");
	cleanup(free) char *name = name_of(saving->snapshot, "");
	int r = instance_open_dir(saving->instance, &dir, e);
	if (r == 0 && has_shape(saving->instance))
		r = copy_in(dir, MACHINE_PLAN, shape, e);
	if (r == 0 && renameat(dir, new, dir, name) < 0)
		r = error_errno(e, "keep the state");
	return r;
}

static void saved(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	struct saving *saving = data;
	struct error error = {};
	(void)bytes;
	(void)length;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (code == 0) {
		code = keep(saving, &error);
		e = &error;
	}
	if (code < 0)
		machine_state_drop(saving->instance, saving->snapshot);
	saving->done(saving->data, code, e);
	free(saving->snapshot);
	free(saving);
}

int machine_state_save(struct instance *instance, const char *snapshot, machine_state_done *done,
	void *data, struct error *e)
{
	struct runner_header message = { .type = RUNNER_SUSPEND };
	cleanup(close) int dir = -1, fd = -1;
	cleanup(free) char *new = name_of(snapshot, ".new");
	int r = instance_open_dir(instance, &dir, e);
	if (r < 0)
		return r;
	fd = openat(dir, new, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(e, "make a file for the state");
	struct saving *saving = alloc(struct saving);
	*saving = (struct saving){ instance, alloc_text(snapshot), done, data };
	r = live_send(instance->live, &message, sizeof(message), fd, saved, saving, e);
	if (r < 0) {
		free(saving->snapshot);
		free(saving);
	}
	return r;
}

static void resumed(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	(void)data;
	(void)bytes;
	(void)length;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (code < 0)
		log_error("a machine does not go on: %s", e->text);
}

void machine_state_resume(struct instance *instance)
{
	struct runner_header message = { .type = RUNNER_RESUME };
	struct error e = {};
	if (instance->live &&
		live_send(instance->live, &message, sizeof(message), -1, resumed, instance, &e) < 0)
		log_error("not resumed instance=%s: %s", instance->name, e.text);
}

bool machine_state_exists(const struct instance *instance, const char *snapshot)
{
	cleanup(close) int dir = -1;
	cleanup(free) char *name = name_of(snapshot, "");
	return instance_open_dir(instance, &dir, NULL) == 0 &&
		faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *machine_state_path(const struct instance *instance)
{
	if (!json_is_true(json_object_get(instance->object, "stateful")) ||
		!machine_state_exists(instance, NULL))
		return NULL;
	cleanup(free) char *dir = instance_dir_path(instance);
	return alloc_printf("%s/%s/state", instance->service->dir_path, dir);
}

void machine_state_drop(const struct instance *instance, const char *snapshot)
{
	static const char *const ends[] = { "", ".json", ".new" };
	cleanup(close) int dir = -1;
	if (!(instance->kind->can & KIND_IS_MACHINE) || instance_open_dir(instance, &dir, NULL) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		cleanup(free) char *name = name_of(snapshot, ends[i]);
		(void)unlinkat(dir, name, 0);
	}
}

void machine_state_rename(const struct instance *instance, const char *from, const char *to)
{
	static const char *const ends[] = { ".json", "" };
	cleanup(close) int dir = -1;
	if (!(instance->kind->can & KIND_IS_MACHINE) || instance_open_dir(instance, &dir, NULL) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		cleanup(free) char *old = name_of(from, ends[i]);
		cleanup(free) char *new = name_of(to, ends[i]);
		if (renameat(dir, old, dir, new) < 0 && errno != ENOENT)
			log_error("rename a state instance=%s: %m", instance->name);
	}
}

int machine_state_take(struct instance *instance, const char *snapshot, struct error *e)
{
	cleanup(close) int dir = -1;
	cleanup(free) char *name = name_of(snapshot, "");
	cleanup(free) char *shape = name_of(snapshot, ".json");
	int r = instance_open_dir(instance, &dir, e);
	if (r == 0 && has_shape(instance))
		r = link_in(dir, shape, dir, "state.json", e);
	if (r == 0)
		r = link_in(dir, name, dir, "state", e);
	if (r == 0) {
		json_set_bool(instance->object, "stateful", true);
		r = instance_save(instance, e);
	}
	return r;
}

bool machine_state_can_copy(const struct instance *instance, const char *snapshot)
{
	return (instance->kind->can & KIND_IS_MACHINE) && !has_shape(instance) &&
		machine_state_exists(instance, snapshot);
}

int machine_state_copy(const struct instance *from, const char *from_snapshot, struct instance *to,
	const char *to_snapshot, struct error *e)
{
	cleanup(close) int from_dir = -1, to_dir = -1;
	cleanup(free) char *from_name = name_of(from_snapshot, "");
	cleanup(free) char *to_name = name_of(to_snapshot, "");
	if (!machine_state_can_copy(from, from_snapshot))
		return 0;
	int r = instance_open_dir(from, &from_dir, e);
	if (r == 0)
		r = instance_open_dir(to, &to_dir, e);
	if (r == 0)
		r = link_in(from_dir, from_name, to_dir, to_name, e);
	if (r == 0 && !to_snapshot)
		json_set_bool(to->object, "stateful", true);
	return r;
}

void machine_state_forget(struct instance *instance)
{
	struct error e = {};
	if (!json_is_true(json_object_get(instance->object, "stateful")))
		return;
	json_set_bool(instance->object, "stateful", false);
	if (instance_save(instance, &e) < 0)
		log_error("not stored instance=%s: %s", instance->name, e.text);
	machine_state_drop(instance, NULL);
}

void machine_state_used(struct instance *instance)
{
	if (!json_is_true(json_object_get(instance->object, "stateful")))
		return;
	machine_state_forget(instance);
	if (has_shape(instance))
		machine_tell(instance, json_pack("{s:b}", "clock", 1));
}
