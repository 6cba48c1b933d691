/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task.c - the 32-bit and 16-bit task states.
 */
#include "vmm/soft/task.h"

#define TYPE_BUSY 2u

struct layout {
	uint32_t size, minimum; /* of a register; of the limit */
	uint32_t cr3, ip, flags, gpr, segments, ldt;
	uint32_t segment_count;
};

static const struct layout layouts[2] = {
	{ 2, 0x2b, 0, 0x0e, 0x10, 0x12, 0x22, 0x2a, 4 },
	{ 4, 0x67, 0x1c, 0x20, 0x24, 0x28, 0x48, 0x60, 6 },
};

static const struct layout *layout_of(uint32_t type)
{
	return &layouts[type >> 3 & 1];
}

static void save_task(struct cpu *cpu, const struct op *op, uint64_t rip, uint32_t flags)
{
	const struct cpu_segment *tr = &cpu->segments[CPU_TR];
	const struct layout *layout = layout_of(tr->attributes);
	uint64_t base = tr->base;
	memory_store_system(cpu, op, base + layout->ip, layout->size, rip);
	memory_store_system(cpu, op, base + layout->flags, layout->size, flags);
	for (uint32_t i = 0; i < 8; i++)
		memory_store_system(
			cpu, op, base + layout->gpr + i * layout->size, layout->size, cpu->r[i]);
	for (uint32_t i = 0; i < layout->segment_count; i++)
		memory_store_system(cpu, op, base + layout->segments + i * layout->size, 2,
			cpu->segments[i].selector);
}

static void mark_busy(struct cpu *cpu, const struct op *op, uint16_t selector, bool is_busy)
{
	uint64_t at = cpu->gdt.base + (selector & 0xfff8) + 4;
	uint32_t high = (uint32_t)memory_load_system(cpu, op, at, 4);
	high = is_busy ? high | TYPE_BUSY << 8 : high & ~(TYPE_BUSY << 8);
	memory_store_system(cpu, op, at, 4, high);
}

struct task {
	uint64_t cr3, ip;
	uint32_t flags, gpr[8];
	uint16_t segments[6], ldt;
};

static struct task read_task(
	struct cpu *cpu, const struct op *op, uint64_t base, const struct layout *layout)
{
	struct task task = {};
	if (layout->cr3)
		task.cr3 = memory_load_system(cpu, op, base + layout->cr3, 4);
	task.ip = memory_load_system(cpu, op, base + layout->ip, layout->size);
	task.flags = (uint32_t)memory_load_system(cpu, op, base + layout->flags, layout->size);
	for (uint32_t i = 0; i < 8; i++)
		task.gpr[i] = (uint32_t)memory_load_system(
			cpu, op, base + layout->gpr + i * layout->size, layout->size);
	for (uint32_t i = 0; i < layout->segment_count; i++)
		task.segments[i] = (uint16_t)memory_load_system(
			cpu, op, base + layout->segments + i * layout->size, 2);
	task.ldt = (uint16_t)memory_load_system(cpu, op, base + layout->ldt, 2);
	return task;
}

static void load_code(struct cpu *cpu, uint16_t selector)
{
	struct descriptor d = descriptor_need(cpu, NULL, selector, FAULT_TS);
	uint32_t rpl = selector & 3u;
	bool is_wrong =
		!DESC_IS_CODE(d) || (DESC_CONFORMS(d) ? DESC_DPL(d) > rpl : DESC_DPL(d) != rpl);
	if (is_wrong)
		cpu_fault(cpu, NULL, FAULT_TS, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, NULL, FAULT_NP, selector & ~3u);
	descriptor_set_accessed(cpu, NULL, selector, &d);
	struct cpu_segment cs = segment_from(d, selector);
	cpu->cpl = (uint8_t)rpl;
	segment_set(cpu, CPU_CS, &cs);
}

/* Now in the new task: what fails from here on is its own fault. */
static void load_segments(struct cpu *cpu, const struct task *task)
{
	if (is_v86(cpu)) {
		cpu->cpl = 3;
		for (uint32_t i = 0; i < 6; i++)
			segment_set_real(cpu, i, task->segments[i]);
		return;
	}
	struct cpu_segment null = { .selector = 0 };
	for (uint32_t i = 0; i < 6; i++)
		cpu->segments[i] = (struct cpu_segment){ .selector = task->segments[i] };
	segment_set(cpu, CPU_LDT, &null);
	cpu->segments[CPU_LDT].selector = task->ldt;
	task_load_ldt(cpu, NULL, task->ldt, FAULT_TS);
	load_code(cpu, task->segments[CPU_CS]);
	segment_load_as(cpu, NULL, CPU_SS, task->segments[CPU_SS], cpu->cpl, FAULT_TS);
	static const uint8_t names[4] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
	for (int i = 0; i < 4; i++)
		segment_load_as(cpu, NULL, names[i], task->segments[names[i]], cpu->cpl, FAULT_TS);
}

