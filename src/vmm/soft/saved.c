/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saved.c - one list of the registers that are the same on both sides.
 */
#include "vmm/soft/saved.h"

#include <errno.h>
#include <string.h>

#include "vmm/soft/apic.h"
#include "vmm/soft/cpuid.h"
#include "vmm/soft/crossing.h"
#include "vmm/soft/fpu.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/nmi.h"
#include "vmm/soft/shared.h"

#define SAME(X) \
	X(cr0) \
	X(cr2) \
	X(cr3) \
	X(cr4) \
	X(efer) \
	X(star) \
	X(lstar) \
	X(cstar) \
	X(fmask) \
	X(kernel_gs_base) \
	X(sysenter_cs) \
	X(sysenter_esp) \
	X(sysenter_eip) \
	X(pat) \
	X(misc_enable) \
	X(spec_ctrl) \
	X(tsc_aux) \
	X(xss) \
	X(mtrr_default) X(tsc_adjust) X(kvm_system_time) X(kvm_wall_clock) X(xcr0) X(gdt) X(idt)
#define SAVE(name) state->name = cpu->name;
#define LOAD(name) cpu->name = state->name;

static uint32_t blocked(const struct cpu *cpu)
{
	uint32_t ret = 0;
	if (cpu->shadow)
		ret |= cpu->shadow_is_ss ? CPU_BLOCKED_BY_SS : CPU_BLOCKED_BY_STI;
	uint32_t nmi = atomic_load(&cpu->nmi);
	if (nmi & NMI_BLOCKED)
		ret |= CPU_BLOCKED_BY_NMI;
	if (nmi & NMI_WAITING)
		ret |= CPU_NMI_PENDING;
	if (cpu->event_is_pending && !cpu->event_is_soft && !cpu->event_is_external)
		ret |= CPU_EXCEPTION_PENDING | (cpu->event_has_code ? CPU_EXCEPTION_HAS_CODE : 0);
	return ret;
}

void saved_from(struct cpu *cpu, struct cpu_state *state)
{
	*state = (struct cpu_state){ .version = CPU_STATE_VERSION, .bytes = sizeof(*state) };
	SAME(SAVE)
	memcpy(state->gpr, cpu->r, sizeof(state->gpr));
	memcpy(state->segments, cpu->segments, sizeof(state->segments));
	memcpy(state->dr, cpu->dr, sizeof(state->dr));
	memcpy(state->pdpte, cpu->pdpte, sizeof(state->pdpte));
	memcpy(state->mtrr_fixed, cpu->mtrr_fixed, sizeof(state->mtrr_fixed));
	memcpy(state->mtrr_variable, cpu->mtrr_variable, sizeof(state->mtrr_variable));
	state->rip = cpu->rip;
	state->rflags = cpu_rflags(cpu);
	state->cr8 = cpu->lapic.tpr >> 4;
	state->tsc = cpu_tsc(cpu);
	state->activity = cpu->activity;
	state->blocked = blocked(cpu);
	/* What was delivered before stands there still. */
	bool is_pending = state->blocked & CPU_EXCEPTION_PENDING;
	state->exception = is_pending ? cpu->event_vector : 0;
	state->exception_code = is_pending ? cpu->event_code : 0;
	fpu_save(cpu, state->xsave);
	lapic_save(cpu, state);
}

static bool is_possible(const struct cpu_state *state)
{
	bool is_paging = state->cr0 & CR0_PG, is_long = state->efer & EFER_LMA;
	if (state->version != CPU_STATE_VERSION || state->bytes != sizeof(*state))
		return false;
	if (state->activity > CPU_SHUT_DOWN || state->exception > 31)
		return false;
	if ((is_paging && !(state->cr0 & CR0_PE)) || (is_long && !is_paging))
		return false;
	if ((is_long && !(state->cr4 & CR4_PAE)) || state->cr3 >> PHYSICAL_BITS)
		return false;
	return cpuid_is_xcr0(state->xcr0);
}

static uint32_t level_of(const struct cpu_state *state)
{
	if (!(state->cr0 & CR0_PE))
		return 0;
	if (state->rflags & FLAG_VM)
		return 3;
	return state->segments[CPU_SS].attributes >> 5 & 3;
}

