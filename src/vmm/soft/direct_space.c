/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_space.c - pieces of 2 MiB, each with the entries of the guest's tables that its pages were mapped by.
 */
#include "vmm/soft/direct_space.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/soft/direct_scan.h"
#include "vmm/soft/walk.h"

#define PAGES       512u /* of a piece */
#define PIECE_SHIFT 21
#define PIECES      1024u
#define BUCKETS     512u
#define NONE        UINT16_MAX

/* The host's last page of a user is never there, nor are those below mmap_min_addr. */
#define USER_BEGIN UINT64_C(0x10000)
#define USER_END   DIRECT_END

/* A mapping can make two more of those that a process may have 65,530 of. */
#define RUNS_MAX 30000u

/* Around a page that is missing these are mapped, and so many runs of others nearby. */
#define NEAR     32u
#define FAR_RUNS 90u

/* For a program that is new here. */
#define NEW_RUNS 256u

#define FILTER 65536u

/* As often may the host have no room for what is mapped. */
#define FAILURES_MAX 16u

#define PTE_TOO_HIGH  (PTE_ADDRESS & ~((UINT64_C(1) << PHYSICAL_BITS) - 1))
#define PTE_PAT_LARGE UINT64_C(0x1000)

/* Beside PROT_... */
#define PROT_REFUSED 0x40 /* PROT_EXEC was not given although the guest would */

/* What leads to the pages of a piece. */
struct path {
	uint64_t entry[3];    /* without A and D */
	uint64_t rights;      /* P, W, U and NX of all */
	const uint64_t *ptes; /* in this process; NULL: the last entry is the leaf */
	uint64_t leaf;        /* then: its page's address is the piece's */
};

struct piece {
	uint64_t number; /* linear >> PIECE_SHIFT */
	struct path path;
	uint16_t next;
	uint16_t first, end; /* pages that may be mapped */
	uint8_t prot[PAGES];
	uint64_t pte[PAGES];
};

struct direct_space {
	struct direct_process *process;
	uint64_t cr3;
	uint64_t epoch;
	uint32_t runs;
	bool is_gone, is_empty;
	bool is_full; /* all is to be forgotten, of which some may be mapped */
	uint32_t failures;
	uint16_t buckets[BUCKETS];
	uint32_t piece_count;
	struct piece *pieces[PIECES];
	struct direct_change changes[DIRECT_CHANGES];
	uint32_t change_count;
	uint64_t last_linear, last_rip; /* that was reached */
	uint32_t repeats;
	uint64_t filter[FILTER / 64]; /* hashes of pages that can be written */
};

struct direct_space *direct_space_new(struct direct_process *process)
{
	struct direct_space *space = alloc(struct direct_space);
	space->process = process;
	space->cr3 = DIRECT_NOWHERE;
	memset(space->buckets, 0xff, sizeof(space->buckets));
	space->is_empty = true;
	return space;
}

void direct_space_free(struct direct_space *space)
{
	if (!space)
		return;
	for (uint32_t i = 0; i < PIECES; i++)
		free(space->pieces[i]);
	direct_process_free(space->process);
	free(space);
}

struct direct_process *direct_space_process(struct direct_space *space)
{
	return space->process;
}

uint64_t direct_space_cr3(const struct direct_space *space)
{
	return space->cr3;
}

void direct_space_drop(struct direct_space *space)
{
	memset(space->buckets, 0xff, sizeof(space->buckets));
	memset(space->filter, 0, sizeof(space->filter));
	space->piece_count = 0;
	space->change_count = 0;
	space->runs = 0;
	space->is_full = false;
	space->is_empty = false; /* the process is not */
	space->last_linear = DIRECT_NOWHERE;
}