static void load_task(struct cpu *cpu, const struct task *task, enum task_how how)
{
	if ((cpu->cr0 & CR0_PG) && task->cr3 != cpu->cr3) {
		if (cpu->cr4 & CR4_PAE)
			paging_load_pdptes(cpu, task->cr3, cpu->pdpte);
		cpu->cr3 = task->cr3;
		tlb_flush(cpu, false);
	}
	cpu->cr0 |= CR0_TS;
	cpu->rip = task->ip;
	cpu_set_rflags(cpu, task->flags | (how == TASK_CALL ? FLAG_NT : 0), UINT32_MAX);
	for (uint32_t i = 0; i < 8; i++)
		cpu->r[i] = task->gpr[i];
	load_segments(cpu, task);
}

void task_switch(
	struct cpu *cpu, const struct op *op, uint16_t selector, enum task_how how, uint64_t rip)
{
	uint32_t wrong = how == TASK_RETURN ? FAULT_TS : FAULT_GP;
	if (selector & 4)
		cpu_fault(cpu, op, wrong, selector & ~3u);
	struct descriptor d = descriptor_need(cpu, op, selector, wrong);
	uint32_t type = DESC_TYPE(d);
	bool is_busy = type & TYPE_BUSY;
	if (DESC_S(d) || (type & 5) != 1 || is_busy != (how == TASK_RETURN))
		cpu_fault(cpu, op, wrong, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	struct cpu_segment tss = segment_from(d, selector);
	const struct layout *layout = layout_of(type);
	if (tss.limit < layout->minimum)
		cpu_fault(cpu, op, FAULT_TS, selector & ~3u);
	uint16_t old = cpu->segments[CPU_TR].selector;
	uint32_t flags = cpu_rflags(cpu);
	if (how == TASK_RETURN)
		flags &= ~FLAG_NT;
	struct task task = read_task(cpu, op, tss.base, layout);
	save_task(cpu, op, rip, flags);
	if (how != TASK_CALL)
		mark_busy(cpu, op, old, false);
	if (how != TASK_RETURN)
		mark_busy(cpu, op, selector, true);
	if (how == TASK_CALL)
		memory_store_system(cpu, op, tss.base, 2, old);
	tss.attributes |= TYPE_BUSY;
	cpu->segments[CPU_TR] = tss;
	load_task(cpu, &task, how);
	cpu_update_mode(cpu);
}

void task_enter_by_event(struct cpu *cpu, uint16_t selector)
{
	bool has_code = cpu->event_has_code;
	uint32_t code = cpu->event_code;
	task_switch(cpu, NULL, selector, TASK_CALL, cpu->rip + cpu->event_length);
	if (!has_code)
		return;
	struct stack stack = stack_now(cpu);
	stack_push(cpu, NULL, &stack, cpu->segments[CPU_TR].attributes & 8 ? 4 : 2, code);
	stack_commit(cpu, &stack);
}

void task_return(struct cpu *cpu, const struct op *op, uint64_t rip)
{
	uint16_t back = (uint16_t)memory_load_system(cpu, op, cpu->segments[CPU_TR].base, 2);
	task_switch(cpu, op, back, TASK_RETURN, rip);
}

void task_load_register(struct cpu *cpu, const struct op *op, uint16_t selector)
{
	if (selector & 4)
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	struct descriptor d = descriptor_need(cpu, op, selector, FAULT_GP);
	uint32_t type = DESC_TYPE(d);
	bool is_available = type == 9 || (type == 1 && !is_long(cpu));
	if (DESC_S(d) || !is_available)
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	struct cpu_segment tss = segment_from(d, selector);
	if (is_long(cpu) && !is_canonical(tss.base))
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	mark_busy(cpu, op, selector, true);
	tss.attributes |= TYPE_BUSY;
	cpu->segments[CPU_TR] = tss;
	cpu->base[CPU_TR] = tss.base;
}

void task_load_ldt(struct cpu *cpu, const struct op *op, uint16_t selector, uint32_t vector)
{
	if (!(selector & ~3u)) {
		cpu->segments[CPU_LDT] = (struct cpu_segment){ .selector = selector };
		return;
	}
	if (selector & 4)
		cpu_fault(cpu, op, vector, selector & ~3u);
	struct descriptor d = descriptor_need(cpu, op, selector, vector);
	if (DESC_S(d) || DESC_TYPE(d) != 2)
		cpu_fault(cpu, op, vector, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, vector == FAULT_GP ? FAULT_NP : vector, selector & ~3u);
	struct cpu_segment ldt = segment_from(d, selector);
	if (is_long(cpu) && !is_canonical(ldt.base))
		cpu_fault(cpu, op, vector, selector & ~3u);
	cpu->segments[CPU_LDT] = ldt;
}
