/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paging.c - accesses that the TLB cannot serve at once: over the end of a page, devices, pages with decoded
 * code, breakpoints.
 */
#include "vmm/soft/memory.h"

#include <string.h>

#include "vmm/soft/io.h"
#include "vmm/soft/shared.h"
#include "vmm/soft/tlb.h"

#define RMW_BUFFERED 1 /* the operand is a copy in cpu->scratch */
#define RMW_SPLIT    2 /* likewise, and split_lock is held */
#define RMW_CODE     3 /* in place, on a page with decoded code */

/* The entry of `tlb` for this access; walks if it is not there. */
static struct tlb_entry *translate(
	struct cpu *cpu, const struct op *op, struct tlb *tlb, uint64_t linear, uint32_t access)
{
	uint32_t code = 0;
	struct tlb_entry *entry = tlb_find(cpu, tlb, linear, access, &code);
	if (likely(entry))
		return entry;
	if (!is_canonical(linear))
		cpu_fault(cpu, op, op && op->segment == CPU_SS ? FAULT_SS : FAULT_GP, 0);
	tlb_page_fault(cpu, op, linear, code);
}
/* Notes data breakpoints that an access meets. */
static void watch_data(struct cpu *cpu, uint64_t linear, uint32_t bytes, uint32_t access)
{
	for (int i = 0; i < BREAKPOINTS; i++) {
		uint32_t kind = cpu->dr[7] >> (16 + 4 * i) & 3;
		static const uint8_t lengths[4] = { 1, 2, 8, 4 };
		uint64_t length = lengths[cpu->dr[7] >> (18 + 4 * i) & 3];
		uint64_t at = cpu->dr[i] & ~(length - 1);
		if (!(cpu->dr[7] >> (2 * i) & 3) || kind == 0 || kind == 2)
			continue;
		if (kind == 1 && !(access & ACCESS_WRITE))
			continue;
		if (linear < at + length && at < linear + bytes) {
			cpu->trap_dr6 |= 1u << i;
			cpu_call(cpu, ATTENTION_STEP);
		}
	}
}

/* Of what is no vector: those may be anywhere. */
static void check_alignment(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	if (unlikely(cpu->checks_alignment) && bytes <= 8 && cpu->cpl == 3 &&
		cpu_wants_alignment(cpu) && (linear & (bytes - 1)))
		cpu_fault(cpu, op, FAULT_AC, 0);
}

static uint64_t load_part(struct cpu *cpu, const struct op *op, const struct tlb_entry *entry,
	uint64_t linear, uint32_t bytes)
{
	uint64_t physical = (entry->physical & PAGE_MASK) | (linear & 0xfff);
	if (entry->physical & TLB_NO_RAM)
		return io_read(cpu, op, physical, bytes, false);
	const void *host = (const void *)(entry->host + (linear & 0xfff));
	switch (bytes) {
	case 1:
		return ((const volatile any8 *)host)->v;
	case 2:
		return ((const volatile any16 *)host)->v;
	case 4:
		return ((const volatile any32 *)host)->v;
	case 8:
		return ((const volatile any64 *)host)->v;
	default: {
		uint64_t value = 0;
		memcpy(&value, host, bytes);
		return value;
	}
	}
}

/* Tells of the change of bytes that were decoded, and makes the entry fast again if none are left. */
static void code_written(struct cpu *cpu, guest_addr physical, uint32_t bytes)
{
	const struct guest_region *region = guest_region(cpu->guest, physical);
	if (!region)
		return;
	uint64_t lines = atomic_load(&region->watched[(physical - region->at) / GUEST_PAGE]);
	uint32_t first = (physical & 0xfff) / 64, last = ((physical & 0xfff) + bytes - 1) / 64;
	if (last > 63)
		last = 63;
	if (lines & (UINT64_MAX >> (63 - last)) & (UINT64_MAX << first))
		cpu->soft->wrote(cpu->soft, cpu, physical & PAGE_MASK);
}

