/* SPDX-License-Identifier: Apache-2.0 */
/*
 * little_endian.h - numbers as FAT and ISO 9660 keep them, at any address.
 */
#pragma once

#include <stdint.h>

static inline void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

static inline void put32(uint8_t *at, uint32_t value)
{
	put16(at, value);
	put16(at + 2, value >> 16);
}