/*
 * CPUs that are set to about the same time were in step and shall be again: within about a second of the last
 * one they take its offset.
 */
#define ABOUT_A_SECOND (INT64_C(1) << 31)

static void set_tsc(struct cpu *cpu, uint64_t tsc)
{
	uint64_t offset = cpu->tsc_offset + (tsc - cpu_tsc(cpu));
	int64_t apart = (int64_t)(offset - cpu->soft->tsc_offset);
	if (apart > -ABOUT_A_SECOND && apart < ABOUT_A_SECOND)
		offset = cpu->soft->tsc_offset;
	cpu->tsc_offset = cpu->soft->tsc_offset = offset;
}

int saved_to(struct cpu *cpu, const struct cpu_state *state)
{
	if (!is_possible(state))
		return -EINVAL;
	if (!cpuid_host_has_xcr0(state->xcr0))
		return -ENOTSUP;
	SAME(LOAD)
	memcpy(cpu->r, state->gpr, sizeof(state->gpr));
	memcpy(cpu->segments, state->segments, sizeof(state->segments));
	memcpy(cpu->dr, state->dr, sizeof(state->dr));
	memcpy(cpu->pdpte, state->pdpte, sizeof(state->pdpte));
	memcpy(cpu->mtrr_fixed, state->mtrr_fixed, sizeof(state->mtrr_fixed));
	memcpy(cpu->mtrr_variable, state->mtrr_variable, sizeof(state->mtrr_variable));
	cpu->rip = state->rip;
	cpu->cpl = (uint8_t)level_of(state);
	cpu->rflags_rest = 2;
	cpu_update_breakpoints(cpu);
	cpu_set_rflags(cpu, state->rflags, UINT32_MAX);
	set_tsc(cpu, state->tsc);
	cpu->activity = state->activity;
	cpu->shadow = state->blocked & (CPU_BLOCKED_BY_STI | CPU_BLOCKED_BY_SS);
	cpu->shadow_is_ss = state->blocked & CPU_BLOCKED_BY_SS;
	atomic_store(&cpu->nmi,
		(state->blocked & CPU_BLOCKED_BY_NMI ? NMI_BLOCKED : 0) |
			(state->blocked & CPU_NMI_PENDING ? NMI_ONE : 0));
	cpu->event_is_pending = state->blocked & CPU_EXCEPTION_PENDING;
	cpu->event_has_code = state->blocked & CPU_EXCEPTION_HAS_CODE;
	cpu->event_is_soft = cpu->event_is_external = false;
	cpu->event_vector = (uint8_t)state->exception;
	cpu->event_code = state->exception_code;
	cpu->event_length = 0;
	cpu->is_delivering = false;
	cpu->io_count = cpu->io_next = 0;
	cpu->io_waits = false;
	fpu_load(cpu, state->xsave);
	lapic_load(cpu, state);
	tlb_flush(cpu, true);
	cpu_update_mode(cpu);
	crossing_update(cpu);
	cpu_call(cpu, ATTENTION_IRQ | ATTENTION_NMI | ATTENTION_STEP);
	return 0;
}

void saved_init(struct cpu *cpu)
{
	struct cpu_state state;
	cpu_state_reset(&state, cpu->number);
	state.cr0 |= cpu->cr0 & (CR0_CD | CR0_NW);
	/* What INIT leaves as it was. */
	fpu_save(cpu, state.xsave);
	state.xcr0 = cpu->xcr0;
	state.tsc = cpu_tsc(cpu);
	state.tsc_adjust = cpu->tsc_adjust;
	state.tsc_aux = cpu->tsc_aux;
	state.pat = cpu->pat;
	state.mtrr_default = cpu->mtrr_default;
	memcpy(state.mtrr_fixed, cpu->mtrr_fixed, sizeof(state.mtrr_fixed));
	memcpy(state.mtrr_variable, cpu->mtrr_variable, sizeof(state.mtrr_variable));
	state.kvm_system_time = cpu->kvm_system_time;
	state.apic_base = cpu->lapic.base;
	int status = saved_to(cpu, &state);
	assert(status == 0);
	cpu->activity = cpu->lapic.base & LAPIC_BASE_BSP ? CPU_ACTIVE : CPU_WAITS_FOR_SIPI;
}
