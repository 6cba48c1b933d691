/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fpu.c - FXSAVE, XSAVE and their loads, MXCSR, XCR0: from and to the parts of struct cpu.
 */
#include "vmm/soft/fpu.h"

#include <string.h>

#include "vmm/soft/cpuid.h"
#include "vmm/soft/segment.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define IMAGE_LEGACY  512u
#define IMAGE_HEADER  64u
#define IMAGE_UPPER   576u
#define IMAGE_BYTES   832u
#define MXCSR_MASK    0xffffu
#define MXCSR_DEFAULT 0x1f80u

#define PART_X87    1u
#define PART_SSE    2u
#define PART_AVX    4u
#define PART_OPMASK 0x20u
#define PART_UPPER  0x40u
#define PART_MORE   0x80u
#define PARTS_512   0xe0u
#define IMAGE_MAX   2688u

static void put(uint8_t *at, uint64_t value, size_t bytes)
{
	memcpy(at, &value, bytes);
}

static uint64_t get(const uint8_t *at, size_t bytes)
{
	uint64_t value = 0;
	memcpy(&value, at, bytes);
	return value;
}

/* The x87 part of an image: bytes 0 to 23 and the registers. */
static void save_x87(const struct cpu *cpu, uint8_t *image, bool is_wide)
{
	memcpy(image, cpu->fx, 8);
	put(image + 6, cpu->x87_opcode, 2);
	put(image + 8, cpu->x87_rip, 8);
	put(image + 16, cpu->x87_rdp, 8);
	if (!is_wide) {
		put(image + 12, cpu->x87_cs, 4);
		put(image + 20, cpu->x87_ds, 4);
	}
	for (uint32_t i = 0; i < 8; i++) {
		memcpy(image + 32 + 16 * i, cpu->fx + 32 + 16 * i, 10);
		memset(image + 42 + 16 * i, 0, 6);
	}
}

static void load_x87(struct cpu *cpu, const uint8_t *image, bool is_wide)
{
	memcpy(cpu->fx, image, 6);
	cpu->fx[5] = 0;
	/* The summary bit follows from flags and masks. */
	uint32_t control = cpu->fx[0] & 0x3f, status = cpu->fx[2] & 0x3f;
	bool is_pending = status & ~control;
	cpu->fx[2] = (uint8_t)((cpu->fx[2] & 0x7f) | (is_pending ? 0x80 : 0));
	cpu->fx[3] = (uint8_t)((cpu->fx[3] & 0x7f) | (is_pending ? 0x80 : 0));
	cpu->x87_opcode = (uint16_t)get(image + 6, 2) & 0x7ff;
	cpu->x87_rip = get(image + 8, is_wide ? 8 : 4);
	cpu->x87_rdp = get(image + 16, is_wide ? 8 : 4);
	for (uint32_t i = 0; i < 8; i++)
		memcpy(cpu->fx + 32 + 16 * i, image + 32 + 16 * i, 10);
}

static void init_x87(struct cpu *cpu)
{
	memset(cpu->fx, 0, 160);
	put(cpu->fx, 0x37f, 2);
	cpu->x87_rip = cpu->x87_rdp = 0;
	cpu->x87_opcode = 0;
}

/* The stubs' FXRSTOR needs an MXCSR that it takes. */
static void fix_image(struct cpu *cpu)
{
	put(cpu->fx + 24, MXCSR_DEFAULT, 4);
}

static uint32_t register_count(const struct cpu *cpu)
{
	return cpu->code_bytes == 8 ? 16 : 8;
}

static void save_xmm(const struct cpu *cpu, uint8_t *image, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		memcpy(image + 160 + 16 * i, cpu->vector[i], 16);
}

static void load_xmm(struct cpu *cpu, const uint8_t *image, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		memcpy(cpu->vector[i], image + 160 + 16 * i, 16);
}

static bool is_init_x87(const struct cpu *cpu)
{
	static const uint8_t zero[128];
	return get(cpu->fx, 6) == 0x37f && memcmp(cpu->fx + 32, zero, sizeof(zero)) == 0;
}

