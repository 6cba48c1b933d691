/* SPDX-License-Identifier: Apache-2.0 */
/*
 * native.c - finds a block, runs it, and does what it left for.
 */
#include "vmm/soft/native.h"

#include "vmm/large.h"
#include "vmm/soft/cache.h"
#include "vmm/soft/direct.h"
#include "vmm/soft/event.h"
#include "vmm/soft/fallback.h"
#include "vmm/soft/io.h"
#include "vmm/soft/kept.h"
#include "vmm/soft/lockstep.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/translate.h"

/* A page whose code was dropped this often is the interpreter's for a while. */
#define HOT_PAGE 24

/* Code is interpreted this often first: most of what a kernel runs when it starts it runs a few times only. */
#define COLD_RUNS 16

/* Likewise an instruction over the end of a page, which is decoded anew each time. */
#define COLD_CROSSING 2

/* With so many blocks a CPU is worth large pages of the host. */
#define LARGE_BLOCKS 1024

/* How often an instruction was done alone whose group had no room in one page, or no RAM. */
#define GROUP_FAILS 2

int native_init(struct cpu *cpu, bool is_checked, struct error *e)
{
	int r = code_new(cpu->soft_count, &cpu->native, e);
	cpu->lacks = 0xff;
	cpu->kernel_links = cpu->user_links = 1;
	if (r < 0)
		return r;
	cpu->native->is_checked = is_checked;
	cpu->cold_seen = cpu->native->seen;
	cpu->cold_runs = is_checked ? 0 : COLD_RUNS;
	cpu->native_shift = (uintptr_t)cpu->native->writable - (uintptr_t)cpu->native->executable;
	kept_forget(cpu);
	return 0;
}

void native_done(struct cpu *cpu)
{
	code_free(cpu->native);
	cpu->native = NULL;
}

void native_flush(struct cpu *cpu)
{
	if (cpu->native)
		code_flush(cpu);
}

static uint8_t *heat_of(struct native *native, guest_addr page)
{
	return &native->heat[page / GUEST_PAGE % 4096];
}

void native_drop(struct cpu *cpu, guest_addr page)
{
	if (!cpu->native || !code_drop(cpu->native, page))
		return;
	uint8_t *heat = heat_of(cpu->native, page);
	*heat = *heat < 255 ? *heat + 1 : 255;
}

bool native_can(const struct cpu *cpu)
{
	return cpu->native && cpu->code_bytes == 8 &&
		(cpu->cpl == 0 || (cpu->cpl == 3 && !cpu->checks_alignment));
}

static enum native_mode mode_of(const struct cpu *cpu)
{
	if (cpu->cpl == 3)
		return NATIVE_USER;
	if (!(cpu->cr4 & CR4_SMAP))
		return NATIVE_KERNEL;
	return cpu->rflags_rest & FLAG_AC ? NATIVE_KERNEL_AC : NATIVE_SMAP;
}

/* Where cpu->rip is, in memory. */
struct place {
	guest_addr physical;
	const uint8_t *host;
	enum native_mode mode;
	bool crosses; /* the instruction reaches over the end of the page, to: */
	struct second_page second;
};

/* The block at cpu->rip, or 0 if it is not translated. Sets R_CODE. May fault. */
static uint32_t find(struct cpu *cpu, struct place *place)
{
	place->physical = memory_fetch(cpu, cpu->rip, &place->host);
	if (!place->host)
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	place->mode = mode_of(cpu);
	place->crosses = translate_crosses(place->physical, place->host);
	place->second.physical = 0;
	if (place->crosses)
		place->second.physical =
			memory_fetch(cpu, (cpu->rip | 0xfff) + 1, &place->second.host);
	if (place->crosses && !place->second.host)
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	cpu->r[R_CODE] = cpu->rip & PAGE_MASK;
	uint32_t number = code_find(cpu->native, place->physical, place->mode);
	if (!number || cpu->native->blocks[number].second == place->second.physical)
		return number;
	code_drop_block(cpu->native, number);
	return 0;
}

/* Likewise; most often it is the one that the link has led to before. */
static uint32_t find_linked(struct cpu *cpu, uint32_t to, struct place *place)
{
	const struct block *block = &cpu->native->blocks[to];
	if (!to || block->second)
		return find(cpu, place);
	guest_addr physical = memory_fetch(cpu, cpu->rip, &place->host);
	if (block->physical != physical || block->mode != mode_of(cpu) || block->is_dropped)
		return find(cpu, place);
	cpu->r[R_CODE] = cpu->rip & PAGE_MASK;
	return to;
}

