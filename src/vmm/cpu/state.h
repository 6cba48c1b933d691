/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - the whole state of a virtual CPU and of the interrupt chips, as bytes that can be kept.
 *
 * The same for every engine: checkpoint, restore and migration write these structs as they are,
 * little-endian. `version` and `bytes` come first; a reader refuses what it does not know.
 */
#pragma once

#include "base/base.h"

#define CPU_STATE_VERSION   1
#define CHIPS_STATE_VERSION 1

enum cpu_register {
	CPU_RAX,
	CPU_RCX,
	CPU_RDX,
	CPU_RBX,
	CPU_RSP,
	CPU_RBP,
	CPU_RSI,
	CPU_RDI, /* r8 to r15 are 8 to 15 */
};

enum cpu_segment_name { CPU_ES, CPU_CS, CPU_SS, CPU_DS, CPU_FS, CPU_GS, CPU_LDT, CPU_TR };

struct cpu_segment {
	uint16_t selector;
	uint16_t
		attributes; /* bits 0-7: descriptor bits 40-47; bits 12-15: bits 52-55 (AVL L D G) */
	uint32_t limit;     /* in bytes, G applied: the last valid offset */
	uint64_t base;
};
static_assert(sizeof(struct cpu_segment) == 16, "cpu_segment");

#define CPU_ATTRIBUTE_PRESENT  0x0080
#define CPU_ATTRIBUTE_LONG     0x2000
#define CPU_ATTRIBUTE_BIG      0x4000
#define CPU_ATTRIBUTE_GRANULAR 0x8000

struct cpu_table {
	uint64_t base;
	uint32_t limit;
	uint32_t reserved;
};
static_assert(sizeof(struct cpu_table) == 16, "cpu_table");

enum cpu_activity { CPU_ACTIVE, CPU_HALTED, CPU_WAITS_FOR_SIPI, CPU_SHUT_DOWN };

#define CPU_BLOCKED_BY_STI     0x1 /* one more instruction before an interrupt */
#define CPU_BLOCKED_BY_SS      0x2
#define CPU_BLOCKED_BY_NMI     0x4 /* until the next IRET */
#define CPU_NMI_PENDING        0x8
#define CPU_EXCEPTION_PENDING  0x10 /* `exception` is delivered first */
#define CPU_EXCEPTION_HAS_CODE 0x20

#define CPU_XSAVE_BYTES 4096
#define CPU_LAPIC_BYTES 1024

struct cpu_state {
	uint32_t version; /* CPU_STATE_VERSION */
	uint32_t bytes;   /* sizeof(struct cpu_state) */

	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;
	struct cpu_segment segments[8]; /* enum cpu_segment_name */
	struct cpu_table gdt, idt;

	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t dr[8];    /* dr4 and dr5 are 0 */
	uint64_t pdpte[4]; /* what PAE paging loaded with cr3 */

	uint64_t efer, star, lstar, cstar, fmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, spec_ctrl, tsc_aux, xss;
	uint64_t mtrr_default, mtrr_fixed[11], mtrr_variable[16];
	uint64_t apic_base;
	uint64_t tsc; /* its value when saved */
	uint64_t tsc_adjust;
	uint64_t tsc_deadline; /* 0: not armed */
	uint64_t kvm_system_time, kvm_wall_clock;

	uint32_t activity; /* enum cpu_activity */
	uint32_t blocked;  /* CPU_BLOCKED_..., CPU_..._PENDING */
	uint32_t exception, exception_code;
	uint64_t exception_address;

	uint64_t xcr0;
	uint8_t xsave
		[CPU_XSAVE_BYTES]; /* XSAVE image, standard format; XSTATE_BV says what holds */
	uint8_t lapic[CPU_LAPIC_BYTES]; /* registers at their MMIO offsets; ID in bits 24-31 */
	uint64_t lapic_timer_left_ns;   /* until it fires; 0: not running */
};
static_assert(sizeof(struct cpu_state) % 8 == 0, "cpu_state");

struct pic_state {
	uint8_t irr, isr, imr, lines, elcr;
	uint8_t vector_base, init_step, read_isr, poll;
	uint8_t auto_eoi, rotate, special_mask, has_icw4, fully_nested, priority;
	uint8_t reserved;
};
static_assert(sizeof(struct pic_state) == 16, "pic_state");

struct ioapic_state {
	uint64_t redirect[24];
	uint32_t select, id, lines, reserved;
};
static_assert(sizeof(struct ioapic_state) == 208, "ioapic_state");

struct pit_channel_state {
	uint32_t count; /* the reload value, 65536 for 0 */
	uint16_t latched;
	uint8_t latch_state; /* 0 none, 1 to 3 as the access mode */
	uint8_t status_latched, status;
	uint8_t read_state, write_state, write_low;
	uint8_t access, mode, bcd, gate;
	uint64_t elapsed_ns; /* since the count was loaded */
};
static_assert(sizeof(struct pit_channel_state) == 24, "pit_channel_state");

struct chips_state {
	uint32_t version; /* CHIPS_STATE_VERSION */
	uint32_t bytes;   /* sizeof(struct chips_state) */
	struct pic_state pic[2];
	struct ioapic_state ioapic;
	struct pit_channel_state pit[3];
	uint32_t speaker; /* bits of port 0x61 that were written */
	uint32_t reserved;
};
static_assert(sizeof(struct chips_state) == 328, "chips_state");

/* The state after power-on: CPU 0 at the reset vector, the others waiting for a start-up IPI. */
void cpu_state_reset(struct cpu_state *state, uint32_t cpu);
