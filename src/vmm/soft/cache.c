/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.c - blocks of ops.
 *
 * A block is decoded from one page up to a jump that is always taken, BLOCK_OPS or the page's end; its
 * ops stand one behind the other. Blocks live in an arena that is emptied when it is full. Dropping a
 * page turns its ops into stale ones, which look again, so links and the jump cache may point to them
 * until then. An instruction over the end of a page depends on two mappings and is decoded each time.
 */
#include "vmm/soft/cache.h"

#include <string.h>
#include <sys/mman.h>

#include "vmm/soft/arithmetic.h"
#include "vmm/soft/bits.h"
#include "vmm/soft/control.h"
#include "vmm/soft/evex.h"
#include "vmm/soft/fpu.h"
#include "vmm/soft/integer.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/opmask.h"
#include "vmm/soft/ports.h"
#include "vmm/soft/segment.h"
#include "vmm/soft/shared.h"
#include "vmm/soft/string.h"
#include "vmm/soft/system.h"
#include "vmm/soft/transfer.h"
#include "vmm/soft/vector.h"

#define ARENA_OPS    (256u << 10)
#define BLOCKS_MAX   (48u << 10)
#define BUCKETS      (16u << 10)
#define PAGE_BUCKETS 4096u
#define BLOCK_OPS    64u
#define MODE_SINGLE  0x10u /* in a block's mode: it is one instruction, for translated code */

struct block {
	guest_addr physical;
	uint32_t mode;
	uint32_t count;
	struct op *ops;
	uint32_t next, next_in_page; /* numbers of blocks, 0: none */
};

struct code_cache {
	struct op *ops; /* ARENA_OPS */
	uint32_t op_count, block_count;
	struct block *blocks; /* BLOCKS_MAX; the first is not used */
	uint32_t buckets[BUCKETS], pages[PAGE_BUCKETS];
	struct op crossing[2];
};

struct code_cache *cache_new(void)
{
	struct code_cache *cache = alloc(struct code_cache);
	cache->ops = alloc_array(ARENA_OPS, struct op);
	cache->blocks = alloc_array(BLOCKS_MAX, struct block);
	cache->block_count = 1;
	return cache;
}

void cache_free(struct code_cache *cache)
{
	if (!cache)
		return;
	free(cache->ops);
	free(cache->blocks);
	free(cache);
}

static op_bind *const rooms[] = {
	integer_bind,
	control_bind,
	arithmetic_bind,
	fpu_bind,
	bits_bind,
	system_bind,
	stack_bind,
	string_bind,
	transfer_bind,
	syscall_bind,
	ports_bind,
};

/* Whether a LOCK prefix is allowed at all; the rooms look at the operands. */
static bool may_lock(const struct insn *insn)
{
	uint8_t opcode = insn->opcode;
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->map == MAP_0F && (opcode & 0xfd) == 0x20)
		return true; /* CR8 on AMD */
	if (!insn->is_memory || insn->has_vex)
		return false;
	if (insn->map == MAP_ONE_BYTE) {
		if (opcode < 0x38)
			return (opcode & 6) == 0;
		return (opcode >= 0x80 && opcode <= 0x83 && which != 7) || opcode == 0x86 ||
			opcode == 0x87 || ((opcode & 0xfe) == 0xf6 && (which == 2 || which == 3)) ||
			((opcode & 0xfe) == 0xfe && which < 2);
	}
	if (insn->map != MAP_0F)
		return false;
	return opcode == 0xab || opcode == 0xb3 || opcode == 0xbb ||
		(opcode == 0xba && which > 4) || opcode == 0xb0 || opcode == 0xb1 ||
		opcode == 0xc0 || opcode == 0xc1 || (opcode == 0xc7 && which == 1);
}

