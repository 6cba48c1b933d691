/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_measure.c - how fast this host's KVM runs ring 0: hardware, or an interpreter behind the name.
 *
 * The guest is eight bytes of 32-bit code: count down, then write to a port. The loop runs twice, short
 * and long; the difference is the loop without the exits.
 */
#include <errno.h>

#include "base/loop.h"
#include "vmm/cpu/kvm.h"

#define LOOPS_SHORT       1u
#define LOOPS_LONG        2000u
#define LOOP_INSTRUCTIONS 2u
#define SPEED_MAX         UINT64_C(1000000000)

/* 1: dec ecx; jnz 1b; out dx, al */
static const uint8_t code[] = { 0x49, 0x75, 0xfd, 0xee };

static int time_loop(struct cpus *cpus, uint32_t loops, uint64_t *ret_ns)
{
	struct cpu_state state;
	cpu_state_reset(&state, 0);
	const struct cpu_segment data = { .limit = UINT32_MAX, .attributes = 0xc093 };
	state.segments[CPU_CS] =
		(struct cpu_segment){ .selector = 8, .limit = UINT32_MAX, .attributes = 0xc09b };
	for (int i = CPU_ES; i <= CPU_GS; i++)
		if (i != CPU_CS)
			state.segments[i] = data;
	state.cr0 |= 1;
	state.rip = 0;
	state.gpr[CPU_RCX] = loops;
	state.gpr[CPU_RDX] = 0x80;
	int r = cpus->engine->load(cpus, 0, &state);
	struct cpu_exit exit = { .why = CPU_KICKED };
	uint64_t start = loop_now();
	if (r == 0)
		r = cpus->engine->run(cpus, 0, &exit);
	*ret_ns = loop_now() - start;
	return r < 0 || exit.why == CPU_PORT ? r : -EIO;
}

int kvm_measure(uint64_t *ret, struct error *e)
{
	cleanup(guest_free) struct guest *guest = NULL;
	struct cpus *cpus;
	int r = guest_new(&guest, e);
	if (r == 0)
		r = guest_add(guest, 0, GUEST_PAGE, GUEST_RAM, e);
	if (r == 0)
		r = guest_write(guest, 0, code, sizeof(code));
	if (r == 0)
		r = kvm_engine.open(guest, 1, &cpus, e);
	if (r < 0)
		return r;
	uint64_t best = UINT64_MAX;
	for (int i = 0; r == 0 && i < 2; i++) {
		uint64_t shorter, longer;
		r = time_loop(cpus, LOOPS_SHORT, &shorter);
		if (r == 0)
			r = time_loop(cpus, LOOPS_LONG, &longer);
		uint64_t ns = r == 0 && longer > shorter ? longer - shorter : 1;
		if (ns < best)
			best = ns;
	}
	kvm_engine.close(cpus);
	if (r < 0)
		return error_code(e, r, "KVM does not run a loop in ring 0");
	uint64_t speed = (uint64_t)LOOPS_LONG * LOOP_INSTRUCTIONS * NS_PER_SEC / best;
	*ret = speed < SPEED_MAX ? speed : SPEED_MAX;
	return 0;
}
