/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - what a CPU holds after power-on.
 */
#include "vmm/cpu/state.h"

#include <string.h>

#include "base/bytes.h"

#define LAPIC_ID      0x20
#define LAPIC_VERSION 0x30
#define LAPIC_DFR     0xe0
#define LAPIC_SVR     0xf0
#define LAPIC_LVT     0x320 /* timer, thermal, performance, LINT0, LINT1, error: 16 bytes apart */

static void reset_lapic(uint8_t *lapic, uint32_t cpu)
{
	put_le32(lapic + LAPIC_ID, cpu << 24);
	put_le32(lapic + LAPIC_VERSION, 0x50014);
	put_le32(lapic + LAPIC_DFR, 0xffffffff);
	put_le32(lapic + LAPIC_SVR, 0xff);
	for (int i = 0; i < 6; i++)
		put_le32(lapic + LAPIC_LVT + 16 * i, 0x10000);
}

void cpu_state_reset(struct cpu_state *state, uint32_t cpu)
{
	*state = (struct cpu_state){
		.version = CPU_STATE_VERSION,
		.bytes = sizeof(*state),
		.rip = 0xfff0,
		.rflags = 0x2,
		.cr0 = 0x60000010,
		.dr = { [6] = 0xffff0ff0, [7] = 0x400 },
		.gdt = { .limit = 0xffff },
		.idt = { .limit = 0xffff },
		.pat = UINT64_C(0x0007040600070406),
		.misc_enable = 1,
		.apic_base = UINT64_C(0xfee00800) | (cpu == 0 ? 0x100 : 0),
		.activity = cpu == 0 ? CPU_ACTIVE : CPU_WAITS_FOR_SIPI,
		.xcr0 = 1,
	};
	state->gpr[CPU_RDX] = 0xa00f10;
	for (int i = 0; i < 8; i++)
		state->segments[i] = (struct cpu_segment){ .attributes = 0x93, .limit = 0xffff };
	state->segments[CPU_CS] = (struct cpu_segment){
		.selector = 0xf000, .attributes = 0x9b, .limit = 0xffff, .base = 0xffff0000
	};
	state->segments[CPU_LDT].attributes = 0x82;
	state->segments[CPU_TR].attributes = 0x8b;
	state->xsave[0] = 0x40; /* x87 control word 0x40, MXCSR 0x1f80, as after power-on */
	put_le32(state->xsave + 24, 0x1f80);
	state->xsave[512] = 3;
	reset_lapic(state->lapic, cpu);
}
