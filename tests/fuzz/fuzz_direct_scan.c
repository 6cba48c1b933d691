/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_direct_scan.c - a hostile page of code: what is found are bytes that tell of the host, and where decoding from
 * anywhere before comes to them nothing is missed.
 *
 * The input is what tells, how many bytes stand before the page, then all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/soft/decode.h"
#include "vmm/soft/direct_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FAR  56u /* where the first try begins, at most */
#define NEAR 40u

/* From the manual, not from the code: the bytes of what must not run. */
static bool is_named(const uint8_t *at, bool has_f3, uint32_t tells)
{
	static const struct {
		uint8_t opcode, first, last; /* of the third byte */
		bool wants_f3;
		uint32_t tells;
	} named[] = {
		{ 0x01, 0xc1, 0xc1, false, 0 },                  /* VMCALL */
		{ 0x01, 0xd9, 0xd9, false, 0 },                  /* VMMCALL */
		{ 0x01, 0xd0, 0xd0, false, DIRECT_TELLS_XCR0 },  /* XGETBV */
		{ 0x02, 0xc0, 0xff, false, 0 },                  /* LAR */
		{ 0x03, 0xc0, 0xff, false, 0 },                  /* LSL */
		{ 0xa2, 0x00, 0xff, false, DIRECT_TELLS_CPUID }, /* CPUID */
		{ 0xae, 0x20, 0x37, false, 0 },                  /* XSAVE, XRSTOR, XSAVEOPT */
		{ 0xae, 0x60, 0x77, false, 0 }, { 0xae, 0xa0, 0xb7, false, 0 },
		{ 0xc7, 0x18, 0x2f, false, 0 }, /* XRSTORS, XSAVEC, XSAVES */
		{ 0xc7, 0x58, 0x6f, false, 0 }, { 0xc7, 0x98, 0xaf, false, 0 },
		{ 0xc7, 0xf8, 0xff, true, 0 }, /* RDPID */
	};
	if (at[0] == 0xcd)
		return at[1] == 4;
	for (size_t i = 0; at[0] == 0x0f && i < sizeof(named) / sizeof(*named); i++)
		if (at[1] == named[i].opcode && at[2] >= named[i].first && at[2] <= named[i].last &&
			(!named[i].wants_f3 || has_f3) &&
			(!named[i].tells || (named[i].tells & tells)))
			return true;
	return false;
}

/* Whether decoding from `start` comes to the bytes at `at` as an instruction without a prefix. */
static bool leads(const uint8_t *bytes, size_t count, size_t start, size_t at)
{
	struct insn insn;
	while (start < at) {
		if (decode(bytes + start, count - start, 8, &insn) != DECODE_OK)
			return false;
		start += insn.length;
	}
	return start == at && decode(bytes + at, count - at, 8, &insn) == DECODE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > 8192)
		return 0;
	uint32_t tells = data[0] & 3;
	size_t count = size - 2, begin = data[1] % (DIRECT_SCAN_BEFORE + 1);
	/* As large as it is, that a sanitizer sees who looks behind it. */
	uint8_t *bytes = malloc(count);
	if (!bytes)
		return 0;
	memcpy(bytes, data + 2, count);
	bool is_found = direct_scan(bytes, begin, count, tells), is_there = false, must = false;
	for (size_t at = begin; at + 2 < count; at++) {
		bool has_f3 =
			(at > 0 && bytes[at - 1] == 0xf3) || (at > 1 && bytes[at - 2] == 0xf3);
		if (!is_named(bytes + at, has_f3, tells))
			continue;
		is_there = true;
		bool all = at >= FAR;
		for (size_t start = at - FAR; all && start <= at - NEAR; start++)
			all = leads(bytes, count, start, at);
		must |= all;
	}
	if ((is_found && !is_there) || (must && !is_found))
		abort();
	free(bytes);
	return 0;
}
