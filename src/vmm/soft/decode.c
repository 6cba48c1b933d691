/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.c - one character an opcode says what follows it.
 *
 * .  nothing            m  modrm               b  imm8          z  imm16/32
 * B  modrm imm8         Z  modrm imm16/32      w  imm16         v  imm16/32/64
 * o  address            r  rel8                R  rel16/32      f  far pointer
 * e  imm16 imm8         g  group 3, 8 bit      G  group 3       x  not an instruction
 * p  prefix or escape, handled before the table is asked
 */
#include "vmm/soft/decode.h"

#include <string.h>

#include "vmm/cpu/state.h"
#include "vmm/soft/evex_table.h"

static const char one_byte[] = "mmmmbz..mmmmbz.p"
			       "mmmmbz..mmmmbz.."
			       "mmmmbzp.mmmmbzp."
			       "mmmmbzp.mmmmbzp."
			       "................"
			       "................"
			       "..mmppppzZbB...."
			       "rrrrrrrrrrrrrrrr"
			       "BZBBmmmmmmmmmmmm"
			       "..........f....."
			       "oooo....bz......"
			       "bbbbbbbbvvvvvvvv"
			       "BBw.mmBZe.w..b.."
			       "mmmmbb..mmmmmmmm"
			       "rrrrbbbbRRfr...."
			       "p.pp..gG......mm";

static const char two_byte[] = "mmmmx.....x.xmxx"
			       "mmmmmmmmmmmmmmmm"
			       "mmmmxxxxmmmmmmmm"
			       "......xxpxpxxxxx"
			       "mmmmmmmmmmmmmmmm"
			       "mmmmmmmmmmmmmmmm"
			       "mmmmmmmmmmmmmmmm"
			       "BBBBmmm.xxxxmmmm"
			       "RRRRRRRRRRRRRRRR"
			       "mmmmmmmmmmmmmmmm"
			       "...mBmxx...mBmmm"
			       "mmmmmmmmmmBmmmmm"
			       "mmBmBBBm........"
			       "mmmmmmmmmmmmmmmm"
			       "mmmmmmmmmmmmmmmm"
			       "mmmmmmmmmmmmmmmm";

/* One bit an opcode of the one-byte map: not in 64-bit code. */
static const uint16_t not_long[16] = { 0x40c0, 0xc0c0, 0x8080, 0x8080, 0, 0, 0x0007, 0, 0x0004,
	0x0400, 0, 0, 0x4030, 0x0070, 0x0400, 0 };

/* Operands are 64 bits wide in 64-bit code without REX.W: the stack, near branches. */
static const uint16_t wide_one_byte[16] = { 0, 0, 0, 0, 0, 0xffff, 0x0500, 0xffff, 0x8000, 0x3000,
	0, 0, 0x030c, 0, 0x0b0f, 0 };
static const uint16_t wide_two_byte[16] = { [8] = 0xffff, [10] = 0x0303 };
/* Near branches, whatever 0x66 says. */
static const uint16_t branch_one_byte[16] = { [7] = 0xffff, [12] = 0x000c, [14] = 0x0b0f };

static bool has_bit(const uint16_t *table, uint8_t opcode)
{
	return table[opcode >> 4] >> (opcode & 15) & 1;
}

/* It is seen afterwards whether there were that many bytes. */
struct reader {
	const uint8_t *at, *end;
};

static inline uint8_t next(struct reader *reader)
{
	return *reader->at++;
}

static inline bool is_over(const struct reader *reader)
{
	return reader->at > reader->end;
}

static inline uint64_t take_high(struct reader *reader, uint32_t bytes)
{
	uint64_t value;
	memcpy(&value, reader->at, 8);
	reader->at += bytes;
	return value << (64 - 8 * bytes);
}

static inline uint64_t take(struct reader *reader, uint32_t bytes)
{
	return take_high(reader, bytes) >> (64 - 8 * bytes);
}

static inline int64_t take_signed(struct reader *reader, uint32_t bytes)
{
	return (int64_t)take_high(reader, bytes) >> (64 - 8 * bytes);
}

static const int8_t segment_prefix[256] = { [0x26] = 1 + CPU_ES,
	[0x2e] = 1 + CPU_CS,
	[0x36] = 1 + CPU_SS,
	[0x3e] = 1 + CPU_DS,
	[0x64] = 1 + CPU_FS,
	[0x65] = 1 + CPU_GS };

