/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fallback.c - the interpreter in place of translated code.
 */
#include "vmm/soft/fallback.h"

#include "vmm/soft/cache.h"

#define AT_ONCE 64

void fallback_one(struct cpu *cpu)
{
	const struct op *op = cache_find_one(cpu);
	op = op->run(cpu, op);
	cpu->link = NULL;
	if (op)
		cpu->rip = cpu->r[R_CODE] + op->offset;
}

void fallback_some(struct cpu *cpu)
{
	const struct op *op = cache_behind_entry(cache_find(cpu));
	for (uint32_t i = 0; op && i < AT_ONCE; i++)
		op = op->run(cpu, op);
	cpu->link = NULL;
	if (op)
		cpu->rip = cpu->r[R_CODE] + op->offset;
}

static void run(struct cpu *cpu, const struct op *op)
{
	while (op)
		op = op->run(cpu, op);
}

bool fallback_known(struct cpu *cpu)
{
	const struct op *op = cache_known(cpu);
	if (!op || cache_is_due(op))
		return false;
	run(cpu, op);
	return true;
}

bool fallback_cold(struct cpu *cpu)
{
	const struct op *op = cache_find(cpu);
	if (cache_is_due(op))
		return false;
	run(cpu, op);
	return true;
}

uint32_t fallback_available(const struct cpu *cpu)
{
	uint32_t live = 0;
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		return 0;
	if (cpu->cr4 & CR4_OSFXSR)
		live |= LIVE_SSE;
	if ((cpu->cr4 & CR4_OSXSAVE) && (cpu->xcr0 & 6) == 6)
		live |= LIVE_AVX;
	if ((live & LIVE_AVX) && (cpu->xcr0 & XCR0_512) == XCR0_512)
		live |= LIVE_HIGH | LIVE_UPPER;
	else if (cpu->has_upper) /* in the host's registers it could be used */
		return 0;
	if ((cpu->mxcsr & 0x1f80) == 0x1f80)
		live |= LIVE_FP;
	/* Exceptions masked, none pending. */
	if ((cpu->fx[0] & 0x3f) == 0x3f && !(cpu->fx[2] & 0x80))
		live |= LIVE_X87;
	return live;
}
