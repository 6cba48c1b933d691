/* SPDX-License-Identifier: Apache-2.0 */
/*
 * string.c - moving and comparing bytes, without a libc.
 */
#include "unikernel/kernel.h"

/* Below this many bytes the start of `rep movsb` costs more than all of the rest. */
#define SMALL 128u

static uint64_t word_at(const uint8_t *at_byte)
{
	uint64_t word;
	__builtin_memcpy(&word, at_byte, 8);
	return word;
}

static void put_word(uint8_t *at_byte, uint64_t word)
{
	__builtin_memcpy(at_byte, &word, 8);
}

/* Two halves that may overlap; both are read before one is written. */
static void copy_few(uint8_t *to, const uint8_t *from, size_t size)
{
	if (size >= 4) {
		uint32_t first, last;
		__builtin_memcpy(&first, from, 4);
		__builtin_memcpy(&last, from + size - 4, 4);
		__builtin_memcpy(to, &first, 4);
		__builtin_memcpy(to + size - 4, &last, 4);
	} else if (size >= 2) {
		uint16_t first, last;
		__builtin_memcpy(&first, from, 2);
		__builtin_memcpy(&last, from + size - 2, 2);
		__builtin_memcpy(to, &first, 2);
		__builtin_memcpy(to + size - 2, &last, 2);
	} else if (size) {
		*to = *from;
	}
}

void *memcpy(void *to, const void *from, size_t size)
{
	void *start = to;
	if (size < 8) {
		copy_few(to, from, size);
		return start;
	}
	if (size < SMALL) {
		/* The last eight bytes first: the loop may then stop short of them. */
		uint8_t *out = to;
		const uint8_t *in = from;
		uint64_t last = word_at(in + size - 8);
		uint8_t *end = out + size - 8;
		for (; out < end; out += 8, in += 8)
			put_word(out, word_at(in));
		put_word(end, last);
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
	uint8_t *out = to;
	if (size >= 8 && size < SMALL) {
		uint64_t word = (uint8_t)value * UINT64_C(0x0101010101010101);
		uint8_t *end = out + size - 8;
		for (; out < end; out += 8)
			put_word(out, word);
		put_word(end, word);
		return start;
	}
	if (size < 8) {
		for (; size > 0; size--)
			*out++ = (uint8_t)value;
		return start;
	}
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *left = a, *right = b;
	for (; size >= 8 && word_at(left) == word_at(right); size -= 8)
		left += 8, right += 8;
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