static void send(struct direct_space *space)
{
	int r = 0;
	if (!space->is_empty && !space->is_gone)
		r = direct_process_unmap_all(space->process);
	space->is_empty = true;
	if (r == 0 && space->change_count && !space->is_gone)
		r = direct_process_change(space->process, space->changes, space->change_count);
	space->change_count = 0;
	if (r == -ENOMEM && space->failures++ < FAILURES_MAX)
		space->is_full = true; /* now nothing is mapped */
	else if (r < 0)
		space->is_gone = true;
}

/* Whoever changes a piece must not lose it: what there is no room for is forgotten here, when nobody has one in hand. */
bool direct_space_commit(struct direct_space *space)
{
	if (space->is_full)
		direct_space_drop(space);
	send(space);
	if (space->is_full)
		direct_space_drop(space);
	return !space->is_gone;
}

static void change(struct direct_space *space, const struct direct_change *wanted)
{
	if (space->change_count == DIRECT_CHANGES)
		send(space);
	if (space->is_full)
		return;
	space->changes[space->change_count++] = *wanted;
	space->is_full = ++space->runs > RUNS_MAX;
}

static struct piece *find(const struct direct_space *space, uint64_t linear)
{
	uint64_t number = linear >> PIECE_SHIFT;
	for (uint16_t i = space->buckets[number % BUCKETS]; i != NONE; i = space->pieces[i]->next)
		if (space->pieces[i]->number == number)
			return space->pieces[i];
	return NULL;
}

static struct piece *add(struct direct_space *space, uint64_t linear)
{
	if (space->piece_count == PIECES) {
		direct_space_drop(space);
		direct_space_commit(space);
	}
	uint32_t i = space->piece_count++;
	if (!space->pieces[i])
		space->pieces[i] = alloc(struct piece);
	struct piece *piece = space->pieces[i];
	uint64_t number = linear >> PIECE_SHIFT;
	uint16_t *bucket = &space->buckets[number % BUCKETS];
	memset(piece->prot, 0, sizeof(piece->prot));
	piece->number = number;
	piece->next = *bucket;
	piece->first = PAGES;
	piece->end = 0;
	*bucket = (uint16_t)i;
	return piece;
}

/* Reads the tables, sets nothing; false if they do not lead to pages. */
static bool read_path(struct cpu *cpu, uint64_t cr3, uint64_t linear, struct path *ret)
{
	guest_addr table = cr3 & PTE_ADDRESS;
	*ret = (struct path){ .rights = PTE_P | PTE_W | PTE_U };
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t level = 4 - i, shift = 12 + 9 * (level - 1);
		uint64_t entry = memory_physical(cpu, table + 8 * (linear >> shift & 511), 8);
		uint64_t inside = (UINT64_C(1) << shift) - 1;
		uint64_t reserved = level == 4 ? PTE_PS
			: entry & PTE_PS       ? PTE_ADDRESS & inside & ~PTE_PAT_LARGE
					       : 0;
		if (!(entry & PTE_P) || !(entry & PTE_A) || !(entry & PTE_U) ||
			(entry & (reserved | PTE_TOO_HIGH)))
			return false;
		ret->entry[i] = entry & ~(PTE_A | PTE_D);
		ret->rights = (ret->rights & (entry | PTE_NX)) | (entry & PTE_NX);
		if (entry & PTE_PS) {
			ret->rights &= ~PTE_PS;
			ret->leaf = (entry & ~(PTE_ADDRESS & inside)) |
				(linear & inside & ~(2 * MIB - 1));
			return true;
		}
		table = entry & PTE_ADDRESS;
	}
	ret->ptes = guest_slice_const(cpu->guest, table, GUEST_PAGE);
	return ret->ptes != NULL;
}

/* The page's entry, as if each of a large page had one. */
static uint64_t pte_of(const struct path *path, uint32_t page)
{
	if (path->ptes)
		return __atomic_load_n(&path->ptes[page], __ATOMIC_RELAXED);
	return path->leaf + page * GUEST_PAGE;
}

