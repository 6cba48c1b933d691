/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - rows that wait for memory or move it.
 */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define LINE        64u
#define SMALL_BYTES (1u << 20)
#define LARGE_BYTES (64u << 20)
#define COPY_BYTES  (4u << 20)
#define MOVE_BYTES  (64u << 10)

/* A walk through all lines of `bytes` in an order without a pattern. */
static uint64_t chase(uint32_t bytes, uint64_t count)
{
	uint32_t lines = bytes / LINE;
	uint8_t *memory = aligned_alloc(4096, bytes);
	uint32_t *order = malloc(lines * sizeof(*order));
	uint64_t state = 99, sum = 0;
	for (uint32_t i = 0; i < lines; i++)
		order[i] = i;
	for (uint32_t i = lines - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(random_next(&state) % i), other = order[j];
		order[j] = order[i];
		order[i] = other;
	}
	for (uint32_t i = 0; i < lines; i++) {
		void *next = memory + (size_t)order[(i + 1) % lines] * LINE;
		memcpy(memory + (size_t)order[i] * LINE, &next, sizeof(next));
	}
	void **at = (void **)(void *)memory;
	for (; count > 0; count--)
		at = *at;
	sum = (uint64_t)((uint8_t *)at - memory);
	free(order);
	free(memory);
	return sum;
}

uint64_t row_chase_small(uint64_t count)
{
	return chase(SMALL_BYTES, count);
}

uint64_t row_chase_large(uint64_t count)
{
	return chase(LARGE_BYTES, count);
}

uint64_t row_memcpy(uint64_t count)
{
	uint8_t *from = malloc(COPY_BYTES), *to = malloc(COPY_BYTES);
	uint64_t state = 5, sum = 0;
	for (uint32_t i = 0; i < COPY_BYTES; i++)
		from[i] = (uint8_t)i;
	while (count-- > 0) {
		uint64_t at = random_next(&state) % COPY_BYTES;
		from[at]++;
		memcpy(to, from, COPY_BYTES);
		OPAQUE(to);
		sum = sum * 31 + to[at];
	}
	free(from);
	free(to);
	return sum;
}

uint64_t row_rep_movsb(uint64_t count)
{
	static uint8_t from[MOVE_BYTES], to[MOVE_BYTES];
	uint64_t sum = 0;
	for (uint64_t i = 0; i < count; i++) {
		void *source = from, *target = to;
		uint64_t bytes = MOVE_BYTES;
		from[i % MOVE_BYTES]++;
		__asm__ volatile("rep movsb"
				 : "+S"(source), "+D"(target), "+c"(bytes)
				 :
				 : "memory");
		sum = sum * 31 + to[i % MOVE_BYTES];
	}
	return sum;
}
