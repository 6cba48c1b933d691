/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/server/netboot_pass.h"

#include <string.h>

#include "test.h"

static uint32_t get32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* As firmware reads it: the entry lies in the one section, and there is the answer. */
static void is_a_program_that_ends_at_once(void)
{
	static const uint8_t code[] = { 0x48, 0xb8, 0x0e, 0, 0, 0, 0, 0, 0, 0x80, 0xc3 };
	size_t length;
	const uint8_t *program = netboot_pass_program(&length);
	expect_equal(length, 1024);
	expect(memcmp(program, "MZ", 2) == 0);
	const uint8_t *pe = program + get32(program + 60), *optional = pe + 24;
	expect(memcmp(pe, "PE\0\0\x64\x86\1\0", 8) == 0);
	expect_equal(get32(optional + 68) & 0xffff, 10);
	const uint8_t *section = optional + (get32(pe + 20) & 0xffff);
	uint32_t entry = get32(optional + 16), begin = get32(section + 12);
	expect(entry >= begin && entry + sizeof(code) <= begin + get32(section + 8));
	expect(get32(section + 20) + get32(section + 16) <= length);
	expect(memcmp(program + get32(section + 20) + (entry - begin), code, sizeof(code)) == 0);
}

static const struct test tests[] = {
	{ "firmware is given a program that ends at once", is_a_program_that_ends_at_once },
};

TEST_MAIN(tests)
