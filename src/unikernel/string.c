/* SPDX-License-Identifier: Apache-2.0 */
/*
 * string.c - moving and comparing bytes, without a libc.
 */
#include "unikernel/kernel.h"

/* Below this many bytes the start of `rep movsb` costs more than all of the rest. */
#define SMALL 128u

void *memcpy(void *to, const void *from, size_t size)
{
	void *start = to;
	if (size >= 8 && size < SMALL) {
		/* The last eight bytes first: the loop may then stop short of them. */
		uint8_t *out = to;
		const uint8_t *in = from;
		uint64_t last, word;
		__builtin_memcpy(&last, in + size - 8, 8);
		uint8_t *end = out + size - 8;
		for (; out < end; out += 8, in += 8) {
			__builtin_memcpy(&word, in, 8);
			__builtin_memcpy(out, &word, 8);
		}
		__builtin_memcpy(end, &last, 8);
		return start;
	}
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
	return start;
}

void *memmove(void *to, const void *from, size_t size)
{
	if ((uintptr_t)to - (uintptr_t)from >= size)
		return memcpy(to, from, size);
	uint8_t *last_to = (uint8_t *)to + size - 1;
	const uint8_t *last_from = (const uint8_t *)from + size - 1;
	__asm__ volatile("std; rep movsb; cld"
			 : "+D"(last_to), "+S"(last_from), "+c"(size)
			 :
			 : "memory");
	return to;
}

void *memset(void *to, int value, size_t size)
{
	void *start = to;
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *left = a, *right = b;
	for (; size > 0; size--, left++, right++)
		if (*left != *right)
			return *left - *right;
	return 0;
}

size_t strlen(const char *text)
{
	size_t length = 0;
	while (text[length])
		length++;
	return length;
}

bool text_is(const char *a, const char *b)
{
	for (size_t i = 0;; i++) {
		if (a[i] != b[i])
			return false;
		if (!a[i])
			return true;
	}
}

int strncmp(const char *a, const char *b, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (a[i] != b[i] || !a[i])
			return (uint8_t)a[i] - (uint8_t)b[i];
	return 0;
}

/* lwIP's names of interfaces end in a number. */
int atoi(const char *text)
{
	int number = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		number = number * 10 + (*text - '0');
	return number;
}
