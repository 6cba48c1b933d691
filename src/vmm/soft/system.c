/* SPDX-License-Identifier: Apache-2.0 */
/*
 * system.c - what only a kernel does, mostly.
 */
#include "vmm/soft/system.h"

#include "vmm/soft/apic.h"
#include "vmm/soft/cpuid.h"
#include "vmm/soft/crossing.h"
#include "vmm/soft/msr.h"
#include "vmm/soft/segment.h"
#include "vmm/soft/task.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define CR4_KNOWN \
	(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR | \
		CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP)

static void need_cpl0(struct cpu *cpu, const struct op *op)
{
	if (cpu->cpl != 0)
		fault_gp(cpu, op);
}

static void write_cr0(struct cpu *cpu, const struct op *op, uint64_t value)
{
	if (value >> 32 || ((value & CR0_PG) && !(value & CR0_PE)) ||
		((value & CR0_NW) && !(value & CR0_CD)))
		fault_gp(cpu, op);
	value = (value & 0xe005003f) | CR0_ET;
	uint64_t changed = value ^ cpu->cr0;
	if (changed & value & CR0_PG) {
		bool is_pae = cpu->cr4 & CR4_PAE;
		if (cpu->efer & EFER_LME) {
			if (!is_pae || (cpu->segments[CPU_CS].attributes & CPU_ATTRIBUTE_LONG))
				fault_gp(cpu, op);
			cpu->efer |= EFER_LMA;
		} else if (is_pae && !paging_load_pdptes(cpu, cpu->cr3, cpu->pdpte)) {
			fault_gp(cpu, op);
		}
	} else if (changed & CR0_PG) {
		if (cpu->code_bytes == 8)
			fault_gp(cpu, op);
		cpu->efer &= ~EFER_LMA;
	}
	cpu->cr0 = value;
	if (changed & (CR0_PG | CR0_WP | CR0_PE))
		tlb_flush(cpu, true);
	cpu_update_mode(cpu);
	crossing_update(cpu);
}

static void write_cr3(struct cpu *cpu, const struct op *op, uint64_t value)
{
	if (is_long(cpu)) {
		if (value >> PHYSICAL_BITS)
			fault_gp(cpu, op);
	} else if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE)) {
		uint64_t pdpte[4];
		if (!paging_load_pdptes(cpu, value, pdpte))
			fault_gp(cpu, op);
		for (int i = 0; i < 4; i++)
			cpu->pdpte[i] = pdpte[i];
	}
	cpu->cr3 = value;
	tlb_flush(cpu, false);
	if (cpu->direct_hooks)
		cpu->direct_hooks->switched(cpu);
}

static void write_cr4(struct cpu *cpu, const struct op *op, uint64_t value)
{
	uint64_t changed = value ^ cpu->cr4;
	if ((value & ~CR4_KNOWN) || (is_long(cpu) && !(value & CR4_PAE)))
		fault_gp(cpu, op);
	if ((changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) && (cpu->cr0 & CR0_PG) &&
		!is_long(cpu) && (value & CR4_PAE) &&
		!paging_load_pdptes(cpu, cpu->cr3, cpu->pdpte))
		fault_gp(cpu, op);
	cpu->cr4 = value;
	if (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP))
		tlb_flush(cpu, true);
	cpu_update_mode(cpu);
	crossing_update(cpu);
}

HANDLER(mov_from_cr)
{
	uint64_t value;
	need_cpl0(cpu, op);
	switch (op->extra) {
	case 0:
		value = cpu->cr0;
		break;
	case 2:
		value = cpu->cr2;
		break;
	case 3:
		value = cpu->cr3;
		break;
	case 4:
		value = cpu->cr4;
		break;
	case 8:
		value = cpu->lapic.tpr >> 4;
		break;
	default:
		fault_ud(cpu, op);
	}
	reg_set(cpu, op->rm, op->bytes, value);
	return op + 1;
}