/* Reads prefixes up to the opcode, which it returns. */
static uint8_t take_prefixes(struct reader *reader, struct insn *insn, uint8_t *rex)
{
	for (;;) {
		uint8_t byte = next(reader);
		if (is_over(reader))
			return 0;
		if (segment_prefix[byte]) {
			/* In 64-bit code CS, DS, ES, SS do not override a FS or GS before them. */
			if (insn->code_bytes != 8 || byte >= 0x64) {
				insn->segment = (uint8_t)(segment_prefix[byte] - 1);
				insn->has_segment = true;
			}
		} else if (byte == 0x66) {
			insn->has_66 = true;
		} else if (byte == 0x67) {
			insn->address_bytes = insn->code_bytes == 4 ? 2 : 4;
		} else if (byte == 0xf0) {
			insn->has_lock = true;
		} else if (byte == 0xf2) {
			insn->has_repne = true;
			insn->has_rep = false;
		} else if (byte == 0xf3) {
			insn->has_rep = true;
			insn->has_repne = false;
		} else if (insn->code_bytes == 8 && (byte & 0xf0) == 0x40) {
			*rex = byte; /* counts only just before the opcode */
			continue;
		} else {
			return byte;
		}
		*rex = 0;
	}
}

static int take_vex(struct reader *reader, struct insn *insn, bool is_short, uint8_t *rex)
{
	if (insn->has_lock || insn->has_66 || insn->has_rep || insn->has_repne || *rex)
		return DECODE_INVALID;
	uint8_t first = next(reader), second = first;
	insn->map = MAP_0F;
	*rex = (uint8_t)(~first >> 5 & 4);
	if (!is_short) {
		second = next(reader);
		*rex = (uint8_t)(~first >> 5 & 7);
		insn->w = second >> 7;
		insn->map = first & 31;
		if (insn->map < MAP_0F || insn->map > MAP_0F3A)
			return is_over(reader) ? DECODE_SHORT : DECODE_INVALID;
	}
	if (insn->code_bytes != 8)
		*rex = 0;
	static const uint8_t prefix[4] = { PP_NONE, PP_66, PP_F3, PP_F2 };
	insn->pp = prefix[second & 3];
	insn->l = second >> 2 & 1;
	insn->vvvv = ~second >> 3 & 15;
	if (insn->code_bytes != 8)
		insn->vvvv &= 7;
	insn->has_vex = true;
	insn->opcode = next(reader);
	return DECODE_OK;
}

/* Outside of 64-bit code there are registers 0 to 7 only, and the bits for more are ignored. */
static int take_evex(struct reader *reader, struct insn *insn, uint8_t *rex)
{
	if (insn->has_lock || insn->has_66 || insn->has_rep || insn->has_repne || *rex)
		return DECODE_INVALID;
	uint8_t first = next(reader), second = next(reader), third = next(reader);
	insn->opcode = next(reader);
	if (is_over(reader))
		return DECODE_SHORT;
	bool is_long = insn->code_bytes == 8;
	insn->map = first & 7;
	if ((first & 8) || !(second & 4) || insn->map < MAP_0F || insn->map > MAP_0F3A)
		return DECODE_INVALID;
	static const uint8_t prefix[4] = { PP_NONE, PP_66, PP_F3, PP_F2 };
	*rex = is_long ? (uint8_t)(~first >> 5 & 7) : 0;
	insn->reg_high = is_long ? (uint8_t)(~first >> 4 & 1) : 0;
	insn->w = second >> 7;
	insn->pp = prefix[second & 3];
	insn->high = (uint8_t)(~third >> 3 & 1);
	insn->vvvv = (uint8_t)((~second >> 3 & (is_long ? 15 : 7)) | insn->high << 4);
	insn->zeroes = third >> 7;
	insn->l = third >> 5 & 3;
	insn->extra = third >> 4 & 1;
	insn->opmask = third & 7;
	insn->has_vex = insn->has_evex = true;
	return is_long || !insn->high ? DECODE_OK : DECODE_INVALID;
}

static int take_opcode(struct reader *reader, struct insn *insn, uint8_t *rex)
{
	uint8_t byte = take_prefixes(reader, insn, rex);
	if (is_over(reader))
		return DECODE_SHORT;
	if (byte == 0xc4 || byte == 0xc5) {
		if (reader->at >= reader->end)
			return DECODE_SHORT;
		if (insn->code_bytes == 8 || *reader->at >= 0xc0)
			return take_vex(reader, insn, byte == 0xc5, rex);
	}
	if (byte == 0x62) {
		if (reader->at >= reader->end)
			return DECODE_SHORT;
		if (insn->code_bytes == 8 || *reader->at >= 0xc0)
			return take_evex(reader, insn, rex);
	}
	if (byte == 0x0f) {
		byte = next(reader);
		insn->map = MAP_0F;
		if (byte == 0x38 || byte == 0x3a) {
			insn->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
			byte = next(reader);
		}
	}
	insn->opcode = byte;
	insn->has_rex = *rex != 0;
	insn->w = *rex >> 3 & 1;
	if (insn->has_repne)
		insn->pp = PP_F2;
	else if (insn->has_rep)
		insn->pp = PP_F3;
	else if (insn->has_66)
		insn->pp = PP_66;
	return DECODE_OK;
}