/* The bytes of a neighbour in the piece; 0 where there is none. */
static void copy_of(struct cpu *cpu, const struct path *path, uint32_t page, uint32_t from,
	uint8_t *to, uint32_t count)
{
	const uint8_t *host = NULL;
	if (page < PAGES && (pte_of(path, page) & PTE_P))
		host = guest_slice_const(cpu->guest, pte_of(path, page) & PTE_ADDRESS, GUEST_PAGE);
	if (host)
		memcpy(to, host + from, count);
	else
		memset(to, 0, count);
}

/* Of what the guest knows of: what more the host has is in no CPUID of the guest's. */
static uint32_t tells_xcr0(const struct cpu *cpu)
{
	uint32_t low, high;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low ^ cpu->xcr0) & (XCR0_512 | 1) ? DIRECT_TELLS_XCR0 : 0;
}

static bool has_telling_code(struct cpu *cpu, const struct path *path, uint32_t page)
{
	uint8_t bytes[DIRECT_SCAN_BEFORE + GUEST_PAGE + 2];
	copy_of(cpu, path, page - 1, GUEST_PAGE - DIRECT_SCAN_BEFORE, bytes, DIRECT_SCAN_BEFORE);
	copy_of(cpu, path, page, 0, bytes + DIRECT_SCAN_BEFORE, GUEST_PAGE);
	copy_of(cpu, path, page + 1, 0, bytes + DIRECT_SCAN_BEFORE + GUEST_PAGE, 2);
	return direct_scan(
		bytes, DIRECT_SCAN_BEFORE, sizeof(bytes), tells_xcr0(cpu) | cpu->direct_tells);
}

/*
 * How the page may be mapped now for `access`; 0: not. What can be written is not executable at once, so that code was
 * looked at since it was written.
 */
static uint8_t prot_of(
	struct cpu *cpu, const struct path *path, uint32_t page, uint64_t pte, uint32_t access)
{
	if ((pte & (PTE_P | PTE_U | PTE_A)) != (PTE_P | PTE_U | PTE_A))
		return 0;
	guest_addr physical = pte & PTE_ADDRESS;
	const struct guest_region *region = guest_region(cpu->guest, physical);
	uint64_t offset;
	bool is_image = cpu->guest->image_fd >= 0 && guest_in_image(cpu->guest, physical, &offset);
	if (!region || region->access != GUEST_RAM || physical >> PHYSICAL_BITS ||
		!(is_image || guest_in_memfd(cpu->guest, physical)))
		return 0;
	bool can_write = !is_image && (pte & path->rights & PTE_W) && (pte & PTE_D) &&
		atomic_load(&region->watched[(physical - region->at) / GUEST_PAGE]) == 0;
	bool can_execute = !((pte | path->rights) & PTE_NX);
	if (can_write && (!can_execute || access == ACCESS_WRITE))
		return PROT_READ | PROT_WRITE;
	if (!can_execute)
		return PROT_READ;
	return PROT_READ | (has_telling_code(cpu, path, page) ? PROT_REFUSED : PROT_EXEC);
}

static uint64_t *filter_word(struct direct_space *space, guest_addr physical, uint64_t *bit)
{
	uint64_t hash = physical / GUEST_PAGE % FILTER;
	*bit = UINT64_C(1) << (hash % 64);
	return &space->filter[hash / 64];
}

static uint64_t linear_of(const struct piece *piece, uint32_t page)
{
	return (piece->number << PIECE_SHIFT) + page * GUEST_PAGE;
}

static void map_run(struct direct_space *space, struct cpu *cpu, const struct piece *piece,
	uint32_t begin, uint32_t end)
{
	guest_addr physical = piece->pte[begin] & PTE_ADDRESS;
	const struct guest_region *region = guest_region(cpu->guest, physical);
	struct direct_change wanted = { .linear = linear_of(piece, begin),
		.bytes = (end - begin) * GUEST_PAGE,
		.offset = region->file_offset + (physical - region->at),
		.prot = piece->prot[begin] & (PROT_READ | PROT_WRITE | PROT_EXEC) };
	if (guest_in_image(cpu->guest, physical, &wanted.offset))
		wanted.prot |= DIRECT_IMAGE;
	change(space, &wanted);
	for (uint32_t i = begin; i < end && (piece->prot[begin] & PROT_WRITE); i++) {
		uint64_t bit, *word = filter_word(space, piece->pte[i] & PTE_ADDRESS, &bit);
		*word |= bit;
	}
}

