/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_users.c - any bytes as "USER:GROUP", a passwd and a group file, split by NULs.
 */
#include <string.h>

#include "container/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(free) char *text = alloc_array(size + 3, char);
	memcpy(text, data, size);
	const char *passwd = text + strlen(text) + 1;
	const char *group = passwd + strlen(passwd) + 1;
	if (group > text + size + 2)
		group = text + size + 2;
	struct user user = {};
	struct error e = {};
	if (user_find(text, passwd > text + size + 2 ? group : passwd, group, &user, &e) == 0) {
		assert(user.uid != UINT32_MAX && user.gid != UINT32_MAX);
		assert(user.group_count <= USERS_GROUPS_MAX);
		assert(memchr(user.home, 0, sizeof(user.home)));
	} else {
		assert(e.text[0] != '\0');
	}
	return 0;
}
