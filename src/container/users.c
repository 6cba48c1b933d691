/* SPDX-License-Identifier: Apache-2.0 */
/*
 * users.c - passwd(5) and group(5), whose lines somebody hostile may have written.
 */
#include "container/users.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

#define FIELDS_MAX 7

/* A field of a line: not NUL-terminated. */
struct field {
	const char *start;
	size_t length;
};

/* Splits the line at *at, moves *at behind it, returns how many fields it has; -1 at the end. */
static int next_line(const char **at, struct field fields[FIELDS_MAX])
{
	if (!**at)
		return -1;
	size_t line = strcspn(*at, "\n");
	const char *end = *at + line;
	int count = 0;
	for (const char *from = *at; count < FIELDS_MAX && from <= end;) {
		const char *colon = memchr(from, ':', (size_t)(end - from));
		fields[count++] = (struct field){ from, (size_t)((colon ?: end) - from) };
		if (!colon)
			break;
		from = colon + 1;
	}
	*at = *end ? end + 1 : end;
	return count;
}

static bool field_is(const struct field *field, const char *text, size_t length)
{
	return field->length == length && memcmp(field->start, text, length) == 0;
}

/* Strict: digits only, the whole of it, below the id that means "none". */
static bool to_id(const char *text, size_t length, uint32_t *ret)
{
	uint64_t value = 0;
	if (length == 0 || length > 10)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text[i] - '0');
	}
	if (value >= UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

static bool field_to_id(const struct field *field, uint32_t *ret)
{
	return to_id(field->start, field->length, ret);
}

/* Finds the passwd line by name, or by number if `is_number`. */
static bool find_user(const char *passwd, const char *name, size_t length, bool is_number,
	struct user *user, struct field *ret_name)
{
	struct field fields[FIELDS_MAX];
	int count;
	while ((count = next_line(&passwd, fields)) >= 0) {
		uint32_t uid, gid;
		if (count < 4 || !field_to_id(&fields[2], &uid) || !field_to_id(&fields[3], &gid))
			continue;
		if (is_number ? uid != user->uid : !field_is(&fields[0], name, length))
			continue;
		user->uid = uid;
		user->gid = gid;
		*ret_name = fields[0];
		if (count >= 6 && fields[5].length > 0 && fields[5].length < sizeof(user->home)) {
			memcpy(user->home, fields[5].start, fields[5].length);
			user->home[fields[5].length] = '\0';
		}
		return true;
	}
	return false;
}

static bool find_group(const char *group, const char *name, size_t length, uint32_t *ret)
{
	struct field fields[FIELDS_MAX];
	int count;
	while ((count = next_line(&group, fields)) >= 0)
		if (count >= 3 && field_is(&fields[0], name, length) &&
			field_to_id(&fields[2], ret))
			return true;
	return false;
}

static bool lists_member(const struct field *members, const struct field *name)
{
	const char *end = members->start + members->length;
	for (const char *from = members->start; from < end;) {
		const char *comma = memchr(from, ',', (size_t)(end - from));
		struct field member = { from, (size_t)((comma ?: end) - from) };
		if (field_is(&member, name->start, name->length))
			return true;
		if (!comma)
			break;
		from = comma + 1;
	}
	return false;
}

static int add_groups(
	const char *group, const struct field *name, struct user *user, struct error *e)
{
	struct field fields[FIELDS_MAX];
	int count;
	while ((count = next_line(&group, fields)) >= 0) {
		uint32_t gid;
		if (count < 4 || !lists_member(&fields[3], name) || !field_to_id(&fields[2], &gid))
			continue;
		if (user->group_count == USERS_GROUPS_MAX)
			return error_set(e, -E2BIG, "user %.*s is in more than %d groups",
				(int)name->length, name->start, USERS_GROUPS_MAX);
		user->groups[user->group_count++] = gid;
	}
	return 0;
}

int user_find(
	const char *text, const char *passwd, const char *group, struct user *ret, struct error *e)
{
	size_t length = strcspn(text, ":");
	const char *group_text = text[length] ? text + length + 1 : NULL;
	if (length == 0 || length > 255 ||
		(group_text && (!*group_text || strchr(group_text, ':'))))
		return error_set(e, -EINVAL, "user \"%.300s\": USER or USER:GROUP is wanted", text);

	struct user user = { .home = "/" };
	struct field name = {};
	bool is_number = to_id(text, length, &user.uid);
	bool is_found = find_user(passwd, text, length, is_number, &user, &name);
	if (!is_found && !is_number)
		return error_set(e, -ENOENT, "user %.*s: not in /etc/passwd", (int)length, text);
	if (group_text && !to_id(group_text, strlen(group_text), &user.gid) &&
		!find_group(group, group_text, strlen(group_text), &user.gid))
		return error_set(e, -ENOENT, "group %.300s: not in /etc/group", group_text);
	/* Who names a group wants that one alone, as login tools do. */
	if (is_found && !group_text) {
		int r = add_groups(group, &name, &user, e);
		if (r < 0)
			return r;
	}
	*ret = user;
	return 0;
}

/* The text of a regular file below `root`; "" if it is absent. */
static int read_file(int root, const char *path, char **ret, struct error *e)
{
	/* O_NONBLOCK: a FIFO put there must not stop us. */
	cleanup(close) int fd =
		file_open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (fd == -ENOENT || fd == -ENOTDIR) {
		*ret = alloc_text("");
		return 0;
	}
	struct stat stat;
	if (fd < 0)
		return error_code(e, fd, "open the container's %s", path);
	if (fstat(fd, &stat) < 0)
		return error_errno(e, "stat the container's %s", path);
	if (!S_ISREG(stat.st_mode))
		return error_set(e, -EINVAL, "the container's %s is no regular file", path);
	cleanup(free) char *text = alloc_try((size_t)USERS_FILE_MAX + 1, 1, USERS_FILE_MAX + 1);
	if (!text)
		return error_set(e, -ENOMEM, "no memory for %s", path);
	size_t length = 0;
	for (;;) {
		ssize_t got = read(fd, text + length, USERS_FILE_MAX - length);
		if (got < 0)
			return error_errno(e, "read the container's %s", path);
		if (got == 0)
			break;
		length += (size_t)got;
		if (length == USERS_FILE_MAX)
			return error_set(e, -E2BIG, "the container's %s is too large", path);
	}
	text[length] = '\0';
	/* A NUL in the middle ends it. */
	*ret = TAKE_PTR(text);
	return 0;
}

int user_find_in(int root, const char *text, struct user *ret, struct error *e)
{
	cleanup(free) char *passwd = NULL;
	cleanup(free) char *group = NULL;
	/* The usual case costs no file. */
	if (text_equal(text, "0:0")) {
		*ret = (struct user){ .home = "/root" };
		return 0;
	}
	int r = read_file(root, "/etc/passwd", &passwd, e);
	if (r == 0)
		r = read_file(root, "/etc/group", &group, e);
	return r < 0 ? r : user_find(text, passwd, group, ret, e);
}