static bool is_usable(uint64_t linear)
{
	return linear >= USER_BEGIN && linear < USER_END;
}

/* How the page is to be mapped; 0: not, or it is. */
static uint8_t due(
	struct cpu *cpu, const struct piece *piece, uint32_t page, uint32_t access, uint64_t *pte)
{
	if ((piece->prot[page] && !access) || !is_usable(linear_of(piece, page)))
		return 0;
	*pte = pte_of(&piece->path, page);
	return prot_of(cpu, &piece->path, page, *pte, access);
}

static void note(struct piece *piece, uint32_t page, uint8_t prot, uint64_t pte)
{
	piece->prot[page] = prot;
	piece->pte[page] = pte;
	if (page < piece->first)
		piece->first = (uint16_t)page;
	if (page >= piece->end)
		piece->end = (uint16_t)(page + 1);
}

/* Whether a page like this goes on where the run from `begin` ends. */
static bool goes_on(struct cpu *cpu, const struct piece *piece, uint32_t begin, uint32_t page,
	uint8_t prot, uint64_t pte)
{
	guest_addr first = piece->pte[begin] & PTE_ADDRESS, now = pte & PTE_ADDRESS;
	uint64_t offset;
	return prot == piece->prot[begin] && now == first + (page - begin) * GUEST_PAGE &&
		guest_region(cpu->guest, now) == guest_region(cpu->guest, first) &&
		guest_in_image(cpu->guest, now, &offset) ==
		guest_in_image(cpu->guest, first, &offset);
}

/*
 * Maps what is not in [begin, end) and can be, until that has taken so many runs; `wanted` in any case, as it can be
 * now.
 */
static void fill(struct direct_space *space, struct cpu *cpu, struct piece *piece, uint32_t begin,
	uint32_t end, uint32_t wanted, uint32_t access, uint32_t runs)
{
	uint32_t run = end, most = space->runs + runs;
	for (uint32_t page = begin; page < end; page++) {
		uint64_t pte = 0;
		uint8_t prot = due(cpu, piece, page, page == wanted ? access : 0, &pte);
		if (run < end && !(prot && goes_on(cpu, piece, run, page, prot, pte))) {
			map_run(space, cpu, piece, run, page);
			run = end;
		}
		if (!prot || (run == end && space->runs >= most && page != wanted))
			continue;
		note(piece, page, prot, pte);
		if (run == end)
			run = page;
	}
	if (run < end)
		map_run(space, cpu, piece, run, end);
}

static void unmap_piece(struct direct_space *space, struct piece *piece)
{
	if (piece->first >= piece->end)
		return;
	struct direct_change wanted = { .linear = linear_of(piece, piece->first),
		.bytes = (uint64_t)(piece->end - piece->first) * GUEST_PAGE };
	change(space, &wanted);
	memset(piece->prot, 0, sizeof(piece->prot));
	piece->first = PAGES;
	piece->end = 0;
}

static bool same_path(const struct path *one, const struct path *other)
{
	return memcmp(one->entry, other->entry, sizeof(one->entry)) == 0 &&
		one->ptes == other->ptes;
}