static bool is_zero(const void *at, size_t bytes)
{
	uint64_t any = 0;
	for (size_t i = 0; i < bytes; i += sizeof(any))
		any |= get((const uint8_t *)at + i, sizeof(any));
	return any == 0;
}

static bool is_init_avx(const struct cpu *cpu)
{
	uint64_t any = 0;
	for (uint32_t i = 0; i < 16; i++)
		any |= get(cpu->vector[i] + 16, 8) | get(cpu->vector[i] + 24, 8);
	return any == 0;
}

/* Which parts of AVX-512 are not all 0. */
static uint64_t in_use_512(const struct cpu *cpu)
{
	uint64_t parts = 0;
	if (cpu->has_high && !is_zero(cpu->opmask, sizeof(cpu->opmask)))
		parts |= PART_OPMASK;
	for (uint32_t i = 0; cpu->has_upper && i < 16; i++)
		if (!is_zero(cpu->vector[i] + 32, 32))
			parts |= PART_UPPER;
	if (cpu->has_high && !is_zero(cpu->vector[16], sizeof(cpu->vector) / 2))
		parts |= PART_MORE;
	return parts;
}

/* Outside of 64-bit code only the first eight vectors are saved and loaded. */
static void save_512(const struct cpu *cpu, uint8_t *image, uint64_t parts, uint32_t count)
{
	struct cpuid_layout at = cpuid_layout(cpu->is_intel);
	if (parts & PART_OPMASK)
		memcpy(image + at.opmask, cpu->opmask, sizeof(cpu->opmask));
	for (uint32_t i = 0; (parts & PART_UPPER) && i < count; i++)
		memcpy(image + at.upper + 32 * i, cpu->vector[i] + 32, 32);
	if ((parts & PART_MORE) && count == 16)
		memcpy(image + at.more, cpu->vector[16], sizeof(cpu->vector) / 2);
}

/* `parts` from the image where it has them, else 0. */
static void load_512(
	struct cpu *cpu, const uint8_t *image, uint64_t parts, uint64_t has, uint32_t count)
{
	struct cpuid_layout at = cpuid_layout(cpu->is_intel);
	if (!cpu->has_high && !cpu->has_upper && !(parts & has & PARTS_512))
		return;
	if (parts & PART_OPMASK) {
		memset(cpu->opmask, 0, sizeof(cpu->opmask));
		if (has & PART_OPMASK)
			memcpy(cpu->opmask, image + at.opmask, sizeof(cpu->opmask));
	}
	for (uint32_t i = 0; (parts & PART_UPPER) && i < count; i++) {
		memset(cpu->vector[i] + 32, 0, 32);
		if (has & PART_UPPER)
			memcpy(cpu->vector[i] + 32, image + at.upper + 32 * i, 32);
	}
	if ((parts & PART_MORE) && count == 16) {
		memset(cpu->vector[16], 0, sizeof(cpu->vector) / 2);
		if (has & PART_MORE)
			memcpy(cpu->vector[16], image + at.more, sizeof(cpu->vector) / 2);
	}
	cpu->has_high = cpu->has_upper = true;
	uint64_t in_use = in_use_512(cpu);
	cpu->has_high = in_use & (PART_OPMASK | PART_MORE);
	cpu->has_upper = in_use & PART_UPPER;
}

/* How long an image with these parts is. */
static uint32_t image_bytes(const struct cpu *cpu, uint64_t parts)
{
	struct cpuid_layout at = cpuid_layout(cpu->is_intel);
	uint32_t bytes = parts & PART_AVX ? IMAGE_BYTES : IMAGE_LEGACY + IMAGE_HEADER;
	if (parts & PART_OPMASK)
		bytes = at.opmask + 64;
	if (parts & PART_UPPER)
		bytes = at.upper + 512;
	return parts & PART_MORE ? at.bytes : bytes;
}