static void store_part(struct cpu *cpu, const struct op *op, struct tlb_entry *entry,
	uint64_t linear, uint32_t bytes, uint64_t value)
{
	uint64_t physical = (entry->physical & PAGE_MASK) | (linear & 0xfff);
	const struct guest_region *region = guest_region(cpu->guest, physical);
	if (!region || guest_is_rom(cpu->guest, region, physical)) {
		io_write(cpu, op, physical, bytes, value, false);
		return;
	}
	void *host = (void *)(entry->host + (linear & 0xfff));
	switch (bytes) {
	case 1:
		((volatile any8 *)host)->v = (uint8_t)value;
		break;
	case 2:
		((volatile any16 *)host)->v = (uint16_t)value;
		break;
	case 4:
		((volatile any32 *)host)->v = (uint32_t)value;
		break;
	case 8:
		((volatile any64 *)host)->v = value;
		break;
	default:
		memcpy(host, &value, bytes);
		break;
	}
	if (entry->physical & TLB_CODE) {
		code_written(cpu, physical, bytes);
		tlb_set_tags(cpu, entry, linear & PAGE_MASK);
	}
}

static uint32_t bytes_left(uint64_t linear)
{
	return (uint32_t)(GUEST_PAGE - (linear & 0xfff));
}

static uint64_t load_from(
	struct cpu *cpu, const struct op *op, struct tlb *tlb, uint64_t linear, uint32_t bytes)
{
	linear = memory_wrap(cpu, linear);
	if (unlikely(cpu->has_data_breakpoints))
		watch_data(cpu, linear, bytes, ACCESS_READ);
	uint32_t left = bytes_left(linear);
	if (left >= bytes)
		return load_part(
			cpu, op, translate(cpu, op, tlb, linear, ACCESS_READ), linear, bytes);
	uint64_t second = memory_wrap(cpu, linear + left);
	translate(cpu, op, tlb, linear, ACCESS_READ);
	struct tlb_entry *high = translate(cpu, op, tlb, second, ACCESS_READ);
	struct tlb_entry *low = translate(cpu, op, tlb, linear, ACCESS_READ);
	uint64_t value = load_part(cpu, op, low, linear, left);
	return value | load_part(cpu, op, high, second, bytes - left) << (8 * left);
}

static void store_to(struct cpu *cpu, const struct op *op, struct tlb *tlb, uint64_t linear,
	uint32_t bytes, uint64_t value)
{
	linear = memory_wrap(cpu, linear);
	if (unlikely(cpu->has_data_breakpoints))
		watch_data(cpu, linear, bytes, ACCESS_WRITE);
	uint32_t left = bytes_left(linear);
	if (left >= bytes) {
		store_part(cpu, op, translate(cpu, op, tlb, linear, ACCESS_WRITE), linear, bytes,
			value);
		return;
	}
	uint64_t second = memory_wrap(cpu, linear + left);
	translate(cpu, op, tlb, linear, ACCESS_WRITE);
	struct tlb_entry *high = translate(cpu, op, tlb, second, ACCESS_WRITE);
	struct tlb_entry *low = translate(cpu, op, tlb, linear, ACCESS_WRITE);
	store_part(cpu, op, low, linear, left, value & mask_of(left));
	store_part(cpu, op, high, second, bytes - left, value >> (8 * left));
}

uint64_t memory_load(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	check_alignment(cpu, op, linear, bytes);
	return load_from(cpu, op, cpu->tlb, linear, bytes);
}

void memory_store(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value)
{
	check_alignment(cpu, op, linear, bytes);
	store_to(cpu, op, cpu->tlb, linear, bytes, value);
}

static struct tlb *system_tlb(struct cpu *cpu)
{
	return &cpu->tlbs[cpu->cr4 & CR4_SMAP ? TLB_SMAP : TLB_KERNEL];
}

uint64_t memory_load_system(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	return load_from(cpu, op, system_tlb(cpu), linear, bytes);
}

void memory_store_system(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value)
{
	store_to(cpu, op, system_tlb(cpu), linear, bytes, value);
}

void memory_probe(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint32_t access)
{
	if (bytes == 0)
		return;
	linear = memory_wrap(cpu, linear);
	translate(cpu, op, cpu->tlb, linear, access);
	for (uint32_t done = bytes_left(linear); done < bytes; done += GUEST_PAGE)
		translate(cpu, op, cpu->tlb, memory_wrap(cpu, linear + done), access);
}

/* Of what is left: the page's, or as much of it as is one access where memory is not at hand. */
static uint32_t part_of(uint64_t linear, uint32_t left, bool is_direct)
{
	uint32_t part = left < bytes_left(linear) ? left : bytes_left(linear);
	if (is_direct)
		return part;
	part = part < 8 ? part : 8;
	while (part & (part - 1))
		part &= part - 1;
	return part;
}