/* One page whose entry has changed. */
static bool look_page(struct direct_space *space, struct piece *piece, uint32_t page, uint64_t pte)
{
	bool is_same = ((pte ^ piece->pte[page]) & (PTE_ADDRESS | PTE_P | PTE_U | PTE_NX)) == 0;
	uint8_t had = piece->prot[page];
	uint8_t may = (uint8_t)(PROT_READ |
		((pte & piece->path.rights & PTE_W) && (pte & PTE_D) ? PROT_WRITE : 0) | PROT_EXEC |
		PROT_REFUSED);
	if (is_same && (pte & PTE_A) && !(had & ~may)) {
		piece->pte[page] = pte;
		return true;
	}
	piece->prot[page] = 0;
	struct direct_change wanted = { .linear = linear_of(piece, page), .bytes = GUEST_PAGE };
	struct direct_change *last =
		space->change_count ? &space->changes[space->change_count - 1] : NULL;
	if (last && !last->prot && last->linear + last->bytes == wanted.linear)
		last->bytes += GUEST_PAGE;
	else
		change(space, &wanted);
	return false;
}

static uint32_t look_piece(
	struct direct_space *space, struct cpu *cpu, struct piece *piece, uint32_t *all)
{
	struct path path;
	uint32_t wrong = 0;
	if (piece->first >= piece->end)
		return 0;
	bool is_there = read_path(cpu, space->cr3, piece->number << PIECE_SHIFT, &path);
	if (!is_there || !same_path(&path, &piece->path)) {
		for (uint32_t page = piece->first; page < piece->end; page++)
			wrong += piece->prot[page] != 0;
		unmap_piece(space, piece);
		*all += wrong;
		return wrong;
	}
	piece->path = path;
	for (uint32_t page = piece->first; page < piece->end; page++) {
		uint64_t pte = pte_of(&path, page);
		*all += piece->prot[page] != 0;
		if (piece->prot[page] && pte != piece->pte[page])
			wrong += !look_page(space, piece, page, pte);
	}
	return wrong;
}

bool direct_space_look(struct direct_space *space, struct cpu *cpu, uint64_t epoch)
{
	uint32_t wrong = 0, all = 0;
	if (space->epoch == epoch)
		return true;
	space->epoch = epoch;
	space->last_linear = DIRECT_NOWHERE;
	for (uint32_t i = 0; i < space->piece_count; i++)
		wrong += look_piece(space, cpu, space->pieces[i], &all);
	return wrong * 2 <= all;
}

/* The piece of this address as the tables are now; NULL: they lead nowhere. */
static struct piece *piece_at(struct direct_space *space, struct cpu *cpu, uint64_t linear)
{
	struct path path;
	if (!read_path(cpu, space->cr3, linear, &path))
		return NULL;
	struct piece *piece = find(space, linear);
	if (piece && !same_path(&path, &piece->path))
		unmap_piece(space, piece);
	if (!piece)
		piece = add(space, linear);
	piece->path = path;
	return piece;
}

static void fill_around(
	struct direct_space *space, struct cpu *cpu, uint64_t linear, uint32_t access)
{
	struct piece *piece = piece_at(space, cpu, linear);
	if (!piece)
		return;
	uint32_t page = linear >> 12 & (PAGES - 1), near = page & ~(NEAR - 1);
	uint32_t before = space->runs;
	fill(space, cpu, piece, near, near + NEAR, access ? page : PAGES, access, NEAR);
	if (space->runs - before < FAR_RUNS)
		fill(space, cpu, piece, 0, PAGES, PAGES, 0, FAR_RUNS);
}

void direct_space_fill(struct direct_space *space, struct cpu *cpu, uint64_t linear)
{
	if (is_usable(linear))
		fill_around(space, cpu, linear, 0);
}

/* Tables can lead to each other without end: it ends for who calls. What was not looked at comes when it is missing. */
static void fill_table(struct direct_space *space, struct cpu *cpu, guest_addr table,
	uint32_t level, uint64_t linear)
{
	uint32_t shift = 12 + 9 * (level - 1);
	uint32_t count = level == 4 ? 256 : 512;
	for (uint32_t i = 0; i < count && space->runs < NEW_RUNS && !atomic_load(&cpu->attention);
		i++) {
		uint64_t entry = memory_physical(cpu, table + 8 * i, 8);
		uint64_t at = linear + ((uint64_t)i << shift);
		if ((entry & (PTE_P | PTE_U | PTE_A)) != (PTE_P | PTE_U | PTE_A))
			continue;
		if (level == 2)
			direct_space_fill(space, cpu, at < USER_BEGIN ? USER_BEGIN : at);
		else if (!(entry & PTE_PS))
			fill_table(space, cpu, entry & PTE_ADDRESS, level - 1, at);
	}
}

