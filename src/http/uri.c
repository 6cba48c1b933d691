/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uri.c - percent-encoding (RFC 3986).
 */
#include "http/uri.h"

#include <errno.h>
#include <string.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int uri_decode(const char *encoded, size_t length, char **ret)
{
	cleanup(free) char *plain = alloc_array(length + 1, char);
	size_t at = 0;
	for (size_t i = 0; i < length; i++) {
		char c = encoded[i];
		if (c == '%') {
			int high = length - i > 2 ? hex_value(encoded[i + 1]) : -1;
			int low = length - i > 2 ? hex_value(encoded[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -EINVAL;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (c == '\0')
			return -EINVAL;
		plain[at++] = c;
	}
	*ret = TAKE_PTR(plain);
	return 0;
}

void uri_encode(struct text *text, const char *plain)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-._~";
	while (*plain) {
		size_t run = strspn(plain, safe);
		text_add_n(text, plain, run);
		plain += run;
		if (*plain)
			text_printf(text, "%%%02X", (unsigned int)(unsigned char)*plain++);
	}
}