static void set_operand_bytes(struct insn *insn)
{
	if (insn->code_bytes != 8) {
		insn->operand_bytes = (insn->code_bytes == 2) != insn->has_66 ? 2 : 4;
		return;
	}
	insn->operand_bytes = insn->w ? 8 : insn->has_66 ? 2 : 4;
	bool is_wide = false, is_branch = false;
	if (insn->map == MAP_ONE_BYTE) {
		is_wide = has_bit(wide_one_byte, insn->opcode);
		is_branch = has_bit(branch_one_byte, insn->opcode);
	} else if (insn->map == MAP_0F && !insn->has_vex) {
		is_wide = has_bit(wide_two_byte, insn->opcode);
		is_branch = insn->opcode >> 4 == 8;
	}
	if (is_branch || (is_wide && !insn->has_66))
		insn->operand_bytes = 8;
}

/* The group at 0xff: call, jmp and push are wide, too. */
static void widen_group5(struct insn *insn)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (which == 2 || which == 4 || (which == 6 && !insn->has_66))
		insn->operand_bytes = 8;
}

static void take_address16(struct reader *reader, struct insn *insn)
{
	static const uint8_t bases[8] = { CPU_RBX, CPU_RBX, CPU_RBP, CPU_RBP, CPU_RSI, CPU_RDI,
		CPU_RBP, CPU_RBX };
	static const uint8_t indexes[8] = { CPU_RSI, CPU_RDI, CPU_RSI, CPU_RDI, INSN_NONE,
		INSN_NONE, INSN_NONE, INSN_NONE };
	uint32_t mod = insn->modrm >> 6, rm = insn->modrm & 7;
	insn->base = bases[rm];
	insn->index = indexes[rm];
	if (mod == 0 && rm == 6) {
		insn->base = INSN_NONE;
		insn->disp = take_signed(reader, 2);
	} else if (mod == 1) {
		insn->disp = take_signed(reader, 1);
		insn->disp_unit = 1;
	} else if (mod == 2) {
		insn->disp = take_signed(reader, 2);
	}
}

static void take_address(struct reader *reader, struct insn *insn, uint8_t rex)
{
	uint32_t mod = insn->modrm >> 6, rm = insn->modrm & 7;
	insn->base = (uint8_t)(rm | (rex & 1) << 3);
	insn->index = INSN_NONE;
	if (rm == 4) {
		uint8_t sib = next(reader);
		insn->scale = sib >> 6;
		insn->index = insn->vector_index = (uint8_t)((sib >> 3 & 7) | (rex & 2) << 2);
		if (insn->index == CPU_RSP)
			insn->index = INSN_NONE;
		insn->base = (uint8_t)((sib & 7) | (rex & 1) << 3);
		rm = sib & 7;
		if (mod == 0 && rm == 5) {
			insn->base = INSN_NONE;
			insn->disp = take_signed(reader, 4);
		}
	} else if (mod == 0 && rm == 5) {
		insn->base = insn->code_bytes == 8 ? INSN_RIP : INSN_NONE;
		insn->disp = take_signed(reader, 4);
	}
	insn->disp_unit = mod == 1;
	if (mod == 1)
		insn->disp = take_signed(reader, 1);
	else if (mod == 2)
		insn->disp = take_signed(reader, 4);
}

/* What is known once the operands are: wider register numbers, and what a displacement of one byte means. */
static void finish_evex(struct insn *insn, uint8_t rex)
{
	uint8_t reg = insn->reg;
	insn->reg_high = (uint8_t)(insn->reg_high << 1 | (rex >> 2 & 1));
	insn->reg = (uint8_t)(reg | (insn->reg_high & 2) << 3);
	const struct evex_row *row = evex_row(insn);
	if (!row)
		return;
	if (!insn->is_memory && !(row->flags & (X_RM_GPR | X_OF_MASK)))
		insn->rm |= (uint8_t)((rex & 2) << 3);
	if (row->flags & X_OF_MASK)
		insn->rm &= 7;
	if (row->flags & (X_GATHER | X_SCATTER))
		insn->index = INSN_NONE;
	uint8_t unit = (uint8_t)evex_memory_bytes(row, insn);
	if (insn->disp_unit)
		insn->disp *= unit;
	insn->disp_unit = unit;
}

static void take_modrm(struct reader *reader, struct insn *insn, uint8_t rex)
{
	insn->has_modrm = true;
	insn->modrm = next(reader);
	insn->reg = (uint8_t)((insn->modrm >> 3 & 7) | (rex & 4) << 1);
	insn->rm = (uint8_t)((insn->modrm & 7) | (rex & 1) << 3);
	/* Moves to and from control and debug registers have no memory form. */
	bool is_register = insn->map == MAP_0F && insn->opcode >= 0x20 && insn->opcode <= 0x23;
	if (insn->modrm >= 0xc0 || is_register)
		return;
	insn->is_memory = true;
	if (insn->address_bytes == 2)
		take_address16(reader, insn);
	else
		take_address(reader, insn, rex);
	bool is_stack = insn->base == CPU_RSP || insn->base == CPU_RBP;
	if (!insn->has_segment)
		insn->segment = is_stack ? CPU_SS : CPU_DS;
}