bool direct_space_begin(struct direct_space *space, struct cpu *cpu)
{
	direct_space_drop(space);
	space->cr3 = cpu->cr3;
	if (!direct_space_commit(space))
		return false;
	fill_table(space, cpu, cpu->cr3 & PTE_ADDRESS, 4, 0);
	return direct_space_commit(space);
}

static bool may(struct cpu *cpu, uint64_t linear, uint32_t access)
{
	struct wanted want = { .access = access, .is_user = true };
	struct walk found;
	uint32_t code;
	return walk(cpu, linear, &want, &found, &code);
}

/* Whether the instruction at `rip` may have its bytes there. */
static bool is_fetched(uint64_t rip, uint64_t linear)
{
	return (rip & PAGE_MASK) == (linear & PAGE_MASK) ||
		((rip + 14) & PAGE_MASK) == (linear & PAGE_MASK);
}

enum direct_reach direct_space_reach(
	struct direct_space *space, struct cpu *cpu, uint64_t rip, uint64_t linear)
{
	if (!is_usable(linear))
		return DIRECT_INTERPRETED;
	struct piece *piece = find(space, linear);
	uint32_t page = linear >> 12 & (PAGES - 1);
	uint8_t prot = piece ? piece->prot[page] : 0;
	bool is_again = linear == space->last_linear && rip == space->last_rip;
	space->repeats = is_again ? space->repeats + 1 : 0;
	space->last_linear = linear;
	space->last_rip = rip;
	if (space->repeats > 2)
		return DIRECT_INTERPRETED;
	uint32_t access = ACCESS_READ;
	if (is_fetched(rip, linear) && !(prot & PROT_EXEC)) {
		if (prot & PROT_REFUSED)
			return DIRECT_REFUSED;
		access = ACCESS_EXECUTE;
	} else if (prot & PROT_READ) {
		access = ACCESS_WRITE;
		/* It cannot have both at once. */
		if (is_fetched(rip, linear))
			return DIRECT_INTERPRETED;
	}
	if (!may(cpu, linear, access))
		return DIRECT_INTERPRETED;
	fill_around(space, cpu, linear, access);
	piece = find(space, linear);
	if (!piece || !piece->prot[page])
		return DIRECT_INTERPRETED;
	if (access == ACCESS_EXECUTE && !(piece->prot[page] & PROT_EXEC))
		return piece->prot[page] & PROT_REFUSED ? DIRECT_REFUSED : DIRECT_INTERPRETED;
	if (access == ACCESS_WRITE && !(piece->prot[page] & PROT_WRITE))
		return DIRECT_INTERPRETED;
	return prot ? DIRECT_TURNED : DIRECT_REACHED;
}

bool direct_space_protect(struct direct_space *space, guest_addr physical)
{
	uint64_t bit, *word = filter_word(space, physical, &bit);
	bool was_writable = false;
	if (!(*word & bit))
		return false;
	for (uint32_t i = 0; i < space->piece_count; i++) {
		struct piece *piece = space->pieces[i];
		for (uint32_t page = piece->first; page < piece->end; page++) {
			if (!(piece->prot[page] & PROT_WRITE) ||
				(piece->pte[page] & PTE_ADDRESS) != physical)
				continue;
			was_writable = true;
			piece->prot[page] = 0;
			struct direct_change wanted = { .linear = linear_of(piece, page),
				.bytes = GUEST_PAGE };
			change(space, &wanted);
		}
	}
	return was_writable;
}