static bool is_hot(struct native *native, guest_addr physical)
{
	uint8_t *heat = heat_of(native, physical);
	if (*heat < HOT_PAGE || native->is_checked)
		return false;
	if ((++native->hot_runs & 1023) == 0)
		*heat = 0;
	return true;
}

/* The interpreter has run what is not worth more yet. */
static bool run_cold(struct cpu *cpu, const struct place *place)
{
	struct native *native = cpu->native;
	if (native->is_checked)
		return false;
	if (!place->crosses)
		return fallback_cold(cpu);
	uint8_t *seen = code_seen(native, place->physical, place->mode);
	if (*seen >= COLD_CROSSING)
		return false;
	*seen += 1;
	return fallback_cold(cpu);
}

/* Tables that are looked into at each access and each jump stand all over struct cpu; a small guest needs little of them. */
static void use_large(struct cpu *cpu)
{
	for (size_t at = 0; at < sizeof(*cpu); at += LARGE_BYTES)
		(void)large_collapse((uint8_t *)cpu + at);
}

/* The block of what is due at a place, translated now. */
static uint32_t translate_at(struct cpu *cpu, const struct place *place)
{
	if (cpu->native->translated == LARGE_BLOCKS)
		use_large(cpu);
	cpu->link = NULL;
	if (!translate_has_room(cpu->native))
		code_flush(cpu);
	return translate(cpu, place->physical, place->host, place->mode,
		place->crosses ? &place->second : NULL);
}

/* The block at cpu->rip, translated if it is due; 0: the interpreter has done something. */
static uint32_t find_or_translate(struct cpu *cpu)
{
	struct place place;
	uint32_t number = find(cpu, &place);
	if (number) {
		cpu->link = NULL;
		return number;
	}
	if (is_hot(cpu->native, place.physical)) {
		fallback_some(cpu);
		return 0;
	}
	return run_cold(cpu, &place) ? 0 : translate_at(cpu, &place);
}

static bool is_slot_free(const struct native_jump *jumps, uint32_t at)
{
	return jumps[at].code == NULL;
}

/*
 * The slot for the address, its own or the one beside. If both are taken one of them goes by turns: the two of a pair
 * that are in use find their places, whatever else was there.
 */
static uint32_t slot_for(struct cpu *cpu, const struct native_jump *jumps, uint32_t at)
{
	if (jumps[at].rip == cpu->rip || jumps[at ^ 1].rip == cpu->rip)
		return jumps[at].rip == cpu->rip ? at : at ^ 1;
	if (is_slot_free(jumps, at) || is_slot_free(jumps, at ^ 1))
		return is_slot_free(jumps, at) ? at : at ^ 1;
	return at ^ (cpu->native->turn++ & 1);
}

/* Jumps to this address find the block from now on. */
static void remember(struct cpu *cpu, uint32_t number)
{
	struct native *native = cpu->native;
	enum native_mode mode = native->blocks[number].mode;
	uint32_t at = cpu->rip & native_jump_mask(mode);
	uint32_t entry =
		native->is_checked ? native->pieces.arrive : native->blocks[number].entry_told;
	struct native_jump *jumps = cpu->native_jumps[mode];
	const uint8_t *code = code_at(native, entry);
	if (mode == NATIVE_USER && !native->blocks[number].second)
		kept_remember(cpu, code, native->blocks[number].physical);
	at = slot_for(cpu, jumps, at);
	cpu->native_used[mode][at / 64] |= UINT64_C(1) << (at & 63);
	jumps[at] = (struct native_jump){ .rip = cpu->rip, .code = code };
}

static bool wants_attention(const struct cpu *cpu)
{
	return atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0;
}

/* What comes next: code, with what must be live, or NULL: cpu->rip is where. */
struct next {
	const void *code;
	uint32_t live;
};

static struct next at_offset(const struct cpu *cpu, uint32_t offset, uint32_t live)
{
	return (struct next){ .code = code_at(cpu->native, offset), .live = live };
}

