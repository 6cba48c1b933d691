/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_layout.c - reads mountinfo and our own membership.
 */
#include "host/cgroup_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"

#define PROC_LIMIT_BYTES (4 * MIB)

struct cgroups {
	uint32_t have;
	uint32_t in_v2;
	char *mounts[CGROUP_CONTROLLERS]; /* where the hierarchy of the controller is mounted */
	char *homes[CGROUP_CONTROLLERS];  /* our own group in it */
};

static const struct {
	const char *v1;
	const char *v2;
} names[] = {
	[CGROUP_CPU] = { "cpu", "cpu" },
	[CGROUP_CPUACCT] = { "cpuacct", NULL },
	[CGROUP_CPUSET] = { "cpuset", "cpuset" },
	[CGROUP_MEMORY] = { "memory", "memory" },
	[CGROUP_PIDS] = { "pids", "pids" },
	[CGROUP_IO] = { "blkio", "io" },
	[CGROUP_DEVICES] = { "devices", NULL },
	[CGROUP_FREEZER] = { "freezer", NULL },
	[CGROUP_HUGETLB] = { "hugetlb", "hugetlb" },
	[CGROUP_UNIFIED] = { NULL, NULL },
};
static_assert(ARRAY_SIZE(names) == CGROUP_CONTROLLERS, "one name a controller");

const char *cgroup_controller_name(enum cgroup_controller controller)
{
	if (controller == CGROUP_UNIFIED)
		return "unified";
	return names[controller].v2 ?: names[controller].v1;
}

/* Whether `word` is one of the comma- or space-separated words of `list`. */
static bool list_has(const char *list, const char *word)
{
	size_t length = word ? strlen(word) : 0;
	for (const char *at = list; word && *at; at += strcspn(at, ", \n"), at += *at != '\0')
		if (strncmp(at, word, length) == 0 && strchr(", \n", at[length]))
			return true;
	return false;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* In place: mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *path)
{
	char *to = path;
	for (const char *from = path; *from; to++) {
		if (from[0] == '\\' && is_octal(from[1]) && is_octal(from[2]) &&
			is_octal(from[3])) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* One line of mountinfo. Pointers into the line. */
struct mount_line {
	char *root;
	char *point;
	char *type;
	char *options; /* of the file system */
};

static char *next_word(char **line)
{
	char *word = strsep(line, " ");
	return word ? word : NULL;
}

static bool read_mount(char *line, struct mount_line *ret)
{
	for (int i = 0; i < 3; i++)
		if (!next_word(&line))
			return false;
	ret->root = next_word(&line);
	ret->point = next_word(&line);
	const char *word = "";
	while (word && !text_equal(word, "-"))
		word = next_word(&line);
	ret->type = next_word(&line);
	(void)next_word(&line);
	ret->options = next_word(&line);
	if (!ret->root || !ret->point || !ret->type || !ret->options)
		return false;
	unescape(ret->root);
	unescape(ret->point);
	return true;
}

/* Our group in the hierarchy whose controllers field has `controller`; "" for v2. NULL if none. */
static char *own_group(const char *self, const char *controller)
{
	cleanup(free) char *copy = alloc_text(self);
	char *rest = copy;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		(void)strsep(&line, ":");
		const char *controllers = strsep(&line, ":");
		if (!line || !controllers)
			continue;
		if (*controller ? list_has(controllers, controller) : *controllers == '\0')
			return alloc_text(line);
	}
	return NULL;
}

/* `group` seen below a mount that shows `root` of the hierarchy at `point`. */
static char *home_of(const struct mount_line *mount, const char *group)
{
	size_t length = strlen(mount->root);
	if (length == 1)
		length = 0; /* "/" */
	const char *below = group && strncmp(group, mount->root, length) == 0 ? group + length : "";
	if (*below != '/')
		below = "";
	char *home = alloc_printf("%s%s", mount->point, below);
	size_t end = strlen(home);
	while (end > 1 && home[end - 1] == '/')
		home[--end] = '\0';
	if (text_ends(home, "/" CGROUP_SELF))
		home[end - strlen("/" CGROUP_SELF)] = '\0';
	return home;
}

static void put(struct cgroups *cgroups, enum cgroup_controller controller,
	const struct mount_line *mount, const char *group, bool in_v2)
{
	if (cgroups->have & CGROUP_BIT(controller))
		return;
	cgroups->have |= CGROUP_BIT(controller);
	if (in_v2)
		cgroups->in_v2 |= CGROUP_BIT(controller);
	cgroups->mounts[controller] = alloc_text(mount->point);
	cgroups->homes[controller] = home_of(mount, group);
}

static void take_mount(struct cgroups *cgroups, const struct mount_line *mount, const char *self,
	const char *v2_controllers)
{
	bool is_v2 = text_equal(mount->type, "cgroup2");
	if (!is_v2 && !text_equal(mount->type, "cgroup"))
		return;
	if (is_v2) {
		cleanup(free) char *group = own_group(self, "");
		put(cgroups, CGROUP_UNIFIED, mount, group, true);
		for (unsigned int i = 0; i < CGROUP_UNIFIED; i++)
			if (list_has(v2_controllers, names[i].v2))
				put(cgroups, i, mount, group, true);
		return;
	}
	for (unsigned int i = 0; i < CGROUP_UNIFIED; i++) {
		if (!list_has(mount->options, names[i].v1))
			continue;
		cleanup(free) char *group = own_group(self, names[i].v1);
		put(cgroups, i, mount, group, false);
	}
}

int cgroups_parse(const char *mountinfo, const char *self, const char *v2_controllers,
	struct cgroups **ret, struct error *e)
{
	cleanup(cgroups_free) struct cgroups *cgroups = alloc(struct cgroups);
	cleanup(free) char *copy = alloc_text(mountinfo);
	char *rest = copy;
	for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
		struct mount_line mount;
		if (read_mount(line, &mount))
			take_mount(cgroups, &mount, self, v2_controllers);
	}
	if (cgroups->have == 0)
		return error_set(e, -ENODEV, "no cgroup file system is mounted");
	*ret = TAKE_PTR(cgroups);
	return 0;
}

