/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lengths.c - our decoder's lengths against Zydis, on random bytes and on the text of a real program.
 *
 * usage: lengths [FILE [COUNT [SEED]]]
 */
#include <Zydis/Zydis.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "test.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/evex_table.h"

static const char *program = "/proc/self/exe";
static uint64_t random_count = 200000, seed = 1;

/* What Zydis knows and the engine does not offer, or takes for another length on purpose. */
static bool is_excused(const ZydisDecodedInstruction *insn)
{
	switch (insn->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
	case ZYDIS_INSTRUCTION_ENCODING_MVEX:
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
	case ZYDIS_INSTRUCTION_ENCODING_3DNOW:
		return true;
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
	default:
		break;
	}
	/* SSE4a, VMX, XABORT and XBEGIN, UD0 and jumps whose width the vendors see differently. */
	return insn->opcode_map == ZYDIS_OPCODE_MAP_0F &&
		(insn->opcode == 0x78 || insn->opcode == 0x79 || insn->opcode == 0xa6 ||
			insn->opcode == 0xa7 || insn->opcode == 0x37 || insn->opcode == 0x0f ||
			insn->opcode == 0x04 || insn->opcode == 0x0a || insn->opcode == 0x0c ||
			insn->opcode == 0x0e || (insn->opcode >= 0x24 && insn->opcode <= 0x27) ||
			insn->opcode == 0x36 || insn->opcode >= 0x39);
}

/* 1 if both know the instruction and agree, 0 if one does not, -1 if they differ. */
static int agree(const ZydisDecoder *decoder, const uint8_t *bytes, size_t count, uint32_t mode)
{
	ZydisDecodedInstruction theirs;
	struct insn ours = {};
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(decoder, NULL, bytes, count, &theirs)))
		return 0;
	int status = decode(bytes, count, mode, &ours);
	if (status == DECODE_OK && ours.length == theirs.length)
		return 1;
	if (status != DECODE_OK && is_excused(&theirs))
		return 0;
	printf("# Zydis %u, ours %d (%d), %u-byte code:", theirs.length, ours.length, status, mode);
	for (size_t i = 0; i < 15 && i < count; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
	return -1;
}

static void init(ZydisDecoder *decoder, uint32_t mode)
{
	static const ZydisMachineMode modes[] = { [2] = ZYDIS_MACHINE_MODE_LEGACY_16,
		[4] = ZYDIS_MACHINE_MODE_LEGACY_32,
		[8] = ZYDIS_MACHINE_MODE_LONG_64 };
	static const ZydisStackWidth widths[] = {
		[2] = ZYDIS_STACK_WIDTH_16, [4] = ZYDIS_STACK_WIDTH_32, [8] = ZYDIS_STACK_WIDTH_64
	};
	expect(ZYAN_SUCCESS(ZydisDecoderInit(decoder, modes[mode], widths[mode])));
	expect(ZYAN_SUCCESS(
		ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE)));
}

static void agrees_on_random_bytes(void)
{
	uint32_t wrong = 0, known = 0;
	uint64_t state = seed | 1;
	for (uint32_t mode = 2; mode <= 8; mode *= 2) {
		ZydisDecoder decoder;
		init(&decoder, mode);
		for (uint64_t i = 0; i < random_count && wrong < 20; i++) {
			uint8_t bytes[16];
			for (int j = 0; j < 16; j += 8) {
				state ^= state << 13;
				state ^= state >> 7;
				state ^= state << 17;
				memcpy(bytes + j, &state, 8);
			}
			int result = agree(&decoder, bytes, 15, mode);
			wrong += result < 0;
			known += result > 0;
		}
	}
	printf("# %u lengths equal\n", known);
	expect_equal(wrong, 0);
	expect(known > random_count);
}

static void agrees_on_a_program(void)
{
	cleanup(free) char *text = NULL;
	size_t length = 0, at = 0;
	uint32_t wrong = 0, known = 0;
	struct error e = {};
	ZydisDecoder decoder;
	init(&decoder, 8);
	if (file_read(AT_FDCWD, program, 256 * MIB, &text, &length, &e) < 0)
		test_fail("%s", e.text);
	while (at + 15 < length && wrong < 20) {
		ZydisDecodedInstruction theirs;
		const uint8_t *bytes = (const uint8_t *)text + at;
		int result = agree(&decoder, bytes, 15, 8);
		bool is_theirs = ZYAN_SUCCESS(
			ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, 15, &theirs));
		wrong += result < 0;
		known += result > 0;
		at += is_theirs ? theirs.length : 1;
	}
	printf("# %u lengths equal in %zu bytes\n", known, length);
	expect_equal(wrong, 0);
	expect(known > 1000);
}

