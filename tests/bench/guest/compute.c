/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compute.c - rows that stay in registers and the first-level cache.
 */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define SIEVE_SIZE   (1u << 20)
#define QSORT_COUNT  10000u
#define PROGRAM_SIZE 256u

/* A random number a round and branches that nobody can guess. */
uint64_t row_int(uint64_t count)
{
	uint64_t state = 88172645463325252u, sum = 0;
	while (count-- > 0) {
		uint64_t x = random_next(&state);
		if (x & 1)
			sum += x >> 3;
		else
			sum ^= x << 1;
		if ((x & 0x30) == 0x10)
			sum = sum * 3 + 1;
		OPAQUE(sum);
	}
	return sum;
}

uint64_t row_sieve(uint64_t count)
{
	uint8_t *composite = malloc(SIEVE_SIZE);
	uint64_t primes = 0;
	while (count-- > 0) {
		memset(composite, 0, SIEVE_SIZE);
		for (uint32_t i = 2; i * i < SIEVE_SIZE; i++)
			for (uint32_t j = i * i; !composite[i] && j < SIEVE_SIZE; j += i)
				composite[j] = 1;
		for (uint32_t i = 2; i < SIEVE_SIZE; i++)
			primes += !composite[i];
	}
	free(composite);
	return primes;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

uint64_t row_qsort(uint64_t count)
{
	static uint32_t values[QSORT_COUNT];
	uint64_t state = 1234567, sum = 0;
	while (count-- > 0) {
		for (uint32_t i = 0; i < QSORT_COUNT; i++)
			values[i] = (uint32_t)random_next(&state);
		qsort(values, QSORT_COUNT, sizeof(values[0]), compare);
		sum = sum * 31 + values[QSORT_COUNT / 2];
	}
	return sum;
}

static __attribute__((noinline)) uint64_t fibonacci(uint64_t n)
{
	uint64_t low;
	if (n < 2)
		return n;
	low = fibonacci(n - 2);
	OPAQUE(low);
	return fibonacci(n - 1) + low;
}

uint64_t row_call(uint64_t count)
{
	uint64_t sum = 0;
	for (uint64_t n = 22; count-- > 0; sum += fibonacci(n))
		OPAQUE(n);
	return sum;
}

/* A byte code whose every instruction jumps to the next through a table. */
uint64_t row_dispatch(uint64_t count)
{
	static const void *const labels[] = { &&add, &&sub, &&xor, &&shl, &&ror, &&mul, &&swap,
		&&end };
	uint8_t program[PROGRAM_SIZE];
	uint64_t state = 42, a = 1, b = 7;
	for (uint32_t i = 0; i < PROGRAM_SIZE - 1; i++)
		program[i] = (uint8_t)(random_next(&state) % 7);
	program[PROGRAM_SIZE - 1] = 7;
	const uint8_t *at = program;
#define NEXT goto *labels[*at++]
	NEXT;
add:
	a += b;
	NEXT;
sub:
	b -= a;
	NEXT;
	xor : a ^= b;
	NEXT;
shl:
	b = b << 1 | b >> 63;
	NEXT;
ror:
	a = a >> 3 | a << 61;
	NEXT;
mul:
	a *= 0x9e3779b97f4a7c15u;
	NEXT;
swap:
	state = a;
	a = b;
	b = state;
	NEXT;
end:
	at = program;
	if (--count > 0)
		NEXT;
#undef NEXT
	return a ^ b;
}

/* The terms of a slowly moving sum, in 80-bit registers. */
uint64_t row_x87(uint64_t count)
{
	long double sum = 0, x = 1.0L, step = 1.0L / 3;
	while (count-- > 0) {
		x = x * 1.0000001L + step / (x + 2);
		sum += x * x - step;
		if (sum > 1e12L)
			sum *= 0.5L;
	}
	uint64_t bits = 0;
	memcpy(&bits, &sum, sizeof(bits));
	return bits;
}
