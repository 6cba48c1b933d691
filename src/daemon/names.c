/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.c - names of objects.
 */
#include "daemon/names.h"

#include <errno.h>
#include <string.h>

#define NAME_MAX_BYTES 64

int name_check(const char *field, const char *name, struct error *e)
{
	static const char first[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	static const char more[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strlen(name);
	if (length >= 1 && length <= NAME_MAX_BYTES && strchr(first, name[0]) &&
		strspn(name, more) == length)
		return 0;
	return error_set(e, -EINVAL,
		"%s: \"%.80s\" is no name: 1 to %d letters, digits, '-', '_' and '.' are wanted",
		field, name, NAME_MAX_BYTES);
}