/* BF16, FP16 and what else is not offered; addresses of many elements, and those that the mask counts. */
static bool is_other(const ZydisDecodedInstruction *theirs)
{
	static const char *const sets[] = { "AVX512_BF16", "AVX512_FP16", "AVX512_VP2", "AVX512_4",
		"AVX512ER", "AVX512PF", "KNC" };
	const char *set = ZydisISASetGetString(theirs->meta.isa_set);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		if (strncmp(set, sets[i], strlen(sets[i])) == 0)
			return true;
	return theirs->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX;
}

static const ZydisDecodedOperand *memory_operand(
	const ZydisDecodedInstruction *theirs, const ZydisDecodedOperand *operands)
{
	for (uint32_t i = 0; i < theirs->operand_count_visible; i++)
		if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &operands[i];
	return NULL;
}

/* 1, 0 and -1 as above: whether there is such an instruction, and its operand's address, size and use. */
static int agree_on_operand(const ZydisDecoder *decoder, const uint8_t *bytes)
{
	ZydisDecodedInstruction theirs;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	struct insn ours = {};
	bool is_theirs =
		ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, 15, &theirs, operands));
	if (is_theirs && is_other(&theirs))
		return 0;
	bool is_ours = decode(bytes, 15, 8, &ours) == DECODE_OK;
	const struct evex_row *row = is_ours ? evex_row(&ours) : NULL;
	const char *what = NULL;
	if (is_theirs != (row != NULL))
		what = row ? "only ours" : "only theirs";
	const ZydisDecodedOperand *memory = is_theirs ? memory_operand(&theirs, operands) : NULL;
	if (!what && row && memory) {
		bool is_packed = row->flags & (X_PACK | X_GATHER | X_SCATTER);
		bool is_written = memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
		if (!is_packed && memory->size != 8 * evex_memory_bytes(row, &ours))
			what = "size";
		else if (memory->mem.disp.value != ours.disp)
			what = "displacement";
		else if (is_written != ((row->flags & (X_STORE | X_SCATTER)) != 0))
			what = "use";
	}
	if (!what)
		return row != NULL;
	printf("# %s, %s, theirs %u bits at %jd, ours %u bytes at %jd:", what,
		is_theirs ? ZydisMnemonicGetString(theirs.mnemonic) : "-",
		memory ? (uint32_t)memory->size : 0, memory ? (intmax_t)memory->mem.disp.value : 0,
		row ? evex_memory_bytes(row, &ours) : 0, (intmax_t)ours.disp);
	for (size_t i = 0; i < 15; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
	return -1;
}

static void agrees_on_evex(void)
{
	uint32_t wrong = 0, known = 0;
	uint64_t state = seed | 1;
	ZydisDecoder decoder;
	expect(ZYAN_SUCCESS(
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	for (uint64_t i = 0; i < 10 * random_count && wrong < 20; i++) {
		uint8_t bytes[16];
		for (int j = 0; j < 16; j += 8) {
			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			memcpy(bytes + j, &state, 8);
		}
		bytes[0] = 0x62;
		bytes[1] = (uint8_t)((bytes[1] & 0xf0) | (1 + (bytes[1] & 15) % 3));
		bytes[2] |= (uint8_t)(4 | (bytes[9] & 1 ? 0x78 : 0) | (bytes[9] & 2 ? 1 : 0));
		bytes[3] |= bytes[9] & 4 ? 8 : 0;
		bytes[3] &= bytes[9] & 8 ? 0x78 : 0xff;
		int result = agree_on_operand(&decoder, bytes);
		wrong += result < 0;
		known += result > 0;
	}
	printf("# %u instructions of AVX-512 equal\n", known);
	expect_equal(wrong, 0);
	expect(known > random_count / 10);
}

static const struct test tests[] = {
	{ "instructions of AVX-512 and their operands are those of Zydis", agrees_on_evex },
	{ "lengths of random instructions are those of Zydis", agrees_on_random_bytes },
	{ "lengths in a program are those of Zydis", agrees_on_a_program },
};

int main(int argc, char **argv)
{
	if (argc > 1)
		program = argv[1];
	if (argc > 2)
		random_count = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		seed = strtoull(argv[3], NULL, 0);
	return test_main(tests, ARRAY_SIZE(tests));
}
