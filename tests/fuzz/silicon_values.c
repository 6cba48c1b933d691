/* SPDX-License-Identifier: Apache-2.0 */
#include "silicon_values.h"

#include "base/base.h"

static uint64_t random_state;

void values_seed(uint64_t seed)
{
	random_state = seed | 1;
}

uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t below(uint64_t limit)
{
	return (random64() >> 16) % limit;
}

uint64_t interesting(void)
{
	static const uint64_t values[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff,
		0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
	return below(3) ? random64() : values[below(ARRAY_SIZE(values))];
}

/* Many bits or few, so that results are inexact or exact. */
static uint64_t mantissa(uint32_t bits)
{
	uint64_t all = (UINT64_C(1) << bits) - 1;
	switch (below(4)) {
	case 0:
		return below(2) ? 0 : all;
	case 1:
		return UINT64_C(1) << below(bits);
	case 2:
		return random64() << (bits - below(9)) & all;
	default:
		return random64() & all;
	}
}

/* Exponents of denormals, of the least, of ones, of the greatest; of what are floats' and halves' denormals. */
static uint64_t interesting_double(void)
{
	static const uint16_t exponents[] = { 0, 0, 1, 0x34, 0x200, 0x3fe, 0x3ff, 0x400, 0x7fe };
	uint64_t exponent = exponents[below(ARRAY_SIZE(exponents))];
	if (below(4) == 0)
		exponent = 870 + below(30);
	if (below(32) == 0)
		exponent = 0x7ff;
	return below(2) << 63 | exponent << 52 | mantissa(52);
}

static uint64_t interesting_float(void)
{
	static const uint8_t exponents[] = { 0, 0, 1, 23, 64, 126, 127, 128, 254 };
	uint64_t exponent = exponents[below(ARRAY_SIZE(exponents))];
	if (below(4) == 0)
		exponent = 101 + below(13);
	if (below(32) == 0)
		exponent = 255;
	return below(2) << 31 | exponent << 23 | mantissa(23);
}

uint64_t interesting_floats(void)
{
	return below(2) ? interesting_double() : interesting_float() << 32 | interesting_float();
}