static void build(struct stubs *stubs, const struct insn *insn, uint32_t offset, struct op *op)
{
	op_fill(insn, offset, op);
	op->run = NULL;
	if (insn->has_lock && !may_lock(insn)) {
		op->run = op_undefined();
		return;
	}
	if (insn->has_evex)
		op->run = evex_bind(stubs, insn, op);
	for (size_t i = 0; i < ARRAY_SIZE(rooms) && !op->run && !insn->has_evex; i++)
		op->run = rooms[i](insn, op);
	if (!op->run)
		op->run = opmask_bind(stubs, insn, op);
	if (!op->run && !insn->has_evex)
		op->run = x87_bind(stubs, insn, op);
	if (!op->run)
		op->run = vector_bind(stubs, insn, op);
	if (!op->run)
		op->run = op_undefined();
	bool is_narrow = insn->code_bytes != 8 || insn->address_bytes != 8;
	if (!(op->flags & OP_MEMORY) || op->access == ACCESS_NONE || !is_narrow ||
		op->run == op_undefined())
		return;
	op->inner = op->run;
	op->run = segment_wrapped;
	op->address_base = op->base;
	op->address_index = op->index;
	op->base = R_EA * 8;
	op->index = R_ZERO * 8;
}

/* Nothing behind it is reached but by a jump. */
static bool ends_block(const struct insn *insn, const struct op *op)
{
	static const uint8_t ends[] = { 0x9a, 0xc2, 0xc3, 0xca, 0xcb, 0xcc, 0xcd, 0xcf, 0xe8, 0xe9,
		0xea, 0xeb, 0xf4 };
	uint32_t which = insn->modrm >> 3 & 7;
	if (op->run == op_undefined())
		return true;
	if (insn->map == MAP_0F)
		return insn->opcode == 0x05 || insn->opcode == 0x07 || insn->opcode == 0x34 ||
			insn->opcode == 0x35;
	if (insn->map != MAP_ONE_BYTE)
		return false;
	return memchr(ends, insn->opcode, sizeof(ends)) ||
		(insn->opcode == 0xff && which >= 2 && which <= 5);
}

/* What decoding depends on beside the bytes. */
static uint32_t mode_key(const struct cpu *cpu)
{
	return cpu->code_bytes;
}

static void tell_protect(struct cpu *cpu, guest_addr page)
{
	struct soft *soft = cpu->soft;
	tlb_protect(cpu, page);
	if (cpu->direct_hooks)
		cpu->direct_hooks->protect(cpu, page);
	if (soft->cpus.count > 1)
		soft->protect(soft, cpu, page);
}

void cache_watch(struct cpu *cpu, guest_addr physical)
{
	const struct guest_region *region = guest_region(cpu->guest, physical);
	uint32_t at = physical & 0xfff, end = at + 14 > 0xfff ? 0xfff : at + 14;
	uint64_t lines = UINT64_C(1) << (at / 64) | UINT64_C(1) << (end / 64);
	if (!region)
		return;
	_Atomic uint64_t *word = &region->watched[(physical - region->at) / GUEST_PAGE];
	uint64_t was = atomic_load(word);
	if ((was & lines) == lines)
		return;
	was = atomic_fetch_or(word, lines);
	if (was == 0)
		tell_protect(cpu, physical & PAGE_MASK);
}

static uint32_t bucket_of(guest_addr physical, uint32_t mode)
{
	return (uint32_t)((physical ^ physical >> 13) * 0x9e3779b1u + mode) % BUCKETS;
}

void cache_flush(struct cpu *cpu)
{
	struct code_cache *cache = cpu->code;
	memset(cache->buckets, 0, sizeof(cache->buckets));
	memset(cache->pages, 0, sizeof(cache->pages));
	cache->op_count = 0;
	cache->block_count = 1;
	cpu->link = NULL;
	memset(cpu->jumps, 0, sizeof(cpu->jumps));
	for (uint32_t i = 0; i < JUMP_SIZE; i++)
		cpu->jumps[i].generation = UINT32_MAX;
	vector_flush(cpu);
	cpu->generation++;
}

static const struct op *stale(struct cpu *cpu, const struct op *op)
{
	return op_look(cpu, op_rip(cpu, op) & rip_mask(cpu));
}