void memory_read(struct cpu *cpu, const struct op *op, uint64_t linear, void *to, uint32_t bytes)
{
	const void *direct = memory_direct(cpu, linear, bytes, ACCESS_READ);
	if (direct) {
		memcpy(to, direct, bytes);
		return;
	}
	memory_probe(cpu, op, linear, bytes, ACCESS_READ);
	for (uint32_t done = 0, part; done < bytes; done += part) {
		part = part_of(linear + done, bytes - done, true);
		direct = memory_direct(cpu, linear + done, part, ACCESS_READ);
		if (direct) {
			memcpy((uint8_t *)to + done, direct, part);
			continue;
		}
		part = part_of(linear + done, bytes - done, false);
		uint64_t value = load_from(cpu, op, cpu->tlb, linear + done, part);
		memcpy((uint8_t *)to + done, &value, part);
	}
}

void memory_write(
	struct cpu *cpu, const struct op *op, uint64_t linear, const void *from, uint32_t bytes)
{
	void *direct = memory_direct(cpu, linear, bytes, ACCESS_WRITE);
	if (direct) {
		memcpy(direct, from, bytes);
		return;
	}
	memory_probe(cpu, op, linear, bytes, ACCESS_WRITE);
	for (uint32_t done = 0, part; done < bytes; done += part) {
		part = part_of(linear + done, bytes - done, true);
		direct = memory_direct(cpu, linear + done, part, ACCESS_WRITE);
		if (direct) {
			memcpy(direct, (const uint8_t *)from + done, part);
			continue;
		}
		part = part_of(linear + done, bytes - done, false);
		uint64_t value = 0;
		memcpy(&value, (const uint8_t *)from + done, part);
		store_to(cpu, op, cpu->tlb, linear + done, part, value);
	}
}

void *memory_rmw(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	linear = memory_wrap(cpu, linear);
	cpu->rmw_linear = linear;
	cpu->rmw_bytes = bytes;
	cpu->rmw_how = 0;
	if (unlikely(cpu->has_data_breakpoints))
		watch_data(cpu, linear, bytes, ACCESS_READ | ACCESS_WRITE);
	check_alignment(cpu, op, linear, bytes);
	struct tlb_entry *entry = translate(cpu, op, cpu->tlb, linear, ACCESS_WRITE);
	bool is_ram = guest_slice(cpu->guest, entry->physical & PAGE_MASK, GUEST_PAGE) != NULL;
	if (bytes_left(linear) >= bytes && is_ram) {
		if (entry->physical & TLB_CODE)
			cpu->rmw_how = RMW_CODE;
		return (void *)(entry->host + (linear & 0xfff));
	}
	memory_probe(cpu, op, linear, bytes, ACCESS_WRITE);
	bool is_split = is_ram && (op->flags & OP_LOCK) && bytes_left(linear) < bytes;
	if (is_split) {
		pthread_mutex_lock(&cpu->soft->split_lock);
		cpu->rmw_how = RMW_SPLIT;
	}
	if (bytes <= 8) {
		uint64_t value = memory_load(cpu, op, linear, bytes);
		memcpy(cpu->scratch, &value, bytes);
	} else {
		memory_read(cpu, op, linear, cpu->scratch, bytes);
	}
	cpu->rmw_how = is_split ? RMW_SPLIT : RMW_BUFFERED;
	return cpu->scratch;
}

void memory_rmw_finish(struct cpu *cpu, const struct op *op)
{
	uint32_t how = cpu->rmw_how, bytes = cpu->rmw_bytes;
	if (how == RMW_CODE) {
		cpu->rmw_how = 0;
		struct tlb_entry *entry =
			translate(cpu, op, cpu->tlb, cpu->rmw_linear, ACCESS_WRITE);
		code_written(cpu, (entry->physical & PAGE_MASK) | (cpu->rmw_linear & 0xfff), bytes);
		tlb_set_tags(cpu, entry, cpu->rmw_linear & PAGE_MASK);
		return;
	}
	if (bytes <= 8) {
		uint64_t value = 0;
		memcpy(&value, cpu->scratch, bytes);
		memory_store(cpu, op, cpu->rmw_linear, bytes, value);
	} else {
		memory_write(cpu, op, cpu->rmw_linear, cpu->scratch, bytes);
	}
	memory_abandon(cpu);
}

void memory_abandon(struct cpu *cpu)
{
	if (cpu->rmw_how == RMW_SPLIT)
		pthread_mutex_unlock(&cpu->soft->split_lock);
	cpu->rmw_how = 0;
}
