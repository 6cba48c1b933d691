/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_scan.c - looks for the bytes, and whether they begin an instruction.
 *
 * Where instructions begin nobody says; but wherever one starts to decode, a few instructions later all have come to
 * the same beginnings. So it is tried from several places before, and they vote.
 */
#include "vmm/soft/direct_scan.h"

#include <string.h>

#include "vmm/soft/decode.h"

#define TRIES 16u /* places to start from */
#define AHEAD 40u /* the nearest of them */

#define PREFIXES 4u /* more than that no assembler writes */

/* `at` is where an opcode may be, and three bytes are there. */
static bool is_telling(const uint8_t *at, bool has_f3, uint32_t tells)
{
	if (at[0] == 0xcd)
		return at[1] == 4;
	uint32_t reg = at[2] >> 3 & 7, mod = at[2] >> 6;
	switch (at[1]) {
	case 0x01: /* VMCALL, VMMCALL: a hypervisor of the host's would answer; XGETBV */
		return at[2] == 0xc1 || at[2] == 0xd9 ||
			(at[2] == 0xd0 && (tells & DIRECT_TELLS_XCR0));
	case 0x02: /* LAR */
	case 0x03: /* LSL */
		return mod == 3;
	case 0xa2: /* CPUID */
		return tells & DIRECT_TELLS_CPUID;
	case 0xae: /* XSAVE, XRSTOR, XSAVEOPT */
		return mod != 3 && reg >= 4 && reg <= 6;
	case 0xc7: /* XRSTORS, XSAVEC, XSAVES; RDPID, without its prefix RDSEED */
		return mod != 3 ? reg >= 3 && reg <= 5 : reg == 7 && has_f3;
	default:
		return false;
	}
}

/* 1: from `start` on decoding comes to the instruction with its opcode at `at`; -1: it does not; 0: it ends before. */
static int comes_to(const uint8_t *bytes, size_t count, size_t start, size_t at)
{
	while (start <= at) {
		struct insn insn;
		if (decode(bytes + start, count - start, 8, &insn) != DECODE_OK)
			return start == at ? -1 : 0;
		size_t end = start + insn.length;
		if (end > at) {
			bool has_0f = bytes[at] == 0x0f;
			bool is_it = insn.map == (has_0f ? MAP_0F : MAP_ONE_BYTE) &&
				insn.opcode == bytes[at + has_0f] && !insn.has_vex &&
				at - start <= PREFIXES;
			return is_it ? 1 : -1;
		}
		start = end;
	}
	return 0;
}

static bool is_instruction(const uint8_t *bytes, size_t count, size_t at)
{
	size_t last = at > AHEAD ? at - AHEAD : 0, first = last > TRIES ? last - TRIES : 0;
	uint32_t votes[3] = {};
	for (size_t start = first; start <= last; start++)
		votes[comes_to(bytes, count, start, at) + 1]++;
	/* Rather one too many; XSAVE also if nobody knows. */
	return 2 * votes[2] > votes[0] ||
		(votes[0] == 0 && bytes[at] == 0x0f && bytes[at + 1] >= 0xa0);
}

static bool scan(const uint8_t *bytes, size_t begin, size_t end, uint8_t first, uint32_t tells)
{
	for (size_t at = begin; at + 2 < end; at++) {
		const uint8_t *found = memchr(bytes + at, first, end - 2 - at);
		if (!found)
			return false;
		at = (size_t)(found - bytes);
		bool has_f3 = (at > 0 && found[-1] == 0xf3) || (at > 1 && found[-2] == 0xf3);
		if (is_telling(found, has_f3, tells) && is_instruction(bytes, end, at))
			return true;
	}
	return false;
}

bool direct_scan(const uint8_t *bytes, size_t begin, size_t end, uint32_t tells)
{
	return scan(bytes, begin, end, 0x0f, tells) || scan(bytes, begin, end, 0xcd, tells);
}