void fpu_save(const struct cpu *cpu, uint8_t *image)
{
	memset(image, 0, IMAGE_MAX);
	save_x87(cpu, image, true);
	put(image + 24, cpu->mxcsr, 4);
	put(image + 28, MXCSR_MASK, 4);
	save_xmm(cpu, image, 16);
	for (uint32_t i = 0; i < 16; i++)
		memcpy(image + IMAGE_UPPER + 16 * i, cpu->vector[i] + 16, 16);
	uint64_t more = in_use_512(cpu);
	save_512(cpu, image, more, 16);
	put(image + IMAGE_LEGACY, PART_X87 | PART_SSE | PART_AVX | more, 8);
}

void fpu_load(struct cpu *cpu, const uint8_t *image)
{
	uint64_t parts = get(image + IMAGE_LEGACY, 8);
	memset(cpu->vector, 0, sizeof(cpu->vector));
	memset(cpu->opmask, 0, sizeof(cpu->opmask));
	cpu->has_high = cpu->has_upper = false;
	init_x87(cpu);
	if (parts & PART_X87)
		load_x87(cpu, image, true);
	if (parts & PART_SSE)
		load_xmm(cpu, image, 16);
	for (uint32_t i = 0; (parts & PART_AVX) && i < 16; i++)
		memcpy(cpu->vector[i] + 16, image + IMAGE_UPPER + 16 * i, 16);
	if (cpuid_host_has(HOST_HAS_AVX512))
		load_512(cpu, image, PARTS_512, parts, 16);
	cpu->mxcsr = (uint32_t)get(image + 24, 4) & MXCSR_MASK;
	fix_image(cpu);
}

static void check_available(struct cpu *cpu, const struct op *op)
{
	if (cpu->cr0 & CR0_EM)
		fault_ud(cpu, op);
	if (cpu->cr0 & CR0_TS)
		cpu_fault(cpu, op, FAULT_NM, 0);
}

static uint64_t image_at(struct cpu *cpu, const struct op *op, uint32_t alignment)
{
	uint64_t linear = op_linear(cpu, op);
	if (linear & (alignment - 1))
		fault_gp(cpu, op);
	return linear;
}

HANDLER(fxsave)
{
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_fault(cpu, op, FAULT_NM, 0);
	uint64_t linear = image_at(cpu, op, 16);
	uint8_t image[IMAGE_LEGACY];
	memory_probe(cpu, op, linear, IMAGE_LEGACY, ACCESS_WRITE);
	memory_read(cpu, op, linear, image, IMAGE_LEGACY);
	save_x87(cpu, image, op->extra);
	put(image + 24, cpu->mxcsr, 4);
	put(image + 28, MXCSR_MASK, 4);
	if (cpu->cr4 & CR4_OSFXSR)
		save_xmm(cpu, image, register_count(cpu));
	memory_write(cpu, op, linear, image, IMAGE_LEGACY);
	return op + 1;
}

HANDLER(fxrstor)
{
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_fault(cpu, op, FAULT_NM, 0);
	uint64_t linear = image_at(cpu, op, 16);
	uint8_t image[IMAGE_LEGACY];
	memory_read(cpu, op, linear, image, IMAGE_LEGACY);
	uint32_t mxcsr = (uint32_t)get(image + 24, 4);
	if (mxcsr & ~MXCSR_MASK)
		fault_gp(cpu, op);
	load_x87(cpu, image, op->extra);
	if (cpu->cr4 & CR4_OSFXSR) {
		cpu->mxcsr = mxcsr;
		load_xmm(cpu, image, register_count(cpu));
	}
	return op + 1;
}

static uint64_t requested(const struct cpu *cpu)
{
	uint64_t mask = cpu->r[CPU_RDX] << 32 | (uint32_t)cpu->r[CPU_RAX];
	return mask & cpu->xcr0;
}

static void check_xsave(struct cpu *cpu, const struct op *op)
{
	if (!(cpu->cr4 & CR4_OSXSAVE))
		fault_ud(cpu, op);
	if (cpu->cr0 & CR0_TS)
		cpu_fault(cpu, op, FAULT_NM, 0);
}

