/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.c - addresses of the internet as text: four decimal numbers, or up to eight hexadecimal ones with one gap.
 */
#include "unikernel/machine/address.h"

#include <string.h>

const char *address_read4(const char *text, uint8_t ret[4])
{
	uint8_t bytes[4];
	for (int i = 0; i < 4; i++) {
		uint32_t value = 0, digits = 0;
		if (i > 0 && *text++ != '.')
			return NULL;
		for (; *text >= '0' && *text <= '9' && digits < 3; digits++)
			value = value * 10 + (uint32_t)(*text++ - '0');
		if (digits == 0 || value > 255)
			return NULL;
		bytes[i] = (uint8_t)value;
	}
	memcpy(ret, bytes, sizeof(bytes));
	return text;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

const char *address_read6(const char *text, uint8_t ret[16])
{
	uint8_t bytes[16] = {};
	uint32_t count = 0, gap = 9; /* in numbers of 16 bits */
	if (text[0] == ':' && text[1] == ':') {
		gap = 0;
		text += 2;
	}
	while (count < 8 && digit_of(*text) >= 0) {
		uint32_t value = 0, digits = 0;
		for (; digit_of(*text) >= 0 && digits < 4; digits++)
			value = value << 4 | (uint32_t)digit_of(*text++);
		bytes[2 * count] = (uint8_t)(value >> 8);
		bytes[2 * count + 1] = (uint8_t)value;
		count++;
		if (text[0] != ':')
			break;
		if (text[1] == ':') {
			if (gap < 9)
				return NULL;
			gap = count;
			text += 2;
		} else if (digit_of(text[1]) >= 0 && count < 8) {
			text++;
		} else {
			return NULL;
		}
	}
	if (gap < 9 ? count > 7 : count < 8)
		return NULL;
	memset(ret, 0, 16);
	uint32_t before = gap < 9 ? gap : count;
	memcpy(ret, bytes, 2ul * before);
	memcpy(ret + 16 - 2ul * (count - before), bytes + 2ul * before, 2ul * (count - before));
	return text;
}