HANDLER(mov_to_cr)
{
	uint64_t value = reg_get(cpu, op->rm, op->bytes);
	need_cpl0(cpu, op);
	switch (op->extra) {
	case 0:
		write_cr0(cpu, op, value);
		break;
	case 2:
		cpu->cr2 = value;
		break;
	case 3:
		write_cr3(cpu, op, value);
		break;
	case 4:
		write_cr4(cpu, op, value);
		break;
	case 8:
		if (value & ~UINT64_C(15))
			fault_gp(cpu, op);
		cpu->lapic.tpr = (uint32_t)value << 4;
		cpu_call(cpu, ATTENTION_IRQ);
		break;
	default:
		fault_ud(cpu, op);
	}
	return op_end(cpu, op);
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE forbids them. */
static uint32_t debug_register(struct cpu *cpu, const struct op *op)
{
	uint32_t number = op->extra;
	need_cpl0(cpu, op);
	if (number >= 8 || ((number == 4 || number == 5) && (cpu->cr4 & CR4_DE)))
		fault_ud(cpu, op);
	if (number == 4 || number == 5)
		number += 2;
	if (cpu->dr[7] & 0x2000) {
		cpu->dr[7] &= ~UINT64_C(0x2000);
		cpu->dr[6] |= 0x2000;
		cpu_fault(cpu, op, FAULT_DB, 0);
	}
	return number;
}

HANDLER(mov_from_dr)
{
	reg_set(cpu, op->rm, op->bytes, cpu->dr[debug_register(cpu, op)]);
	return op + 1;
}

HANDLER(mov_to_dr)
{
	uint32_t number = debug_register(cpu, op);
	uint64_t value = reg_get(cpu, op->rm, op->bytes);
	if (number >= 6 && value >> 32)
		fault_gp(cpu, op);
	if (number == 6)
		value = (value & 0xe00f) | 0xffff0ff0;
	else if (number == 7)
		value = (value & 0xffff2fff) | 0x400;
	cpu->dr[number] = value;
	cpu_update_breakpoints(cpu);
	tlb_flush(cpu, true);
	return op_end(cpu, op);
}

HANDLER(cpuid)
{
	uint32_t regs[4];
	cpuid_query(cpu, (uint32_t)cpu->r[CPU_RAX], (uint32_t)cpu->r[CPU_RCX], regs);
	cpu->r[CPU_RAX] = regs[0];
	cpu->r[CPU_RBX] = regs[1];
	cpu->r[CPU_RCX] = regs[2];
	cpu->r[CPU_RDX] = regs[3];
	return op + 1;
}

static void set_pair(struct cpu *cpu, uint64_t value)
{
	cpu->r[CPU_RAX] = (uint32_t)value;
	cpu->r[CPU_RDX] = value >> 32;
}

HANDLER(rdtsc)
{
	if ((cpu->cr4 & CR4_TSD) && cpu->cpl != 0)
		fault_gp(cpu, op);
	set_pair(cpu, cpu_tsc(cpu));
	if (op->extra)
		cpu->r[CPU_RCX] = (uint32_t)cpu->tsc_aux;
	return op + 1;
}

HANDLER(rdpmc)
{
	fault_gp(cpu, op);
}

HANDLER(rdpid)
{
	reg_set(cpu, op->rm, 8, (uint32_t)cpu->tsc_aux);
	return op + 1;
}

HANDLER(rdmsr)
{
	uint64_t value;
	need_cpl0(cpu, op);
	if (!msr_read(cpu, (uint32_t)cpu->r[CPU_RCX], &value))
		fault_gp(cpu, op);
	set_pair(cpu, value);
	return op + 1;
}

HANDLER(wrmsr)
{
	need_cpl0(cpu, op);
	uint64_t value = (uint64_t)(uint32_t)cpu->r[CPU_RDX] << 32 | (uint32_t)cpu->r[CPU_RAX];
	if (!msr_write(cpu, (uint32_t)cpu->r[CPU_RCX], value))
		fault_gp(cpu, op);
	crossing_update(cpu);
	return op_end(cpu, op);
}

HANDLER(halt)
{
	need_cpl0(cpu, op);
	cpu->activity = CPU_HALTED;
	cpu_call(cpu, ATTENTION_IRQ);
	return op_end(cpu, op);
}

HANDLER(interrupts_off)
{
	if ((cpu->cr0 & CR0_PE) && (is_v86(cpu) ? 3u : cpu->cpl) > cpu_iopl(cpu))
		fault_gp(cpu, op);
	cpu->rflags_rest &= ~FLAG_IF;
	return op + 1;
}

HANDLER(interrupts_on)
{
	if ((cpu->cr0 & CR0_PE) && (is_v86(cpu) ? 3u : cpu->cpl) > cpu_iopl(cpu))
		fault_gp(cpu, op);
	if (cpu->rflags_rest & FLAG_IF)
		return op + 1;
	cpu->rflags_rest |= FLAG_IF;
	cpu->shadow = true;
	cpu_call(cpu, ATTENTION_IRQ | ATTENTION_STEP);
	return op_end(cpu, op);
}

HANDLER(clear_ts)
{
	need_cpl0(cpu, op);
	cpu->cr0 &= ~CR0_TS;
	return op + 1;
}

/* CLAC, STAC */
HANDLER(access_check)
{
	if (cpu->cpl != 0)
		fault_ud(cpu, op);
	cpu_set_rflags(cpu, op->extra ? FLAG_AC : 0, FLAG_AC);
	return op + 1;
}

HANDLER(swapgs)
{
	need_cpl0(cpu, op);
	uint64_t was = cpu->segments[CPU_GS].base;
	cpu->segments[CPU_GS].base = cpu->base[CPU_GS] = cpu->kernel_gs_base;
	cpu->kernel_gs_base = was;
	return op + 1;
}

HANDLER(segment_base) /* RDFSBASE RDGSBASE WRFSBASE WRGSBASE */
{
	uint32_t segment = op->extra & 1 ? CPU_GS : CPU_FS;
	if (!(cpu->cr4 & CR4_FSGSBASE))
		fault_ud(cpu, op);
	if (!(op->extra & 2)) {
		reg_set(cpu, op->rm, op->bytes, cpu->segments[segment].base);
		return op + 1;
	}
	uint64_t value = reg_get(cpu, op->rm, op->bytes);
	if (!is_canonical(value))
		fault_gp(cpu, op);
	cpu->segments[segment].base = cpu->base[segment] = value;
	return op + 1;
}

static void check_umip(struct cpu *cpu, const struct op *op)
{
	if ((cpu->cr4 & CR4_UMIP) && cpu->cpl != 0)
		fault_gp(cpu, op);
}

HANDLER(store_table) /* SGDT SIDT */
{
	const struct cpu_table *table = op->extra ? &cpu->idt : &cpu->gdt;
	check_umip(cpu, op);
	uint64_t linear = op_linear(cpu, op);
	uint32_t bytes = cpu->code_bytes == 8 ? 8 : 4;
	memory_probe(cpu, op, linear, 2 + bytes, ACCESS_WRITE);
	store_2(cpu, op, linear, (uint16_t)table->limit);
	store_any(cpu, op, linear + 2, bytes, table->base);
	return op + 1;
}

HANDLER(load_table) /* LGDT LIDT */
{
	struct cpu_table *table = op->extra ? &cpu->idt : &cpu->gdt;
	need_cpl0(cpu, op);
	uint64_t linear = op_linear(cpu, op);
	uint32_t limit = load_2(cpu, op, linear);
	uint64_t base = load_any(cpu, op, linear + 2, cpu->code_bytes == 8 ? 8 : 4);
	if (cpu->code_bytes != 8 && op->bytes == 2)
		base &= 0xffffff;
	if (!is_canonical(base))
		fault_gp(cpu, op);
	*table = (struct cpu_table){ .base = base, .limit = limit };
	return op + 1;
}

HANDLER(store_word) /* SMSW SLDT STR */
{
	uint64_t value = op->extra == 0 ? cpu->segments[CPU_LDT].selector
		: op->extra == 1        ? cpu->segments[CPU_TR].selector
					: cpu->cr0;
	check_umip(cpu, op);
	if (op->extra < 2 && !is_protected(cpu))
		fault_ud(cpu, op);
	if (op->flags & OP_MEMORY)
		store_2(cpu, op, op_linear(cpu, op), (uint16_t)value);
	else
		reg_set(cpu, op->rm, op->bytes, value);
	return op + 1;
}

HANDLER(load_status) /* LMSW: can set PE, not clear it */
{
	need_cpl0(cpu, op);
	uint64_t value = rm_get(cpu, op, 2) & 15;
	write_cr0(cpu, op, (cpu->cr0 & ~UINT64_C(14)) | value);
	return op_end(cpu, op);
}

HANDLER(load_ldt)
{
	if (!is_protected(cpu))
		fault_ud(cpu, op);
	need_cpl0(cpu, op);
	task_load_ldt(cpu, op, (uint16_t)rm_get(cpu, op, 2), FAULT_GP);
	return op + 1;
}

HANDLER(load_task)
{
	if (!is_protected(cpu))
		fault_ud(cpu, op);
	need_cpl0(cpu, op);
	task_load_register(cpu, op, (uint16_t)rm_get(cpu, op, 2));
	return op + 1;
}

HANDLER(flush_page)
{
	need_cpl0(cpu, op);
	tlb_flush_page(cpu, op_linear(cpu, op));
	return op_end(cpu, op);
}

HANDLER(flush_cache) /* WBINVD, INVD */
{
	need_cpl0(cpu, op);
	return op + 1;
}

/* Whether LAR, LSL, VERR and VERW may see a descriptor. */
static bool is_visible(const struct cpu *cpu, const struct descriptor *d, uint32_t selector)
{
	if (DESC_IS_CODE(*d) && DESC_CONFORMS(*d))
		return true;
	return DESC_DPL(*d) >= cpu->cpl && DESC_DPL(*d) >= (selector & 3);
}

static void set_zero(struct cpu *cpu, bool is_zero)
{
	cpu->flags = (uint16_t)((cpu->flags & ~HOST_ZF) | (is_zero ? HOST_ZF : 0));
}

HANDLER(load_rights) /* LAR LSL */
{
	if (!is_protected(cpu))
		fault_ud(cpu, op);
	uint16_t selector = (uint16_t)rm_get(cpu, op, 2);
	struct descriptor d;
	/* System types that each knows: LAR also gates. */
	uint32_t types = is_long(cpu) ? 0xa04 : 0xa0e;
	if (!op->extra)
		types |= is_long(cpu) ? 0x1000 : 0x1030;
	bool is_good = (selector & ~3u) && descriptor_read(cpu, op, selector, &d) &&
		is_visible(cpu, &d, selector) && (DESC_S(d) || (types >> DESC_TYPE(d) & 1));
	set_zero(cpu, is_good);
	if (is_good)
		reg_set(cpu, op->reg, op->bytes,
			op->extra ? segment_from(d, 0).limit : d.high & 0xffff00);
	return op + 1;
}

HANDLER(verify) /* VERR VERW */
{
	if (!is_protected(cpu))
		fault_ud(cpu, op);
	uint16_t selector = (uint16_t)rm_get(cpu, op, 2);
	struct descriptor d;
	bool is_good = (selector & ~3u) && descriptor_read(cpu, op, selector, &d) && DESC_S(d) &&
		is_visible(cpu, &d, selector);
	if (is_good && op->extra)
		is_good = !DESC_IS_CODE(d) && (DESC_TYPE(d) & 2);
	else if (is_good)
		is_good = !DESC_IS_CODE(d) || (DESC_TYPE(d) & 2);
	set_zero(cpu, is_good);
	return op + 1;
}

HANDLER(adjust_rpl) /* ARPL */
{
	if (!is_protected(cpu))
		fault_ud(cpu, op);
	uint64_t target = rm_get(cpu, op, 2);
	uint32_t rpl = REG16(cpu, op->reg) & 3;
	bool is_lower = (target & 3) < rpl;
	if (is_lower)
		rm_set(cpu, op, 2, (target & ~UINT64_C(3)) | rpl);
	set_zero(cpu, is_lower);
	return op + 1;
}

#define HYPERCALL_IPI     10
#define HYPERCALL_UNKNOWN ((uint64_t)-1000)
#define HYPERCALL_DENIED  ((uint64_t)-1)

/* IPIs to the CPUs of a bitmap, two words from RBX on, that starts at number RDX; how many there were. */
static uint64_t send_ipis(struct cpu *cpu)
{
	const uint64_t bits[2] = { cpu->r[CPU_RBX], cpu->r[CPU_RCX] };
	uint64_t first = cpu->r[CPU_RDX], count = 0;
	uint32_t command = (uint32_t)cpu->r[CPU_RSI];
	for (uint64_t i = 0; i < 128; i++) {
		if (!(bits[i / 64] >> (i % 64) & 1) || first + i >= cpu->soft_count)
			continue;
		apic_send(cpu->soft,
			&(struct apic_message){ .destination = (uint32_t)(first + i),
				.is_x2 = true,
				.vector = (uint8_t)command,
				.mode = command >> 8 & 7 });
		count++;
	}
	return count;
}

/* VMCALL, VMMCALL: as KVM answers. */
HANDLER(hypercall)
{
	if (!is_protected(cpu))
		fault_ud(cpu, op);
	if (cpu->cpl != 0)
		cpu->r[CPU_RAX] = HYPERCALL_DENIED;
	else if (cpu->r[CPU_RAX] == HYPERCALL_IPI)
		cpu->r[CPU_RAX] = send_ipis(cpu);
	else
		cpu->r[CPU_RAX] = HYPERCALL_UNKNOWN;
	return op_end(cpu, op);
}

HANDLER(bound)
{
	uint64_t linear = op_linear(cpu, op);
	uint32_t unused = 64 - 8 * op->bytes;
	int64_t index = (int64_t)(reg_get(cpu, op->reg, op->bytes) << unused) >> unused;
	int64_t low = (int64_t)(load_any(cpu, op, linear, op->bytes) << unused) >> unused;
	int64_t high =
		(int64_t)(load_any(cpu, op, linear + op->bytes, op->bytes) << unused) >> unused;
	if (index < low || index > high)
		cpu_fault(cpu, op, FAULT_BR, 0);
	return op + 1;
}

HANDLER(fence)
{
	(void)cpu;
	atomic_thread_fence(memory_order_seq_cst);
	return op + 1;
}

HANDLER(touch) /* CLFLUSH and its like: a byte that must be readable */
{
	(void)load_1(cpu, op, op_linear(cpu, op));
	return op + 1;
}

static op_run *bind_group6(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	op_set_access(op, 2, which < 2 ? ACCESS_WRITE : ACCESS_READ);
	op->extra = (uint8_t)which;
	switch (which) {
	case 0:
	case 1:
		return store_word;
	case 2:
		return load_ldt;
	case 3:
		return load_task;
	case 4:
	case 5:
		op->extra = which & 1;
		return verify;
	default:
		return op_undefined();
	}
}

static op_run *bind_group7_register(const struct insn *insn, struct op *op)
{
	switch (insn->modrm) {
	case 0xca:
	case 0xcb:
		op->extra = insn->modrm & 1;
		return insn->pp == PP_NONE ? access_check : op_undefined();
	case 0xc1:
	case 0xd9:
		return hypercall;
	case 0xf8:
		return insn->code_bytes == 8 ? swapgs : op_undefined();
	case 0xf9:
		op->extra = 1;
		return rdtsc;
	default:
		return NULL;
	}
}

static op_run *bind_group7(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	op->extra = which & 1;
	if (which == 4) {
		op->extra = 2;
		op_set_access(op, 2, ACCESS_WRITE);
		return store_word;
	}
	if (which == 6) {
		op_set_access(op, 2, ACCESS_READ);
		return load_status;
	}
	if (!insn->is_memory)
		return bind_group7_register(insn, op);
	if (which == 7) {
		op->access = ACCESS_NONE;
		return flush_page;
	}
	op_set_access(op, insn->code_bytes == 8 ? 10 : 6, which < 2 ? ACCESS_WRITE : ACCESS_READ);
	return which < 2 ? store_table : which < 4 ? load_table : op_undefined();
}

static op_run *bind_group15(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->is_memory) {
		bool is_flush = which == 7 && !insn->has_rep && !insn->has_repne;
		bool is_write_back = which == 6 && insn->pp == PP_66;
		op_set_access(op, 1, ACCESS_READ);
		return is_flush || is_write_back ? touch : NULL;
	}
	if (insn->pp == PP_F3 && which < 4 && insn->code_bytes == 8) {
		op_set_bytes(insn, op, insn->w ? 8 : 4);
		op->extra = (uint8_t)which;
		return segment_base;
	}
	return insn->pp == PP_NONE && which >= 5 ? fence : NULL;
}