static void unhash(struct code_cache *cache, uint32_t number)
{
	struct block *block = &cache->blocks[number];
	uint32_t *next = &cache->buckets[bucket_of(block->physical, block->mode)];
	while (*next && *next != number)
		next = &cache->blocks[*next].next;
	if (*next)
		*next = block->next;
}

void cache_drop(struct cpu *cpu, guest_addr page)
{
	struct code_cache *cache = cpu->code;
	uint32_t *next = &cache->pages[page / GUEST_PAGE % PAGE_BUCKETS];
	while (*next) {
		struct block *block = &cache->blocks[*next];
		if ((block->physical & PAGE_MASK) != page) {
			next = &block->next_in_page;
			continue;
		}
		unhash(cache, *next);
		for (uint32_t i = 0; i < block->count; i++)
			block->ops[i].run = stale;
		*next = block->next_in_page;
	}
}

static const struct op *lookup(const struct code_cache *cache, guest_addr physical, uint32_t mode)
{
	for (uint32_t i = cache->buckets[bucket_of(physical, mode)]; i; i = cache->blocks[i].next)
		if (cache->blocks[i].physical == physical && cache->blocks[i].mode == mode)
			return cache->blocks[i].ops;
	return NULL;
}

/* A pseudo-op that goes on at `offset`. */
static void add_next(struct op *op, uint32_t offset, uint32_t sequence)
{
	*op = (struct op){
		.run = control_next,
		.offset = (uint16_t)offset,
		.imm = offset,
		.disp = -1,
		.sequence = (uint8_t)sequence,
		.generation = UINT32_MAX,
	};
}

/*
 * The entry of a block: when it has run often enough it is left to be translated. The counter, imm, is not the op's own: it
 * stays when the arena is emptied.
 */
static const struct op *arrive(struct cpu *cpu, const struct op *op)
{
	uint8_t *seen = (uint8_t *)(uintptr_t)op->imm;
	if (unlikely(*seen >= op->extra))
		return op_look(cpu, op_rip(cpu, op));
	*seen += 1;
	return op + 1;
}

static void add_entry(struct op *op, uint32_t offset, const uint8_t *seen, uint32_t runs)
{
	*op = (struct op){ .run = arrive,
		.offset = (uint16_t)offset,
		.imm = (uintptr_t)seen,
		.extra = (uint8_t)runs };
}

bool cache_is_due(const struct op *op)
{
	return op->run == arrive && *(const uint8_t *)(uintptr_t)op->imm >= op->extra;
}

const struct op *cache_behind_entry(const struct op *op)
{
	return op->run == arrive ? op + 1 : op;
}

/* The instruction at cpu->rip lies in two pages: no block is made of it. */
static const struct op *decode_crossing(struct cpu *cpu, const uint8_t *host, uint32_t offset)
{
	uint8_t bytes[INSN_BYTES_MAX];
	uint32_t first = (uint32_t)GUEST_PAGE - offset;
	struct insn insn;
	struct op *op = cpu->code->crossing;
	const uint8_t *second;
	memcpy(bytes, host + offset, first);
	memory_fetch(cpu, cpu->rip + cpu->base[CPU_CS] + first, &second);
	if (!second)
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	memcpy(bytes + first, second, sizeof(bytes) - first);
	int status = decode(bytes, sizeof(bytes), cpu->code_bytes, &insn);
	if (status != DECODE_OK)
		cpu_fault(cpu, NULL, status == DECODE_LONG ? FAULT_GP : FAULT_UD, 0);
	build(cpu->stubs, &insn, offset, op);
	op->sequence = 1;
	add_next(op + 1, offset + op->length, 1);
	return op;
}

