/* SPDX-License-Identifier: Apache-2.0 */
/*
 * users.h - "uid:gid" or names of a container's own /etc/passwd and /etc/group, read strictly.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define USERS_FILE_MAX   (1 * MIB) /* what is larger is no user database */
#define USERS_GROUPS_MAX 64

struct user {
	uint32_t uid;
	uint32_t gid;
	uint32_t groups[USERS_GROUPS_MAX];
	size_t group_count;
	char home[256]; /* "/" if unknown */
};

/*
 * Resolves `text` (USER or USER:GROUP, each a name or a number) with the texts of the two files ("" if
 * there is none). A number needs no entry; without a group it is the entry's, or 0. Supplementary groups
 * are those that list the user. -EINVAL if it is malformed, -ENOENT if a name has no entry.
 */
int user_find(const char *text, const char *passwd, const char *group, struct user *ret,
	struct error *e) must_use;

/* As user_find() with the files below `root`, without leaving it and only if they are regular. */
int user_find_in(int root, const char *text, struct user *ret, struct error *e) must_use;
