/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter.c - into the control groups of an instance, and out of everything else of the host.
 */
#include "tender/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "host/jail.h"
#include "host/process.h"

static bool is_v2(const char *group)
{
	struct statfs fs;
	return statfs(group, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

/*
 * The child was born in its group of v2. In v1 a thread that moves itself moves at once, while moving a process
 * waits some milliseconds until no process of the host forks.
 */
int enter_groups(const char *const *groups, struct error *e)
{
	for (size_t i = 0; groups[i]; i++) {
		if (is_v2(groups[i]))
			continue;
		cleanup(free) char *path = alloc_printf("%s/tasks", groups[i]);
		int r = file_write_value_f(AT_FDCWD, path, "0");
		if (r < 0)
			return error_code(e, r, "join %s", path);
	}
	return 0;
}

int enter_open_group(const char *const *groups)
{
	for (size_t i = 0; groups[i]; i++)
		if (is_v2(groups[i]))
			return open(groups[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return -1;
}

int enter_nothing(uid_t uid, struct error *e)
{
	struct jail namespaces = {
		.empty_namespaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
	};
	const struct jail rights = { .drop_capabilities = true, .limit_paths = true };
	jail_rooms_find(&namespaces.rooms);
	int r = jail_enter(&namespaces, e);
	jail_rooms_close(&namespaces.rooms);
	if (r < 0)
		return r;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return error_errno(e, "become user %u", uid);
	return jail_enter(&rights, e);
}

char **enter_words(const json_t *list, uint32_t *ret_count)
{
	size_t count = json_array_size(list);
	char **words = alloc_array(count + 1, char *);
	for (size_t i = 0; i < count; i++)
		words[i] = (char *)(uintptr_t)json_string_value(json_array_get(list, i));
	*ret_count = (uint32_t)count;
	return words;
}