/* What the components of an image stand at; not the header, nor MXCSR. */
static void move_parts(struct cpu *cpu, const struct op *op, uint64_t linear, uint8_t *image,
	uint64_t parts, uint32_t access)
{
	struct cpuid_layout at = cpuid_layout(cpu->is_intel);
	uint32_t count = register_count(cpu);
	const struct {
		uint64_t part;
		uint32_t at, bytes;
	} all[] = { { PART_X87, 0, 24 }, { PART_X87, 32, 128 }, { PART_SSE, 160, 16 * count },
		{ PART_AVX, IMAGE_UPPER, 16 * count }, { PART_OPMASK, at.opmask, 64 },
		{ PART_UPPER, at.upper, 32 * count },
		{ PART_MORE, at.more, count == 16 ? 1024 : 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!(parts & all[i].part) || all[i].bytes == 0)
			continue;
		if (access == ACCESS_WRITE)
			memory_write(cpu, op, linear + all[i].at, image + all[i].at, all[i].bytes);
		else
			memory_read(cpu, op, linear + all[i].at, image + all[i].at, all[i].bytes);
	}
}

/* What is not in use is neither copied nor touched by XSAVEOPT. */
HANDLER(xsave)
{
	check_xsave(cpu, op);
	uint64_t linear = image_at(cpu, op, 64), parts = requested(cpu), header = 0;
	uint64_t in_use = (is_init_x87(cpu) ? 0 : PART_X87) | PART_SSE |
		(is_init_avx(cpu) ? 0 : PART_AVX) | in_use_512(cpu);
	bool is_optimised = op->extra & 2;
	uint64_t write = is_optimised ? parts & in_use : parts;
	uint8_t image[IMAGE_MAX];
	memory_probe(cpu, op, linear, image_bytes(cpu, write), ACCESS_WRITE);
	if (write & PART_X87)
		save_x87(cpu, image, op->extra & 1);
	if (write & PART_SSE)
		save_xmm(cpu, image, register_count(cpu));
	for (uint32_t i = 0; (write & PART_AVX) && i < register_count(cpu); i++)
		memcpy(image + IMAGE_UPPER + 16 * i, cpu->vector[i] + 16, 16);
	save_512(cpu, image, write, register_count(cpu));
	move_parts(cpu, op, linear, image, write, ACCESS_WRITE);
	if (parts & (PART_SSE | PART_AVX))
		memory_store(cpu, op, linear + 24, 8, cpu->mxcsr | (uint64_t)MXCSR_MASK << 32);
	memory_read(cpu, op, linear + IMAGE_LEGACY, &header, 8);
	memory_store(cpu, op, linear + IMAGE_LEGACY, 8, (header & ~parts) | (parts & in_use));
	return op + 1;
}

HANDLER(xrstor)
{
	static const uint8_t zero[IMAGE_HEADER];
	check_xsave(cpu, op);
	uint64_t linear = image_at(cpu, op, 64), parts = requested(cpu);
	uint8_t image[IMAGE_MAX];
	memory_read(cpu, op, linear + IMAGE_LEGACY, image + IMAGE_LEGACY, IMAGE_HEADER);
	uint64_t header = get(image + IMAGE_LEGACY, 8);
	if ((header & ~cpu->xcr0) || memcmp(image + IMAGE_LEGACY + 8, zero, 16) != 0)
		fault_gp(cpu, op);
	uint32_t mxcsr = (uint32_t)memory_load(cpu, op, linear + 24, 4);
	if ((parts & (PART_SSE | PART_AVX)) && (mxcsr & ~MXCSR_MASK))
		fault_gp(cpu, op);
	memory_probe(cpu, op, linear, image_bytes(cpu, parts & header), ACCESS_READ);
	move_parts(cpu, op, linear, image, parts & header, ACCESS_READ);
	if (parts & (PART_SSE | PART_AVX))
		cpu->mxcsr = mxcsr;
	if (parts & header & PART_X87)
		load_x87(cpu, image, op->extra);
	else if (parts & PART_X87)
		init_x87(cpu);
	fix_image(cpu);
	uint32_t count = register_count(cpu);
	for (uint32_t i = 0; (parts & PART_SSE) && i < count; i++) {
		if (header & PART_SSE)
			memcpy(cpu->vector[i], image + 160 + 16 * i, 16);
		else
			memset(cpu->vector[i], 0, 16);
	}
	for (uint32_t i = 0; (parts & PART_AVX) && i < count; i++) {
		if (header & PART_AVX)
			memcpy(cpu->vector[i] + 16, image + IMAGE_UPPER + 16 * i, 16);
		else
			memset(cpu->vector[i] + 16, 0, 16);
	}
	load_512(cpu, image, parts, header, count);
	return op + 1;
}

