/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/soft/direct_scan.h"

#include <string.h>

#include "test.h"

struct sample {
	const char *bytes;
	uint32_t count;
	bool is_found, is_found_xcr0;
};

#define SAMPLE(bytes, ...) \
	{ \
		bytes, sizeof(bytes) - 1, __VA_ARGS__ \
	}

static const struct sample samples[] = {
	SAMPLE("\x0f\xae\x20", true, true),                   /* xsave [rax] */
	SAMPLE("\x48\x0f\xae\x64\x24\x40", true, true),       /* xsave64 [rsp + 64] */
	SAMPLE("\x0f\xae\x30", true, true),                   /* xsaveopt [rax] */
	SAMPLE("\x0f\xae\x28", true, true),                   /* xrstor [rax] */
	SAMPLE("\x0f\xc7\x64\x24\x40", true, true),           /* xsavec [rsp + 64] */
	SAMPLE("\xf3\x0f\xc7\xf8", true, true),               /* rdpid rax */
	SAMPLE("\x0f\x03\xc0", true, true),                   /* lsl eax, eax */
	SAMPLE("\x0f\x02\xc8", true, true),                   /* lar ecx, eax */
	SAMPLE("\xcd\x04", true, true),                       /* int 4 */
	SAMPLE("\xcd\x80", false, false),                     /* int 0x80 */
	SAMPLE("\xb8\xcd\x04\x00\x00", false, false),         /* mov eax, 0x4cd */
	SAMPLE("\x0f\x01\xd0", false, true),                  /* xgetbv */
	SAMPLE("\x0f\x01\xc1", true, true),                   /* vmcall */
	SAMPLE("\x0f\x01\xd9", true, true),                   /* vmmcall */
	SAMPLE("\x0f\x01\xee", false, false),                 /* rdpkru */
	SAMPLE("\xe8\x0f\x01\xd9\xff", false, false),         /* call, by 0xffd9010f */
	SAMPLE("\x0f\xae\xf0", false, false),                 /* mfence */
	SAMPLE("\x0f\xae\x18", false, false),                 /* stmxcsr [rax] */
	SAMPLE("\xf3\x48\x0f\xc7\xf8", true, true),           /* rdpid rax, with REX */
	SAMPLE("\x0f\xc7\xf8", false, false),                 /* rdseed eax */
	SAMPLE("\x0f\xc7\xf0", false, false),                 /* rdrand eax */
	SAMPLE("\x0f\xc7\x08", false, false),                 /* cmpxchg8b [rax] */
	SAMPLE("\x0f\xa2", false, false),                     /* cpuid: faults */
	SAMPLE("\xe8\x0f\xc7\xf8\xff", false, false),         /* call, by 0xfff8c70f */
	SAMPLE("\x48\x8d\x15\x0f\xae\x24\x00", false, false), /* lea rdx, [rip + 0x24ae0f] */
	SAMPLE("\xb8\x0f\x03\xc0\x00", false, false),         /* mov eax, 0xc0030f */
};

/* Amid instructions that look like others if they are begun in their midst. */
static void finds_instructions(void)
{
	/* push rbp; mov rbp, rsp; mov rax, [rsp + 0x98]; mov ecx, eax; add rax, 1; cmp [rdi], al; jne; lea rdx, [rip] */
	static const uint8_t other[] = { 0x55, 0x48, 0x89, 0xe5, 0x48, 0x8b, 0x84, 0x24, 0x98, 0x00,
		0x00, 0x00, 0x89, 0xc1, 0x48, 0x83, 0xc0, 0x01, 0x38, 0x07, 0x75, 0xf2, 0x48, 0x8d,
		0x15, 0x00, 0x01, 0x00, 0x00 };
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *sample = &samples[i];
		uint8_t bytes[256];
		size_t at = 0;
		for (int k = 0; k < 4; k++, at += sizeof(other))
			memcpy(bytes + at, other, sizeof(other));
		memcpy(bytes + at, sample->bytes, sample->count);
		at += sample->count;
		memcpy(bytes + at, other, sizeof(other));
		at += sizeof(other);
		for (int xcr0 = 0; xcr0 < 2; xcr0++) {
			bool wanted = xcr0 ? sample->is_found_xcr0 : sample->is_found;
			if (direct_scan(bytes, DIRECT_SCAN_BEFORE, at, xcr0) != wanted)
				test_fail("sample %zu, %d: %s", i, xcr0,
					wanted ? "not found" : "found");
		}
	}
}

/* One that ends in the next page is found in the first. */
static void finds_the_last(void)
{
	uint8_t bytes[64];
	memset(bytes, 0x90, sizeof(bytes));
	memcpy(bytes + sizeof(bytes) - 3, "\x0f\xae\x20", 3);
	expect(direct_scan(bytes, 0, sizeof(bytes), true));
	expect(!direct_scan(bytes, 0, sizeof(bytes) - 1, true));
	expect(!direct_scan(bytes, 0, 2, true));
}

static void finds_cpuid_where_it_tells(void)
{
	static const uint8_t bytes[] = { 0x90, 0x90, 0x31, 0xc0, 0x0f, 0xa2, 0x90, 0x90 };
	expect(direct_scan(bytes, 0, sizeof(bytes), DIRECT_TELLS_CPUID));
	expect(!direct_scan(bytes, 0, sizeof(bytes), DIRECT_TELLS_XCR0));
}

/* Whatever stands there. */
static void takes_anything(void)
{
	uint8_t bytes[128];
	uint32_t state = 1;
	for (int round = 0; round < 20000; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			state = state * 1664525u + 1013904223u;
			bytes[i] = state >> 28 == 0 ? 0x0f : (uint8_t)(state >> 24);
		}
		(void)direct_scan(bytes, state % DIRECT_SCAN_BEFORE, sizeof(bytes), state >> 6 & 3);
	}
}

static const struct test tests[] = {
	{ "instructions that tell of the host are found, and not what looks like them",
		finds_instructions },
	{ "one that reaches into the next page is found", finds_the_last },
	{ "CPUID is one where the host cannot make it fault", finds_cpuid_where_it_tells },
	{ "any bytes can be looked at", takes_anything },
};
TEST_MAIN(tests)