static op_run *bind_move(const struct insn *insn, struct op *op)
{
	op_set_bytes(insn, op, insn->code_bytes == 8 ? 8 : 4);
	op->extra = insn->reg;
	/* AMD: LOCK MOV CR0 is CR8. */
	if (insn->has_lock && insn->opcode != 0x21 && insn->opcode != 0x23 && insn->reg == 0)
		op->extra = 8;
	switch (insn->opcode) {
	case 0x20:
		return mov_from_cr;
	case 0x21:
		return mov_from_dr;
	case 0x22:
		return mov_to_cr;
	default:
		return mov_to_dr;
	}
}

static op_run *bind_one_byte(const struct insn *insn, struct op *op)
{
	switch (insn->opcode) {
	case 0x62:
		if (!insn->is_memory)
			return op_undefined();
		op_set_access(op, 2u * insn->operand_bytes, ACCESS_READ);
		return bound;
	case 0x63:
		op_set_access(op, 2, ACCESS_READ | ACCESS_WRITE);
		return adjust_rpl;
	case 0xf4:
		return halt;
	case 0xfa:
		return interrupts_off;
	case 0xfb:
		return interrupts_on;
	default:
		return NULL;
	}
}

static op_run *bind_two_byte(const struct insn *insn, struct op *op)
{
	switch (insn->opcode) {
	case 0x00:
		return bind_group6(insn, op);
	case 0x01:
		return bind_group7(insn, op);
	case 0x02:
	case 0x03:
		op_set_access(op, 2, ACCESS_READ);
		op->extra = insn->opcode & 1;
		return load_rights;
	case 0x06:
		return clear_ts;
	case 0x08:
	case 0x09:
		return flush_cache;
	case 0x20:
	case 0x21:
	case 0x22:
	case 0x23:
		return bind_move(insn, op);
	case 0x30:
		return wrmsr;
	case 0x31:
		op->extra = 0;
		return rdtsc;
	case 0x32:
		return rdmsr;
	case 0x33:
		return rdpmc;
	case 0xa2:
		return cpuid;
	case 0xae:
		return bind_group15(insn, op);
	case 0xc7:
		return !insn->is_memory && (insn->modrm >> 3 & 7) == 7 && insn->has_rep ? rdpid
											: NULL;
	default:
		return NULL;
	}
}

op_run *system_bind(const struct insn *insn, struct op *op)
{
	if (insn->has_vex || insn->map > MAP_0F)
		return NULL;
	op_run *run = insn->map == MAP_0F ? bind_two_byte(insn, op) : bind_one_byte(insn, op);
	bool may_lock = insn->map == MAP_0F && (insn->opcode & 0xfc) == 0x20;
	return run && insn->has_lock && !may_lock ? op_undefined() : run;
}
