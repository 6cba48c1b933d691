/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup.c - groups as directories.
 *
 * Theory of operation. In v2 a controller is there for a group only if its parent enables it, and a
 * parent that does may hold no process: enable() walks from home to the group's parent, and if home
 * holds us (or who started with us), they are moved into a leaf first. In v1 a new cpuset has no CPUs
 * and no memory nodes, and no process can join it before they are copied from the parent.
 */
#include "host/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

#define WAIT_STEPS   2000 /* of a millisecond each */
#define CPUSET_BYTES 4096
#define KILL_ROUNDS  8
#define KILL_PIDS    4096

static void list_dirs(struct cgroup *group)
{
	size_t count = 0;
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++) {
		bool is_listed = !group->dirs[i];
		for (size_t j = 0; j < count && !is_listed; j++)
			is_listed = text_equal(group->list[j], group->dirs[i]);
		if (!is_listed)
			group->list[count++] = group->dirs[i];
	}
	group->list[count] = NULL;
}

static struct cgroup *group_new(void)
{
	struct cgroup *group = alloc(struct cgroup);
	for (size_t i = 0; i < ARRAY_SIZE(group->meter); i++)
		group->meter[i] = -1;
	return group;
}

void cgroup_free(struct cgroup *group)
{
	if (!group)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(group->meter); i++)
		if (group->meter[i] >= 0)
			close(group->meter[i]);
	for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
		free(group->dirs[i]);
	free(group);
}

static int write_file(const char *dir, const char *file, const char *text)
{
	cleanup(free) char *path = alloc_printf("%s/%s", dir, file);
	return file_write_value(AT_FDCWD, path, text);
}

/* Copies a cpuset's list from `parent` unless `dir` has one. */
static int inherit_cpuset(const char *parent, const char *dir, const char *file)
{
	cleanup(free) char *from = alloc_printf("%s/%s", parent, file);
	cleanup(free) char *to = alloc_printf("%s/%s", dir, file);
	char value[CPUSET_BYTES];
	ssize_t length = file_read_line(AT_FDCWD, to, value, sizeof(value));
	if (length != 0)
		return length < 0 ? (int)length : 0;
	length = file_read_line(AT_FDCWD, from, value, sizeof(value));
	if (length < 0)
		return (int)length;
	return file_write_value(AT_FDCWD, to, value);
}

/* Moves every process of the v2 group `home` into a leaf of it. */
static int move_into_leaf(const char *home)
{
	cleanup(free) char *leaf = alloc_printf("%s/" CGROUP_SELF, home);
	if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
		return -errno;
	cleanup(free) char *from = alloc_printf("%s/cgroup.procs", home);
	for (int round = 0; round < KILL_ROUNDS; round++) {
		FILE *file = fopen(from, "re");
		if (!file)
			return -errno;
		char line[32];
		bool is_empty = true;
		while (fgets(line, sizeof(line), file)) {
			is_empty = false;
			/* One that has ended meanwhile is gone from the next round's list. */
			(void)write_file(leaf, "cgroup.procs", line);
		}
		(void)fclose(file);
		if (is_empty)
			return 0;
	}
	return -EBUSY;
}

static int enable_in(const char *dir, const char *home, const char *controller, struct error *e)
{
	char value[64];
	snprintf(value, sizeof(value), "+%s", controller);
	int r = write_file(dir, "cgroup.subtree_control", value);
	if (r == -EBUSY && text_equal(dir, home)) {
		r = move_into_leaf(home);
		if (r == 0)
			r = write_file(dir, "cgroup.subtree_control", value);
	}
	return r < 0 ? error_code(e, r, "enable the controller %s in %s", controller, dir) : 0;
}