/* Whether the loop would come to translated code. */
static bool may_go_on(const struct cpu *cpu)
{
	return !wants_attention(cpu) && !cpu->native->is_checked && !cpu->event_is_pending &&
		!cpu->trap_dr6 && cpu->activity == CPU_ACTIVE && !cpu_must_step(cpu) &&
		native_can(cpu) && !direct_wants(cpu);
}

/* Where the table of jumps by address goes on at cpu->rip, or NULL. */
static const uint8_t *find_jump(const struct cpu *cpu)
{
	enum native_mode mode = mode_of(cpu);
	const struct native_jump *jumps = cpu->native_jumps[mode];
	uint32_t at = cpu->rip & native_jump_mask(mode);
	at = jumps[at].rip == cpu->rip ? at : at ^ 1;
	return jumps[at].rip == cpu->rip ? jumps[at].code : NULL;
}

/* What the table has for cpu->rip was dropped. */
static void forget_jump(struct cpu *cpu)
{
	enum native_mode mode = mode_of(cpu);
	struct native_jump *jumps = cpu->native_jumps[mode];
	uint32_t at = cpu->rip & native_jump_mask(mode);
	at = jumps[at].rip == cpu->rip ? at : at ^ 1;
	if (jumps[at].rip == cpu->rip)
		jumps[at] = native_jump_none(at);
}

/*
 * Straight to what is at cpu->rip, if nothing else is to be done: the table's next block, or cold code and what comes
 * behind it. The user's vectors, `live`, stay where they were.
 */
static struct next go_on(struct cpu *cpu, uint32_t live)
{
	while (may_go_on(cpu) && !(live & ~fallback_available(cpu))) {
		const uint8_t *code = find_jump(cpu);
		if (code) {
			cpu->link = NULL;
			cpu->r[R_CODE] = cpu->rip & PAGE_MASK;
			return (struct next){ .code = code, .live = live };
		}
		if (fallback_known(cpu))
			continue;
		uint32_t block = find_or_translate(cpu);
		if (!block)
			continue;
		remember(cpu, block);
		return at_offset(cpu, cpu->native->blocks[block].entry, live);
	}
	return (struct next){};
}

/* Of what the host's registers held of a program's, when it was left: what they may hold again. */
static uint32_t still_live(const struct cpu *cpu, uint32_t cpl)
{
	return cpl == 3 && cpu->cpl == 3 ? (uint8_t)~cpu->lacked : 0;
}

/* The interpreter does the instruction. */
static struct next call_out(struct cpu *cpu, const struct site *site)
{
	uint32_t cpl = cpu->cpl;
	cpu->rip = cpu->r[R_CODE] + site->offset;
	fallback_one(cpu);
	return go_on(cpu, still_live(cpu, cpl));
}

/* A jump by address, a call or a return; what is out of the ordinary is the interpreter's. */
static struct next jump_missed(struct cpu *cpu, const struct site *site)
{
	uint64_t target = cpu->native_linear;
	uint64_t top = cpu->r[CPU_RSP] + (uint64_t)(int64_t)site->target;
	if (!is_canonical(target))
		return call_out(cpu, site);
	if (site->target < 0) {
		any64 *slot = memory_direct(cpu, top, 8, ACCESS_WRITE);
		if (!slot)
			return call_out(cpu, site);
		slot->v = cpu->r[R_CODE] + site->offset + site->bytes;
	}
	cpu->r[CPU_RSP] = top;
	cpu->rip = target;
	return go_on(cpu, still_live(cpu, cpu->cpl));
}

/* A jump out of the 48 bits is the instruction's own fault; a call has pushed already. */
static struct next bad_target(struct cpu *cpu, const struct site *site)
{
	cpu->rip = cpu->r[R_CODE] + site->offset;
	cpu->r[CPU_RSP] += site->bytes;
	fallback_one(cpu);
	return (struct next){};
}

static struct next follow(struct cpu *cpu, uint32_t number)
{
	struct native *native = cpu->native;
	const struct site *site = &native->sites[number];
	uint64_t rip = cpu->r[R_CODE] + (uint64_t)(int64_t)site->target;
	if (site->access == ACCESS_EXECUTE && !is_canonical(rip))
		return bad_target(cpu, site);
	cpu->rip = rip;
	if (wants_attention(cpu) || native->is_checked)
		return (struct next){};
	struct place place;
	uint32_t block = find_linked(cpu, site->to, &place);
	if (!block)
		return go_on(cpu, 0);
	/* A block in two pages is good for one generation of mappings, too. */
	bool is_fixed = !native->sites[number].is_far;
	if (is_fixed && native->blocks[block].second)
		return at_offset(cpu, native->blocks[block].entry, 0);
	if (!native->blocks[native->sites[number].block].is_dropped)
		code_link(
			native, number, block, cpu->cpl == 3 ? cpu->user_links : cpu->kernel_links);
	return at_offset(cpu, native->blocks[block].entry, 0);
}