int cgroups_open(struct cgroups **ret, struct error *e)
{
	cleanup(free) char *mountinfo = NULL;
	cleanup(free) char *self = NULL;
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", PROC_LIMIT_BYTES, &mountinfo, NULL, e);
	if (r == 0)
		r = file_read(AT_FDCWD, "/proc/self/cgroup", PROC_LIMIT_BYTES, &self, NULL, e);
	if (r < 0)
		return r;
	/* Which controllers the v2 tree has is written in it, so it is found in a first look. */
	cleanup(cgroups_free) struct cgroups *first = NULL;
	r = cgroups_parse(mountinfo, self, "", &first, e);
	if (r < 0)
		return r;
	char controllers[512] = "";
	if (first->homes[CGROUP_UNIFIED]) {
		cleanup(free) char *path =
			alloc_printf("%s/cgroup.controllers", first->homes[CGROUP_UNIFIED]);
		if (file_read_line(AT_FDCWD, path, controllers, sizeof(controllers)) < 0)
			controllers[0] = '\0';
	}
	return cgroups_parse(mountinfo, self, controllers, ret, e);
}

void cgroups_free(struct cgroups *cgroups)
{
	if (!cgroups)
		return;
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
		free(cgroups->mounts[i]);
		free(cgroups->homes[i]);
	}
	free(cgroups);
}

void cgroups_use_top(struct cgroups *cgroups)
{
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
		free(cgroups->homes[i]);
		cgroups->homes[i] = alloc_text(cgroups->mounts[i]);
	}
}

uint32_t cgroups_have(const struct cgroups *cgroups)
{
	return cgroups->have;
}

bool cgroups_is_v2(const struct cgroups *cgroups, enum cgroup_controller controller)
{
	return cgroups->in_v2 & CGROUP_BIT(controller);
}

const char *cgroups_home(const struct cgroups *cgroups, enum cgroup_controller controller)
{
	return cgroups->homes[controller];
}

static bool is_below(const char *path, const char *top)
{
	size_t length = strlen(top);
	return strncmp(path, top, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

uint32_t cgroups_of_dir(const struct cgroups *cgroups, const char *dir)
{
	/* The deepest mount above `dir` is its hierarchy: a v2 tree may be mounted within a v1's. */
	size_t deepest = 0;
	uint32_t found = 0;
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
		const char *mount = cgroups->mounts[i];
		if (!mount || !is_below(dir, mount))
			continue;
		size_t length = strlen(mount);
		if (length > deepest)
			found = 0;
		if (length >= deepest) {
			found |= CGROUP_BIT(i);
			deepest = length;
		}
	}
	return found;
}
