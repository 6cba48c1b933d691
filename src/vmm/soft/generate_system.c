/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate_system.c - flags that the host's register does not hold, segments, time.
 */
#include "vmm/soft/generate_system.h"

#include "vmm/soft/group.h"
#include "vmm/soft/hold.h"

static bool direction(struct writing *w)
{
	bool sets = step_now(w)->insn.opcode == 0xfd;
	hold_begin(w);
	emit_op_cpu(&w->to, 0, 0x81, sets ? 1 : 4, AT(rflags_rest)); /* or, and */
	emit_32(&w->to, sets ? FLAG_DF : ~FLAG_DF);
	return true;
}

static bool selector(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	struct host_operand slot = { .base = HOST_T1, .index = HOST_NONE };
	size_t at = AT(segments) + (insn->modrm >> 3 & 7) * sizeof(struct cpu_segment) +
		offsetof(struct cpu_segment, selector);
	if (insn->is_memory) {
		hold_begin(w);
		block_address(w, insn);
		block_access(w, 2, ACCESS_WRITE, false, true);
		emit_op_cpu(&w->to, EMIT_0F, 0xb7, HOST_T2, at); /* movzx */
		EMIT(&w->to, 0x66);
		emit_op(&w->to, 0, 0x89, HOST_T2, &slot);
		return true;
	}
	uint32_t host = host_register(insn->rm);
	if (insn->operand_bytes == 2) {
		emit_op_cpu(&w->to, EMIT_0F, 0xb7, HOST_T1, at); /* movzx */
		EMIT(&w->to, 0x66);
		if (host == HOST_NONE)
			emit_op_cpu(&w->to, 0, 0x89, HOST_T1, AT(r) + 8 * insn->rm);
		else
			emit_op_reg(&w->to, 0, 0x8b, host, HOST_T1);
		return true;
	}
	/* The low half is zero-extended in 64 bits alike. */
	emit_op_cpu(&w->to, EMIT_0F, 0xb7, host == HOST_NONE ? HOST_T1 : host, at); /* movzx */
	if (host == HOST_NONE)
		emit_store(&w->to, AT(r) + 8 * insn->rm, HOST_T1);
	return true;
}

static bool from_control(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	uint32_t host = host_register(insn->rm);
	if (w->mode == NATIVE_USER || insn->reg > 3)
		return false;
	emit_load(&w->to, host == HOST_NONE ? HOST_T1 : host, insn->reg == 2 ? AT(cr2) : AT(cr3));
	if (host == HOST_NONE)
		emit_store(&w->to, AT(r) + 8 * insn->rm, HOST_T1);
	return true;
}

/* While translated code runs neither TF nor RF nor VM is set. */
static bool push_flags(struct writing *w)
{
	struct emitter *to = &w->to;
	struct host_operand below = { .base = HOST_SP, .index = HOST_NONE, .disp = -8 };
	hold_begin_saved(w);
	emit_op_cpu(&w->to, EMIT_0F, 0xb7, HOST_T1, AT(flags)); /* movzx */
	emit_op_reg(to, 0, 0x8b, HOST_T2, HOST_T1);
	emit_op_reg(to, 0, 0x83, 4, HOST_T2); /* and, 1 */
	EMIT(to, 1);
	emit_op_reg(to, 0, 0xc1, 4, HOST_T2); /* shl, 11: OF */
	EMIT(to, 11);
	emit_op_reg(to, 0, 0xc1, 5, HOST_T1); /* shr, 8 */
	EMIT(to, 8);
	emit_op_reg(to, 0, 0x81, 4, HOST_T1); /* and */
	emit_32(to, FLAGS_ARITHMETIC & 0xff);
	emit_op_reg(to, 0, 0x0b, HOST_T1, HOST_T2); /* or */
	emit_op_cpu(&w->to, 0, 0x0b, HOST_T1, AT(rflags_rest));
	emit_store(to, AT(native_value), HOST_T1);
	struct host_operand slot = group_stack(w, -8, ACCESS_WRITE);
	emit_load(to, HOST_T2, AT(native_value));
	emit_op(to, EMIT_WIDE, 0x89, HOST_T2, &slot);
	emit_lea(to, HOST_SP, &below);
	return true;
}

/*
 * In ring 0. Where STI may let an interrupt in it is the interpreter's: one waits, or somebody has called.
 */
static bool interrupts(struct writing *w)
{
	if (w->mode == NATIVE_USER)
		return false;
	hold_begin(w);
	if (step_now(w)->insn.opcode == 0xfa) {
		emit_op_cpu(&w->to, 0, 0x81, 4, AT(rflags_rest)); /* and */
		emit_32(&w->to, ~FLAG_IF);
		return true;
	}
	emit_load_32(&w->to, HOST_T1, AT(attention));
	emit_op_cpu(&w->to, 0, 0x0b, HOST_T1, AT(irq_waits)); /* or */
	block_callout_if(w, 5);
	emit_op_cpu(&w->to, 0, 0x81, 1, AT(rflags_rest)); /* or */
	emit_32(&w->to, FLAG_IF);
	return true;
}

