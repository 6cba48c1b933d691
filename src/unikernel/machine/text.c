/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - the two functions of a libc that lwIP takes for granted, and that only a process finds in one.
 */
#include <stdlib.h>
#include <string.h>

#include "unikernel/kernel.h"

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

/* For atoi() only: numbers of base ten, no end asked for. */
long strtol(const char *text, char **end, int base)
{
	long value = 0;
	bool is_negative = *text == '-';
	(void)end;
	(void)base;
	for (text += is_negative; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (*text - '0');
	return is_negative ? -value : value;
}