static void take_immediate(struct reader *reader, struct insn *insn, char form)
{
	uint32_t z = insn->operand_bytes == 2 ? 2 : 4;
	uint32_t which = insn->modrm >> 3 & 7;
	switch (form) {
	case 'b':
	case 'B':
	case 'r':
		insn->imm = (uint64_t)take_signed(reader, 1);
		break;
	case 'z':
	case 'Z':
	case 'R':
		insn->imm = (uint64_t)take_signed(reader, z);
		break;
	case 'w':
		insn->imm = take(reader, 2);
		break;
	case 'v':
		insn->imm = take(reader, insn->operand_bytes);
		break;
	case 'o':
		insn->imm = take(reader, insn->address_bytes);
		break;
	case 'f':
		insn->imm = take(reader, z);
		insn->imm2 = (uint32_t)take(reader, 2);
		break;
	case 'e':
		insn->imm = take(reader, 2);
		insn->imm2 = next(reader);
		break;
	case 'g':
		if (which < 2)
			insn->imm = (uint64_t)take_signed(reader, 1);
		break;
	case 'G':
		if (which < 2)
			insn->imm = (uint64_t)take_signed(reader, z);
		break;
	default:
		break;
	}
}

static bool is_evex_immediate(uint8_t opcode)
{
	return (opcode & 0xfc) == 0x70 || opcode == 0xc2 || (opcode >= 0xc4 && opcode <= 0xc6);
}

static char form_of(const struct insn *insn)
{
	switch (insn->map) {
	case MAP_ONE_BYTE:
		if (insn->code_bytes == 8 && has_bit(not_long, insn->opcode))
			return 'x';
		return one_byte[insn->opcode];
	case MAP_0F:
		if (insn->has_evex)
			return is_evex_immediate(insn->opcode) ? 'B' : 'm';
		return two_byte[insn->opcode];
	case MAP_0F38:
		return 'm';
	default:
		return 'B';
	}
}

static bool has_modrm(char form)
{
	static const uint64_t forms = UINT64_C(1) << ('m' & 63) | UINT64_C(1) << ('B' & 63) |
		UINT64_C(1) << ('Z' & 63) | UINT64_C(1) << ('g' & 63) | UINT64_C(1) << ('G' & 63);
	return forms >> (form & 63) & 1;
}

static int decode_from(struct reader reader, uint32_t code_bytes, int too_short, struct insn *insn)
{
	const uint8_t *start = reader.at;
	*insn = (struct insn){ .code_bytes = (uint8_t)code_bytes,
		.address_bytes = (uint8_t)code_bytes,
		.segment = CPU_DS,
		.base = INSN_NONE,
		.index = INSN_NONE };
	uint8_t rex = 0;
	int status = take_opcode(&reader, insn, &rex);
	if (is_over(&reader) || status == DECODE_SHORT)
		return too_short;
	if (status != DECODE_OK)
		return status;
	char form = form_of(insn);
	if (form == 'x' || form == 'p')
		return DECODE_INVALID;
	set_operand_bytes(insn);
	if (has_modrm(form))
		take_modrm(&reader, insn, rex);
	else
		insn->rm = (uint8_t)((insn->opcode & 7) | (rex & 1) << 3); /* push, mov, bswap */
	if (insn->map == MAP_ONE_BYTE && insn->opcode == 0xff && code_bytes == 8)
		widen_group5(insn);
	if (insn->has_evex)
		finish_evex(insn, rex);
	insn->immediate_at = (uint8_t)(reader.at - start);
	take_immediate(&reader, insn, form);
	if (is_over(&reader))
		return too_short;
	insn->length = (uint8_t)(reader.at - start);
	return DECODE_OK;
}

int decode(const uint8_t *bytes, size_t count, uint32_t code_bytes, struct insn *ret)
{
	uint8_t copy[DECODE_READS];
	int too_short = count >= INSN_BYTES_MAX ? DECODE_LONG : DECODE_SHORT;
	struct reader reader = { .at = bytes, .end = bytes + INSN_BYTES_MAX };
	if (count < DECODE_READS) {
		memset(copy, 0, sizeof(copy));
		memcpy(copy, bytes, count);
		reader.at = copy;
		reader.end = copy + (count < INSN_BYTES_MAX ? count : INSN_BYTES_MAX);
	}
	return decode_from(reader, code_bytes, too_short, ret);
}
