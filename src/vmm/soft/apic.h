/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apic.h - the local APIC of each CPU: interrupts in, between CPUs, and its timer.
 */
#pragma once

#include "vmm/soft/shared.h"

#define LAPIC_BASE_BSP     UINT64_C(0x100)
#define LAPIC_BASE_X2      UINT64_C(0x400)
#define LAPIC_BASE_ENABLED UINT64_C(0x800)
#define LAPIC_BASE_ADDRESS UINT64_C(0xfffff000)

#define LAPIC_TICK_NS 1 /* of the timer before its divider */

enum {
	DELIVER_FIXED,
	DELIVER_LOWEST,
	DELIVER_SMI,
	DELIVER_NMI = 4,
	DELIVER_INIT,
	DELIVER_STARTUP,
	DELIVER_EXTINT
};

struct apic_message {
	uint32_t destination;
	bool is_logical, is_level, is_x2;
	uint8_t vector, mode; /* DELIVER_... */
};

void lapic_reset(struct cpu *cpu);
uint32_t lapic_read(struct cpu *cpu, uint32_t offset);
void lapic_write(struct cpu *cpu, uint32_t offset, uint32_t value);

/* MSRs 0x800 to 0x8ff; false: #GP. */
bool lapic_read_msr(struct cpu *cpu, uint32_t msr, uint64_t *ret);
bool lapic_write_msr(struct cpu *cpu, uint32_t msr, uint64_t value);
bool lapic_set_base(struct cpu *cpu, uint64_t value);
void lapic_set_deadline(struct cpu *cpu, uint64_t tsc);

/* The vector that would be delivered now, or -1; and its delivery. */
int lapic_pending(const struct cpu *cpu);
void lapic_accept(struct cpu *cpu, int vector);
bool lapic_takes_pic(const struct cpu *cpu);

/* Any thread. */
void apic_send(struct soft *soft, const struct apic_message *message);
void apic_msi(struct soft *soft, guest_addr at, uint32_t data);

/* Holding soft->lock: fires what is due at `now`; when the next is due (UINT64_MAX: never). */
uint64_t apic_timers(struct soft *soft, uint64_t now);

/* As kept in struct cpu_state. */
void lapic_save(const struct cpu *cpu, struct cpu_state *state);
void lapic_load(struct cpu *cpu, const struct cpu_state *state);
