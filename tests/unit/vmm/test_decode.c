/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/soft/decode.h"

#include <string.h>

#include "test.h"

struct sample {
	const char *bytes;
	uint32_t count, mode;
	int status;
	uint32_t length;
};

static const struct sample samples[] = {
	{ "\x90", 1, 8, DECODE_OK, 1 },
	{ "\x48\x89\x05\x01\x02\x03\x04", 7, 8, DECODE_OK, 7 },
	{ "\x66\x0f\x1f\x84\x00\x00\x00\x00\x00", 9, 8, DECODE_OK, 9 },
	{ "\x48\xb8\x01\x02\x03\x04\x05\x06\x07\x08", 10, 8, DECODE_OK, 10 },
	{ "\xb8\x01\x02", 3, 2, DECODE_OK, 3 },
	{ "\xea\x01\x02\x03\x04", 5, 2, DECODE_OK, 5 },
	{ "\xea\x01\x02\x03\x04", 5, 8, DECODE_INVALID, 0 },
	{ "\xc5\xfc\x77", 3, 8, DECODE_OK, 3 },
	{ "\x66\xc5\xfc\x77", 4, 8, DECODE_INVALID, 0 },
	{ "\x62\xf1\x7c\x48\x10\x00", 6, 8, DECODE_OK, 6 },
	{ "\x62\xf3\x7d\x48\x1d\x44\x24\x01\x07", 9, 8, DECODE_OK, 9 },
	{ "\x62\xf1\x7c\x48\x10\x00", 6, 4, DECODE_OK, 6 },
	{ "\x62\x01\x7c\x48\x10\x00", 6, 4, DECODE_OK, 2 }, /* BOUND */
	{ "\x66\x62\xf1\x7c\x48\x10\x00", 7, 8, DECODE_INVALID, 0 },
	{ "\x62\xf1\x78\x48\x10\x00", 6, 8, DECODE_INVALID, 0 },
	{ "\x62\xf0\x7c\x48\x10\x00", 6, 8, DECODE_INVALID, 0 },
	{ "\xf6\x05\x00\x00\x00\x00\x01", 7, 8, DECODE_OK, 7 },
	{ "\xf6\x15\x00\x00\x00\x00", 6, 8, DECODE_OK, 6 },
	{ "\x0f\x20\x00", 3, 8, DECODE_OK, 3 },
	{ "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", 15, 8, DECODE_LONG, 0 },
};

static void knows_lengths(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		struct insn insn = {};
		int status =
			decode((const uint8_t *)sample->bytes, sample->count, sample->mode, &insn);
		if (status != sample->status || insn.length != sample->length)
			test_fail("sample %zu: status %d, length %u", i, status, insn.length);
	}
}

static void asks_for_more(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		struct insn insn = {};
		if (sample->status != DECODE_OK)
			continue;
		for (uint32_t count = 0; count < sample->length; count++)
			expect_equal(
				decode((const uint8_t *)sample->bytes, count, sample->mode, &insn),
				DECODE_SHORT);
	}
}

static void finds_operands(void)
{
	struct insn insn = {};
	/* mov %r9, 0x10(%rbp, %r12, 4) */
	expect_equal(decode((const uint8_t *)"\x4e\x89\x4c\xa5\x10", 5, 8, &insn), DECODE_OK);
	expect_equal(insn.reg, 9);
	expect_equal(insn.base, 5);
	expect_equal(insn.index, 12);
	expect_equal(insn.scale, 2);
	expect_equal(insn.disp, 16);
	expect_equal(insn.operand_bytes, 8);
}

static void knows_wide_operands(void)
{
	struct insn insn = {};
	/* vpaddd zmm17{k3}{z}, zmm30, dword [r10+4]{1to16}: the displacement counts elements */
	expect_equal(
		decode((const uint8_t *)"\x62\xc1\x0d\xd3\xfe\x4a\x01", 7, 8, &insn), DECODE_OK);
	expect(insn.has_evex && insn.zeroes && insn.extra);
	expect_equal(insn.reg, 17);
	expect_equal(insn.vvvv, 30);
	expect_equal(insn.base, 10);
	expect_equal(insn.opmask, 3);
	expect_equal(insn.disp, 4);
	/* vmovups zmm0, [rax+64] */
	expect_equal(
		decode((const uint8_t *)"\x62\xf1\x7c\x48\x10\x40\x01", 7, 8, &insn), DECODE_OK);
	expect_equal(insn.disp, 64);
}

static const struct test tests[] = {
	{ "each form of instruction has its length", knows_lengths },
	{ "an instruction that is cut short asks for more", asks_for_more },
	{ "operands are found", finds_operands },
	{ "vectors to 31, opmasks and short displacements of EVEX are found", knows_wide_operands },
};
TEST_MAIN(tests)