HANDLER(ldmxcsr)
{
	if (!(cpu->cr4 & (op->extra ? CR4_OSXSAVE : CR4_OSFXSR)))
		fault_ud(cpu, op);
	check_available(cpu, op);
	uint32_t value = load_4(cpu, op, op_linear(cpu, op));
	if (value & ~MXCSR_MASK)
		fault_gp(cpu, op);
	cpu->mxcsr = value;
	return op + 1;
}

HANDLER(stmxcsr)
{
	if (!(cpu->cr4 & (op->extra ? CR4_OSXSAVE : CR4_OSFXSR)))
		fault_ud(cpu, op);
	check_available(cpu, op);
	store_4(cpu, op, op_linear(cpu, op), cpu->mxcsr);
	return op + 1;
}

HANDLER(xgetbv)
{
	if (!(cpu->cr4 & CR4_OSXSAVE))
		fault_ud(cpu, op);
	if ((uint32_t)cpu->r[CPU_RCX] != 0)
		fault_gp(cpu, op);
	cpu->r[CPU_RAX] = cpu->xcr0;
	cpu->r[CPU_RDX] = 0;
	return op + 1;
}

HANDLER(xsetbv)
{
	uint64_t value = cpu->r[CPU_RDX] << 32 | (uint32_t)cpu->r[CPU_RAX];
	if (!(cpu->cr4 & CR4_OSXSAVE))
		fault_ud(cpu, op);
	bool is_good = cpu->cpl == 0 && (uint32_t)cpu->r[CPU_RCX] == 0 && cpuid_is_xcr0(value) &&
		cpuid_host_has_xcr0(value);
	if (!is_good)
		fault_gp(cpu, op);
	cpu->xcr0 = value;
	return op_end(cpu, op);
}

static op_run *bind_group15(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	op->extra = insn->w;
	if (!insn->is_memory || insn->pp != PP_NONE)
		return NULL;
	switch (which) {
	case 0:
		op_set_access(op, 64, ACCESS_WRITE);
		return fxsave;
	case 1:
		op_set_access(op, 64, ACCESS_READ);
		return fxrstor;
	case 2:
	case 3:
		op->extra = insn->has_vex;
		op_set_access(op, 4, which == 2 ? ACCESS_READ : ACCESS_WRITE);
		return which == 2 ? ldmxcsr : stmxcsr;
	case 4:
	case 6:
		op->extra = insn->w | (which == 6 ? 2 : 0);
		op_set_access(op, 64, ACCESS_WRITE);
		return xsave;
	case 5:
		op_set_access(op, 64, ACCESS_READ);
		return xrstor;
	default:
		return NULL;
	}
}

op_run *fpu_bind(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->map != MAP_0F || insn->has_lock)
		return NULL;
	if (insn->opcode == 0x01 && insn->modrm == 0xd0)
		return xgetbv;
	if (insn->opcode == 0x01 && insn->modrm == 0xd1)
		return xsetbv;
	if (insn->opcode != 0xae || (insn->has_vex && which != 2 && which != 3))
		return NULL;
	return bind_group15(insn, op);
}
