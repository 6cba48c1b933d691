/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mode.c - descriptors, page tables and control registers by hand.
 */
#include "vmm/boot/mode.h"

#include <string.h>

#include "vmm/boot/layout.h"

#define CR0_PE        0x1u
#define CR0_ET        0x10u
#define CR0_PG        0x80000000u
#define CR4_PAE       0x20u
#define EFER_LME      0x100u
#define EFER_LMA      0x400u
#define PAGE_RW       3u
#define PAGE_LARGE    0x80u
#define LAPIC_LINT0   0x350
#define LAPIC_LINT1   0x360
#define CODE_SELECTOR 0x10
#define DATA_SELECTOR 0x18
#define TASK_SELECTOR 0x20

static const struct cpu_segment flat_data = {
	.selector = DATA_SELECTOR,
	.attributes = 0xc093,
	.limit = UINT32_MAX,
};

static void set_segments(struct cpu_state *state, uint16_t code_attributes)
{
	state->segments[CPU_CS] = (struct cpu_segment){
		.selector = CODE_SELECTOR,
		.attributes = code_attributes,
		.limit = UINT32_MAX,
	};
	static const enum cpu_segment_name data[] = { CPU_DS, CPU_ES, CPU_SS, CPU_FS, CPU_GS };
	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		state->segments[data[i]] = flat_data;
	state->segments[CPU_TR] = (struct cpu_segment){
		.selector = TASK_SELECTOR,
		.attributes = 0x008b,
		.limit = 0x67,
	};
}

void mode_protected(struct cpu_state *state, uint64_t entry)
{
	cpu_state_reset(state, 0);
	set_segments(state, 0xc09b);
	state->cr0 = CR0_PE | CR0_ET;
	state->rflags = 2;
	state->rip = entry;
}

void mode_virtual_wire(struct cpu_state *state)
{
	static const uint32_t lint0 = 0x700, lint1 = 0x400; /* ExtINT, NMI */
	memcpy(state->lapic + LAPIC_LINT0, &lint0, sizeof(lint0));
	memcpy(state->lapic + LAPIC_LINT1, &lint1, sizeof(lint1));
}

static int write_tables(struct guest *guest)
{
	uint64_t table[512] = { (LAYOUT_PAGE_TABLES + 0x1000) | PAGE_RW };
	int r = guest_write(guest, LAYOUT_PAGE_TABLES, table, sizeof(table));
	for (uint64_t i = 0; i < 512; i++)
		table[i] = i < 4 ? (LAYOUT_PAGE_TABLES + 0x2000 + i * 0x1000) | PAGE_RW : 0;
	if (r == 0)
		r = guest_write(guest, LAYOUT_PAGE_TABLES + 0x1000, table, sizeof(table));
	for (uint64_t page = 0; r == 0 && page < 4; page++) {
		for (uint64_t i = 0; i < 512; i++)
			table[i] = (page << 30 | i << 21) | PAGE_RW | PAGE_LARGE;
		r = guest_write(
			guest, LAYOUT_PAGE_TABLES + 0x2000 + page * 0x1000, table, sizeof(table));
	}
	return r;
}

int mode_long(struct cpu_state *state, struct guest *guest, uint64_t entry)
{
	static const uint64_t gdt[] = { 0, 0, UINT64_C(0x00af9b000000ffff),
		UINT64_C(0x00cf93000000ffff), UINT64_C(0x00008b0000000067), 0 };
	int r = guest_write(guest, LAYOUT_GDT, gdt, sizeof(gdt));
	if (r == 0)
		r = write_tables(guest);
	if (r < 0)
		return r;
	cpu_state_reset(state, 0);
	set_segments(state, 0xa09b);
	state->gdt = (struct cpu_table){ .base = LAYOUT_GDT, .limit = sizeof(gdt) - 1 };
	state->cr0 = CR0_PE | CR0_ET | CR0_PG;
	state->cr3 = LAYOUT_PAGE_TABLES;
	state->cr4 = CR4_PAE;
	state->efer = EFER_LME | EFER_LMA;
	state->rflags = 2;
	state->rip = entry;
	state->gpr[CPU_RSP] = LAYOUT_STACK;
	return 0;
}