/* A block with a group that was not what it should be, again and again, is translated with each of its checks. */
static void group_failed(struct native *native, uint32_t number)
{
	struct block *block = &native->blocks[number];
	if (block->is_dropped || ++block->failed < GROUP_FAILS)
		return;
	*code_seen(native, block->physical, block->mode) = CODE_CAREFUL;
	code_drop_block(native, number);
}

/* As the interpreter would do it, which would look the page up again. */
static struct next page_fault(struct cpu *cpu, uint64_t linear, uint32_t code)
{
	uint32_t cpl = cpu->cpl;
	cpu->cr2 = linear;
	cpu->fault_vector = FAULT_PF;
	cpu->fault_code = code;
	event_from_fault(cpu);
	cpu->io_next = 0;
	event_deliver(cpu);
	io_commit(cpu);
	cpu->link = NULL;
	return go_on(cpu, still_live(cpu, cpl));
}

static struct next memory_missed(struct cpu *cpu, const struct site *site)
{
	uint64_t linear = cpu->native_linear;
	uint32_t code = 0;
	cpu->rip = cpu->r[R_CODE] + site->offset;
	enum fill fill = memory_fill(cpu, linear, site->bytes, site->access, &code);
	if (fill == FILL_DONE)
		return at_offset(cpu, site->retry, site->live);
	if (fill == FILL_FAULTS && site->is_sole)
		return page_fault(cpu, linear + (uint64_t)site->delta, code);
	uint64_t flushes = cpu->native->flushes, next = cpu->rip;
	const struct op *op = cache_find_one(cpu), *after = op->run(cpu, op);
	cpu->link = NULL;
	if (site->kind == SITE_GROUP && flushes == cpu->native->flushes)
		group_failed(cpu->native, site->block);
	if (!after)
		return (struct next){};
	next += op->length;
	cpu->rip = cpu->r[R_CODE] + after->offset;
	bool is_still_there = site->resume && flushes == cpu->native->flushes &&
		!cpu->native->blocks[site->block].is_dropped;
	if (cpu->rip != next || !is_still_there || wants_attention(cpu))
		return (struct next){};
	return at_offset(cpu, site->resume, site->live);
}

static struct next need(struct cpu *cpu, const struct site *site)
{
	cpu->rip = cpu->r[R_CODE] + site->offset;
	if ((site->needs & ~fallback_available(cpu)) == 0)
		return at_offset(cpu, site->retry, site->needs);
	fallback_one(cpu);
	return (struct next){};
}

/* Why translated code has come back. */
static struct next look(struct cpu *cpu)
{
	const struct site *site = &cpu->native->sites[cpu->native_site];
	if (cpu->native_site == 0)
		return (struct next){}; /* by an indirect jump, in lock-step */
	switch ((enum site_kind)site->kind) {
	case SITE_LINK:
		return follow(cpu, cpu->native_site);
	case SITE_MEMORY:
	case SITE_GROUP:
		return memory_missed(cpu, site);
	case SITE_NEED:
		return need(cpu, site);
	case SITE_STALE:
		cpu->rip = cpu->r[R_CODE] + site->offset;
		forget_jump(cpu);
		return (struct next){};
	case SITE_JUMP:
		return jump_missed(cpu, site);
	case SITE_CALLOUT:
	default:
		return call_out(cpu, site);
	}
}

void native_run(struct cpu *cpu)
{
	struct native *native = cpu->native;
	struct next next = go_on(cpu, 0);
	if (!next.code && !native->is_checked)
		return;
	if (!next.code) {
		uint32_t block = find_or_translate(cpu);
		if (!block)
			return;
		remember(cpu, block);
		if (!lockstep_believes(cpu, block)) {
			lockstep_run(cpu, block);
			return;
		}
		next = at_offset(cpu, native->blocks[block].entry, 0);
	}
	while (next.code) {
		pieces_enter(&native->pieces, cpu, next.code, next.live);
		next = look(cpu);
	}
}