static const struct op *decode_block(
	struct cpu *cpu, guest_addr physical, const uint8_t *host, uint32_t mode)
{
	uint32_t limit = mode & MODE_SINGLE ? 1 : BLOCK_OPS;
	struct code_cache *cache = cpu->code;
	uint32_t start = physical & 0xfff, offset = start, count = 0;
	if (cache->op_count + BLOCK_OPS + 2 > ARENA_OPS || cache->block_count == BLOCKS_MAX)
		cache_flush(cpu);
	struct op *first = cache->ops + cache->op_count, *ops = first;
	bool is_done = false;
	if (cpu->cold_runs && mode == 8)
		add_entry(ops++, start, &cpu->cold_seen[cold_slot(physical)], cpu->cold_runs);
	while (!is_done && count < limit && offset < GUEST_PAGE) {
		struct insn insn;
		cache_watch(cpu, (physical & PAGE_MASK) + offset);
		int status = decode(host + offset, GUEST_PAGE - offset, cpu->code_bytes, &insn);
		if (status == DECODE_SHORT)
			break;
		struct op *op = &ops[count];
		if (status == DECODE_OK) {
			build(cpu->stubs, &insn, offset, op);
			offset += insn.length;
			is_done = ends_block(&insn, op);
		} else {
			*op = (struct op){ .run = status == DECODE_LONG ? op_too_long()
									: op_undefined(),
				.offset = (uint16_t)offset };
			is_done = true;
		}
		op->sequence = (uint8_t)++count;
	}
	if (count == 0)
		return decode_crossing(cpu, host, start);
	add_next(&ops[count], offset, count);
	count += (uint32_t)(ops - first) + 1;
	uint32_t number = cache->block_count++;
	uint32_t *bucket = &cache->buckets[bucket_of(physical, mode)];
	uint32_t *page = &cache->pages[physical / GUEST_PAGE % PAGE_BUCKETS];
	cache->blocks[number] = (struct block){
		.physical = physical,
		.mode = mode,
		.count = count,
		.ops = first,
		.next = *bucket,
		.next_in_page = *page,
	};
	*bucket = *page = number;
	cache->op_count += count;
	return first;
}

static uint32_t jump_slot(uint64_t rip)
{
	return (uint32_t)(rip ^ rip >> 12) & (JUMP_SIZE - 1);
}

/* The jump that has led here leads to the op from now on. */
static void link_to(struct cpu *cpu, const struct op *link, const struct op *op)
{
	if (!link || link == cpu->code->crossing || link == cpu->code->crossing + 1)
		return;
	struct op *from = (struct op *)(uintptr_t)link;
	from->target = op;
	from->generation = cpu->generation;
}

const struct op *cache_known(struct cpu *cpu)
{
	const struct jump_entry *entry = &cpu->jumps[jump_slot(cpu->rip)];
	if (entry->rip != cpu->rip || entry->generation != cpu->generation ||
		entry->op->run == stale)
		return NULL;
	link_to(cpu, cpu->link, entry->op);
	cpu->link = NULL;
	cpu->r[R_CODE] = cpu->rip - entry->op->offset;
	return entry->op;
}

static const struct op *find(struct cpu *cpu, uint32_t mode)
{
	const uint8_t *host;
	if (cpu->code_bytes != 8 && cpu->rip > cpu->segments[CPU_CS].limit)
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	const struct op *link = cpu->link;
	cpu->link = NULL;
	guest_addr physical = memory_fetch(cpu, cpu->rip + cpu->base[CPU_CS], &host);
	if (!host)
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	uint32_t generation = cpu->generation;
	const struct op *op = lookup(cpu->code, physical, mode);
	if (!op)
		op = decode_block(cpu, physical, host, mode);
	cpu->r[R_CODE] = cpu->rip - op->offset;
	if (op == cpu->code->crossing || (mode & MODE_SINGLE))
		return op;
	struct jump_entry *entry = &cpu->jumps[jump_slot(cpu->rip)];
	*entry = (struct jump_entry){ .rip = cpu->rip, .op = op, .generation = cpu->generation };
	/* A flush of the arena has taken the linking op with it. */
	if (generation == cpu->generation)
		link_to(cpu, link, op);
	return op;
}

const struct op *cache_find(struct cpu *cpu)
{
	return find(cpu, mode_key(cpu));
}

const struct op *cache_find_one(struct cpu *cpu)
{
	return find(cpu, mode_key(cpu) | MODE_SINGLE);
}