static bool swap_gs(struct writing *w)
{
	if (w->mode == NATIVE_USER)
		return false;
	emit_load(&w->to, HOST_T1, AT(base) + 8 * CPU_GS);
	emit_load(&w->to, HOST_T2, AT(kernel_gs_base));
	emit_store(&w->to, AT(kernel_gs_base), HOST_T1);
	emit_store(&w->to, AT(base) + 8 * CPU_GS, HOST_T2);
	emit_store(&w->to,
		AT(segments) + CPU_GS * sizeof(struct cpu_segment) +
			offsetof(struct cpu_segment, base),
		HOST_T2);
	return true;
}

static bool segment_base(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	struct emitter *to = &w->to;
	uint32_t which = insn->modrm >> 3 & 3, segment = which & 1 ? CPU_GS : CPU_FS;
	size_t in_segment = AT(segments) + segment * sizeof(struct cpu_segment) +
		offsetof(struct cpu_segment, base);
	hold_begin(w);
	emit_op_cpu(&w->to, 0, 0xf7, 0, AT(cr4)); /* test */
	emit_32(to, CR4_FSGSBASE);
	block_callout_if(w, 4);
	if (which < 2) {
		if (insn->w)
			emit_load(to, HOST_T1, in_segment);
		else
			emit_load_32(to, HOST_T1, in_segment);
		block_set(w, insn->rm, HOST_T1);
		return true;
	}
	block_get(w, HOST_T1, insn->rm);
	if (insn->w) {
		emit_op_reg(to, EMIT_WIDE, 0x8b, HOST_T2, HOST_T1);
		emit_op_reg(to, EMIT_WIDE, 0xc1, 4, HOST_T2); /* shl */
		EMIT(to, 16);
		emit_op_reg(to, EMIT_WIDE, 0xc1, 7, HOST_T2); /* sar */
		EMIT(to, 16);
		emit_op_reg(to, EMIT_WIDE, 0x3b, HOST_T1, HOST_T2); /* cmp */
		block_callout_if(w, 5);
	} else {
		emit_op_reg(to, 0, 0x8b, HOST_T1, HOST_T1);
	}
	emit_store(to, in_segment, HOST_T1);
	emit_store(to, AT(base) + 8 * segment, HOST_T1);
	return true;
}

static bool time_stamp(struct writing *w)
{
	struct emitter *to = &w->to;
	if (w->native->is_checked)
		return false; /* twice the same? */
	hold_begin(w);
	if (w->mode == NATIVE_USER) {
		emit_op_cpu(&w->to, 0, 0xf7, 0, AT(cr4)); /* test */
		emit_32(to, CR4_TSD);
		block_callout_if(w, 5);
	}
	EMIT(to, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0); /* rdtsc; shl rdx; or rax */
	emit_op_cpu(&w->to, EMIT_WIDE, 0x03, HOST_RAX, AT(tsc_offset));
	EMIT(to, 0x48, 0x89, 0xc2, 0x48, 0xc1, 0xea, 32, 0x89, 0xc0); /* mov rdx; shr; mov eax */
	if (step_now(w)->insn.opcode == 0x01)                         /* RDTSCP */
		emit_load_32(to, HOST_RCX, AT(tsc_aux));
	return true;
}

/* EFLAGS.AC decides which TLB counts. */
static bool access_flag(struct writing *w)
{
	bool sets = step_now(w)->insn.modrm == 0xcb;
	if (w->mode != NATIVE_SMAP && w->mode != NATIVE_KERNEL_AC)
		return false;
	enum tlb_kind kind = sets ? TLB_KERNEL : TLB_SMAP;
	struct host_operand tlb = { .base = HOST_RSP,
		.index = HOST_NONE,
		.disp = (int32_t)(AT(tlbs) + kind * sizeof(struct tlb)) };
	hold_begin(w);
	emit_op_cpu(&w->to, 0, 0x81, sets ? 1 : 4, AT(rflags_rest));
	emit_32(&w->to, sets ? FLAG_AC : ~FLAG_AC);
	emit_lea(&w->to, HOST_T1, &tlb);
	emit_store(&w->to, AT(tlb), HOST_T1);
	w->mode = sets ? NATIVE_KERNEL_AC : NATIVE_SMAP;
	return true;
}

bool generate_system(struct writing *w)
{
	switch (step_now(w)->effect.class) {
	case EFFECT_SELECTOR:
		return selector(w);
	case EFFECT_CONTROL:
		return from_control(w);
	case EFFECT_PUSH_FLAGS:
		return push_flags(w);
	case EFFECT_INTERRUPTS:
		return interrupts(w);
	case EFFECT_SWAP_GS:
		return swap_gs(w);
	case EFFECT_BASE:
		return segment_base(w);
	case EFFECT_TIME_STAMP:
		return time_stamp(w);
	case EFFECT_DIRECTION:
		return direction(w);
	default:
		return access_flag(w);
	}
}