static int enable(const char *dir, const char *home, uint32_t controllers, struct error *e)
{
	for (unsigned int i = 0; i < CGROUP_UNIFIED; i++) {
		if (!(controllers & CGROUP_BIT(i)))
			continue;
		int r = enable_in(dir, home, cgroup_controller_name(i), e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Makes `path` below `home`, each part on the way with what its children need. */
static int make_dirs(const char *home, const char *path, bool is_cpuset_v1, uint32_t v2_controllers,
	struct error *e)
{
	/* Mostly its parents are there and need nothing. */
	cleanup(free) char *whole = alloc_printf("%s/%s", home, path);
	if (!is_cpuset_v1 && v2_controllers == 0 && (mkdir(whole, 0755) == 0 || errno == EEXIST))
		return 0;
	cleanup(free) char *parent = alloc_text(home);
	for (const char *at = path; *at; at += strcspn(at, "/"), at += *at == '/') {
		int length = (int)strcspn(at, "/");
		cleanup(free) char *dir = alloc_printf("%s/%.*s", parent, length, at);
		int r = enable(parent, home, v2_controllers, e);
		if (r < 0)
			return r;
		if (mkdir(dir, 0755) < 0 && errno != EEXIST)
			return error_errno(e, "make the cgroup %s", dir);
		if (is_cpuset_v1) {
			r = inherit_cpuset(parent, dir, "cpuset.cpus");
			if (r == 0)
				r = inherit_cpuset(parent, dir, "cpuset.mems");
			if (r < 0)
				return error_code(e, r, "set up the cpuset %s", dir);
		}
		free(parent);
		parent = TAKE_PTR(dir);
	}
	return 0;
}

static bool is_clean_path(const char *path)
{
	if (!*path)
		return false;
	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");
		if (length == 0 || at[0] == '.' || length > 255)
			return false;
		at += length;
		if (*at == '/' && *++at == '\0')
			return false;
	}
	return true;
}

static size_t count_levels(const char *path)
{
	size_t levels = 0;
	for (; *path; path++)
		levels += *path == '/';
	return levels;
}

int cgroup_name(const struct cgroups *cgroups, const char *path, uint32_t wanted,
	struct cgroup **ret, struct error *e)
{
	if (!is_clean_path(path))
		return error_set(e, -EINVAL, "cgroup %s: not a plain relative path", path);
	uint32_t use = (wanted | CGROUP_BIT(CGROUP_UNIFIED)) & cgroups_have(cgroups);
	struct cgroup *group = group_new();
	group->parents = count_levels(path);
	for (unsigned int i = CGROUP_CONTROLLERS; i-- > 0;) {
		if (!(use & CGROUP_BIT(i)))
			continue;
		/* All controllers that live in the unified tree share one directory. */
		bool is_v2 = i == CGROUP_UNIFIED || cgroups_is_v2(cgroups, i);
		if (is_v2)
			group->in_v2 |= CGROUP_BIT(i);
		group->dirs[i] = alloc_printf(
			"%s/%s", cgroups_home(cgroups, is_v2 ? CGROUP_UNIFIED : i), path);
	}
	list_dirs(group);
	*ret = group;
	return 0;
}

int cgroup_make(const struct cgroups *cgroups, const char *path, uint32_t wanted,
	struct cgroup **ret, struct error *e)
{
	cleanup(cgroup_free) struct cgroup *group = NULL;
	int r = cgroup_name(cgroups, path, wanted, &group, e);
	if (r < 0)
		return r;
	for (unsigned int i = CGROUP_CONTROLLERS; i-- > 0;) {
		if (!group->dirs[i] || (i != CGROUP_UNIFIED && (group->in_v2 & CGROUP_BIT(i))))
			continue;
		r = make_dirs(cgroups_home(cgroups, i), path, i == CGROUP_CPUSET,
			i == CGROUP_UNIFIED ? group->in_v2 & ~CGROUP_BIT(CGROUP_UNIFIED) : 0, e);
		if (r < 0) {
			/* What was made for the other hierarchies goes again. */
			(void)!cgroup_remove(group, NULL);
			return r;
		}
	}
	*ret = TAKE_PTR(group);
	return 0;
}

/* How many parents of `dir` are ours: those below home. */
static size_t levels_below(const char *dir, const char *home)
{
	size_t length = strlen(home);
	if (strncmp(dir, home, length) != 0 || dir[length] != '/')
		return 0;
	return count_levels(dir + length + 1);
}

int cgroup_open(const struct cgroups *cgroups, const char *const *dirs, struct cgroup **ret,
	struct error *e)
{
	cleanup(cgroup_free) struct cgroup *group = group_new();
	for (size_t n = 0; dirs[n]; n++) {
		uint32_t controllers = cgroups_of_dir(cgroups, dirs[n]);
		if (controllers == 0)
			return error_set(e, -EINVAL, "%s is not in a cgroup file system", dirs[n]);
		for (unsigned int i = 0; i < CGROUP_CONTROLLERS; i++) {
			if (!(controllers & CGROUP_BIT(i)) || group->dirs[i])
				continue;
			group->dirs[i] = alloc_text(dirs[n]);
			group->parents = levels_below(dirs[n], cgroups_home(cgroups, i));
			if (cgroups_is_v2(cgroups, i))
				group->in_v2 |= CGROUP_BIT(i);
		}
	}
	list_dirs(group);
	*ret = TAKE_PTR(group);
	return 0;
}

int cgroup_attach_dirs(const char *const *dirs, pid_t pid, struct error *e)
{
	char text[16];
	snprintf(text, sizeof(text), "%d", pid);
	for (; *dirs; dirs++) {
		int r = write_file(*dirs, "cgroup.procs", text);
		if (r < 0)
			return error_code(e, r, "put process %d into the cgroup %s", pid, *dirs);
	}
	return 0;
}

int cgroup_attach(struct cgroup *group, pid_t pid, struct error *e)
{
	return cgroup_attach_dirs(group->list, pid, e);
}

/* Whether the file `name` has the line `line`. */
static bool has_line(int fd, const char *line)
{
	char text[256];
	ssize_t length = pread(fd, text, sizeof(text) - 1, 0);
	if (length < 0)
		return true; /* the group is gone: nothing to wait for */
	text[length] = '\0';
	size_t wanted = strlen(line);
	for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (strncmp(at, line, wanted) == 0 && (at[wanted] == '\n' || at[wanted] == '\0'))
			return true;
	return false;
}

/* Waits until the file has the line; the v2 tree wakes poll() when it changes, v1 does not. */
static int wait_for_line(const char *dir, const char *file, const char *line)
{
	cleanup(free) char *path = alloc_printf("%s/%s", dir, file);
	cleanup(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (int step = 0; step < WAIT_STEPS; step++) {
		if (has_line(fd, line))
			return 0;
		struct pollfd wait = { .fd = fd, .events = POLLPRI };
		(void)poll(&wait, 1, 1);
	}
	return -ETIMEDOUT;
}

static int set_frozen(struct cgroup *group, bool is_frozen, struct error *e)
{
	const char *word = is_frozen ? "freeze" : "thaw";
	const char *unified = group->dirs[CGROUP_UNIFIED];
	const char *freezer = group->dirs[CGROUP_FREEZER];
	int r;
	if (unified) {
		r = write_file(unified, "cgroup.freeze", is_frozen ? "1" : "0");
		if (r == 0)
			r = wait_for_line(
				unified, "cgroup.events", is_frozen ? "frozen 1" : "frozen 0");
		return r < 0 ? error_code(e, r, "%s the cgroup %s", word, unified) : 0;
	}
	if (!freezer)
		return error_set(e, -EOPNOTSUPP, "%s: this host has no cgroup freezer", word);
	const char *state = is_frozen ? "FROZEN" : "THAWED";
	r = write_file(freezer, "freezer.state", state);
	if (r == 0)
		r = wait_for_line(freezer, "freezer.state", state);
	return r < 0 ? error_code(e, r, "%s the cgroup %s", word, freezer) : 0;
}

int cgroup_freeze(struct cgroup *group, struct error *e)
{
	return set_frozen(group, true, e);
}

int cgroup_thaw(struct cgroup *group, struct error *e)
{
	return set_frozen(group, false, e);
}

/* Calls for each sub-directory of `dir`, then for `dir`: children first. */
static int for_each_below(const char *dir, int (*call)(void *data, const char *dir), void *data)
{
	DIR *stream = opendir(dir);
	if (!stream)
		return errno == ENOENT ? 0 : -errno;
	int r = 0;
	for (struct dirent *entry; r == 0 && (entry = readdir(stream));) {
		if (entry->d_type != DT_DIR || text_equal(entry->d_name, ".") ||
			text_equal(entry->d_name, ".."))
			continue;
		cleanup(free) char *below = alloc_printf("%s/%s", dir, entry->d_name);
		r = for_each_below(below, call, data);
	}
	(void)closedir(stream);
	return r == 0 ? call(data, dir) : r;
}

struct pid_list {
	pid_t *pids;
	size_t size;
	size_t count;
};

static int list_pids(void *data, const char *dir)
{
	struct pid_list *list = data;
	cleanup(free) char *path = alloc_printf("%s/cgroup.procs", dir);
	FILE *file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? 0 : -errno;
	char line[32];
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		uint64_t pid;
		if (text_to_u64(line, &pid) < 0)
			continue;
		if (list->count < list->size)
			list->pids[list->count] = (pid_t)pid;
		list->count++;
	}
	(void)fclose(file);
	return 0;
}

ssize_t cgroup_pids(const struct cgroup *group, pid_t *pids, size_t size)
{
	struct pid_list list = { .pids = pids, .size = size };
	const char *dir = group->dirs[CGROUP_UNIFIED] ?: group->list[0];
	int r = dir ? for_each_below(dir, list_pids, &list) : 0;
	return r < 0 ? r : (ssize_t)list.count;
}

static int kill_one_by_one(struct cgroup *group)
{
	cleanup(free) pid_t *pids = alloc_array(KILL_PIDS, pid_t);
	bool is_frozen = group->dirs[CGROUP_FREEZER] && cgroup_freeze(group, NULL) == 0;
	int r = 0;
	/* What is not frozen may fork while it is read: again until the list is known. */
	for (int round = 0; round < (is_frozen ? 1 : KILL_ROUNDS); round++) {
		ssize_t count = cgroup_pids(group, pids, KILL_PIDS);
		if (count <= 0) {
			r = (int)count;
			break;
		}
		for (ssize_t i = 0; i < count && i < KILL_PIDS; i++)
			if (kill(pids[i], SIGKILL) < 0 && errno != ESRCH)
				r = -errno;
	}
	/* A frozen process takes its signal when it is thawed. */
	if (is_frozen)
		(void)!cgroup_thaw(group, NULL);
	return r;
}

int cgroup_kill(struct cgroup *group, struct error *e)
{
	int r = -ENOENT;
	const char *unified = group->dirs[CGROUP_UNIFIED];
	if (unified) {
		r = write_file(unified, "cgroup.kill", "1");
		if (r == -ENOENT && access(unified, F_OK) < 0)
			return 0;
	}
	if (r == -ENOENT || r == -EOPNOTSUPP)
		r = kill_one_by_one(group);
	return r < 0 ? error_code(e, r, "kill the processes of the cgroup %s", group->list[0]) : 0;
}

int cgroup_delegate(struct cgroup *group, uid_t uid, gid_t gid, struct error *e)
{
	/* What cgroups(7) says a delegated group's new owner must be able to write. */
	static const char *const files[] = { "cgroup.procs", "cgroup.subtree_control",
		"cgroup.threads" };
	const char *dir = group->dirs[CGROUP_UNIFIED];
	if (!dir)
		return 0;
	if (chown(dir, uid, gid) < 0)
		return error_errno(e, "give the cgroup %s to %u", dir, uid);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		cleanup(free) char *path = alloc_printf("%s/%s", dir, files[i]);
		if (chown(path, uid, gid) < 0 && errno != ENOENT)
			return error_errno(e, "give %s to %u", path, uid);
	}
	return 0;
}

static int remove_one(void *data, const char *dir)
{
	(void)data;
	return rmdir(dir) < 0 && errno != ENOENT ? -errno : 0;
}

static void remove_parents(const char *dir, size_t levels)
{
	cleanup(free) char *parent = alloc_text(dir);
	for (size_t i = 0; i < levels; i++) {
		char *slash = strrchr(parent, '/');
		if (!slash)
			return;
		*slash = '\0';
		if (rmdir(parent) < 0)
			return;
	}
}

int cgroup_remove(struct cgroup *group, struct error *e)
{
	for (size_t i = 0; group->list[i]; i++) {
		int r = for_each_below(group->list[i], remove_one, NULL);
		if (r < 0)
			return error_code(e, r, "remove the cgroup %s", group->list[i]);
		remove_parents(group->list[i], group->parents);
	}
	return 0;
}

static int sweep_one(
	const char *dir, bool (*is_kept)(void *data, const char *name), void *data, struct error *e)
{
	DIR *stream = opendir(dir);
	if (!stream)
		return errno == ENOENT ? 0 : error_errno(e, "open %s", dir);
	int result = 0;
	for (struct dirent *entry; (entry = readdir(stream));) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
			is_kept(data, entry->d_name))
			continue;
		cleanup(free) char *below = alloc_printf("%s/%s", dir, entry->d_name);
		int r = for_each_below(below, remove_one, NULL);
		if (r < 0 && result == 0)
			result = error_code(e, r, "remove the cgroup %s", below);
	}
	(void)closedir(stream);
	(void)rmdir(dir);
	return result;
}

int cgroup_sweep(const struct cgroups *cgroups, const char *path,
	bool (*is_kept)(void *data, const char *name), void *data, struct error *e)
{
	int result = 0;
	for (unsigned int i = 0; i < CGROUP_CONTROLLERS; i++) {
		const char *home = cgroups_home(cgroups, i);
		if (!home)
			continue;
		cleanup(free) char *dir = alloc_printf("%s/%s", home, path);
		int r = sweep_one(dir, is_kept, data, result == 0 ? e : NULL);
		if (result == 0)
			result = r;
	}
	return result;
}
