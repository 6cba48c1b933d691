/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box.c - a directory a container.
 */
#include "container/oci/box.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

#define STATE_BYTES_MAX (4 * MIB)

void box_done(struct box *box)
{
	free(box->root);
	free(box->id);
	json_decref(box->state);
	if (box->dir > 0)
		close(box->dir);
	*box = (struct box){};
}

bool box_is_id(const char *id)
{
	if (!*id || strlen(id) > 255 || !strcmp(id, ".") || !strcmp(id, ".."))
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("_+-.", *id))
			return false;
	return true;
}

static int check_id(const char *id, struct error *e)
{
	if (box_is_id(id))
		return 0;
	return error_set(
		e, -EINVAL, "container id \"%.100s\": letters, digits and _+-. are wanted", id);
}

int box_make(const char *root, const char *id, struct box *ret, struct error *e)
{
	int r = check_id(id, e);
	if (r < 0)
		return r;
	r = file_make_dirs(AT_FDCWD, root, 0700);
	if (r < 0)
		return error_code(e, r, "make %s", root);
	cleanup(free) char *path = alloc_printf("%s/%s", root, id);
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? error_set(e, -EEXIST, "container %s exists already", id)
				       : error_errno(e, "make %s", path);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return error_errno(e, "open %s", path);
	*ret = (struct box){ alloc_text(root), alloc_text(id), dir, json_object() };
	return 0;
}

int box_open(const char *root, const char *id, struct box *ret, struct error *e)
{
	int r = check_id(id, e);
	if (r < 0)
		return r;
	cleanup(free) char *path = alloc_printf("%s/%s", root, id);
	cleanup(close) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? error_set(e, -ENOENT, "container %s does not exist", id)
				       : error_errno(e, "open %s", path);
	cleanup(free) char *text = NULL;
	size_t length;
	r = file_read(dir, BOX_STATE_FILE, STATE_BYTES_MAX, &text, &length, NULL);
	if (r < 0 && r != -ENOENT)
		return error_code(e, r, "read the state of container %s", id);
	/* Without it the creation was cut off: there is a container, which can be deleted. */
	json_t *state = r == 0 ? json_loadb(text, length, 0, NULL) : json_object();
	if (!state)
		state = json_object();
	*ret = (struct box){ alloc_text(root), alloc_text(id), TAKE_FD(dir), state };
	return 0;
}

int box_save(struct box *box, struct error *e)
{
	cleanup(free) char *text = json_dumps(box->state, JSON_INDENT(1));
	return file_replace(box->dir, BOX_STATE_FILE, text, strlen(text), 0600, e);
}

int box_remove(struct box *box, struct error *e)
{
	cleanup(free) char *path = alloc_printf("%s/%s", box->root, box->id);
	int r = file_remove_tree(AT_FDCWD, path);
	return r < 0 ? error_code(e, r, "remove %s", path) : 0;
}

uint64_t box_process_started(pid_t pid)
{
	char path[64], text[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read_line(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	/* Behind the name in brackets, which may hold anything: state is field 3, start 22. */
	const char *at = strrchr(text, ')');
	if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
		return 0;
	at += 2;
	for (int field = 3; field < 22 && at; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	return at ? strtoull(at, NULL, 10) : 0;
}

pid_t box_pid(const struct box *box)
{
	pid_t pid = (pid_t)json_integer_value(json_object_get(box->state, "pid"));
	uint64_t started = (uint64_t)json_integer_value(json_object_get(box->state, "pidStarted"));
	return pid > 0 && started && box_process_started(pid) == started ? pid : 0;
}

static bool is_frozen(const struct box *box)
{
	cleanup(cgroup_free) struct cgroup *group = NULL;
	if (box_cgroup(box, &group, NULL) < 0 || !group)
		return false;
	char text[64] = "";
	if (group->dirs[CGROUP_UNIFIED]) {
		cleanup(free) char *path =
			alloc_printf("%s/cgroup.freeze", group->dirs[CGROUP_UNIFIED]);
		return file_read_line(AT_FDCWD, path, text, sizeof(text)) > 0 && text[0] == '1';
	}
	if (group->dirs[CGROUP_FREEZER]) {
		cleanup(free) char *path =
			alloc_printf("%s/freezer.state", group->dirs[CGROUP_FREEZER]);
		return file_read_line(AT_FDCWD, path, text, sizeof(text)) > 0 && text[0] == 'F';
	}
	return false;
}

const char *box_status(const struct box *box)
{
	if (!json_object_get(box->state, "pid"))
		return "creating";
	if (!box_pid(box))
		return "stopped";
	if (faccessat(box->dir, BOX_START_FILE, F_OK, 0) == 0)
		return "created";
	return is_frozen(box) ? "paused" : "running";
}

int box_cgroup(const struct box *box, struct cgroup **ret, struct error *e)
{
	*ret = NULL;
	const json_t *dirs = json_object_get(box->state, "cgroups");
	size_t count = json_array_size(dirs);
	if (count == 0)
		return 0;
	cleanup(free) const char **list = alloc_array(count + 1, const char *);
	for (size_t i = 0; i < count; i++)
		list[i] = json_string_value(json_array_get(dirs, i));
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	int r = cgroups_open(&cgroups, e);
	return r < 0 ? r : cgroup_open(cgroups, list, ret, e);
}

char *box_state_text(const struct box *box, const char *status, pid_t pid)
{
	json_t *state = json_pack("{s:s, s:s, s:s, s:i}", "ociVersion",
		json_string_value(json_object_get(box->state, "ociVersion")) ?: "1.0.0", "id",
		box->id, "status", status, "pid", (int)pid);
	static const char *const kept[] = { "bundle", "rootfs", "created", "owner", "annotations" };
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (json_object_get(box->state, kept[i]))
			json_object_set(state, kept[i], json_object_get(box->state, kept[i]));
	char *text = json_dumps(state, JSON_INDENT(2));
	json_decref(state);
	return text;
}
