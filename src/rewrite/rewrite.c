/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.c - replaces system calls by jumps to trampolines.
 *
 * Theory of operation. A jump has five bytes, `syscall` has two, so something beside the site must go too.
 * In the order of how little is touched:
 *
 *   by number    `mov $n, %eax; syscall`: the jump stands over the mov. The syscall stays: whoever jumps to
 *                it (nobody is known to) makes a real call, which traps.
 *   by follower  the jump stands over the syscall and at least three bytes that follow it, which move into
 *                the trampoline.
 *   by leader    the jump stands over at least three bytes before the syscall, which move, and the syscall.
 *
 * Nothing that control can enter but at the jump itself may be covered, and what moves must be able to:
 * no branches; a displacement relative to RIP is adjusted. A trampoline is
 *
 *	[leaders]  lea -128(%rsp), %rsp    (the red zone of the interrupted function stays whole)
 *	           call *slot           (of the call, where its number stands just before the syscall; else the first)
 *	           lea 128(%rsp), %rsp
 *	[followers]  jmp back
 *
 * The calls that come back with another stack, twice, or not at all (clone, clone3, vfork, rt_sigreturn) are
 * kept as they are where the number shows them: the handler of the trap sees, and can set, every register. Where it
 * does not the library OS makes new threads begin in the trampoline, behind its call, with room for its last `lea`.
 *
 * Moved instructions run with the stack pointer they expect; `lea` changes no flag. The new program headers and the
 * trampolines are a new segment behind the last one; where the program can be anywhere its offset is its address, since
 * a loader finds its own headers that way. The slots are at BOOT_SLOT, the same for a program and its libraries; of a
 * program that forwards there is one, in a page of its own before that segment.
 */
#include "rewrite/rewrite.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/boot.h"
#include "base/text.h"
#include "rewrite/locks.h"
#include "rewrite/sites.h"

#define PAGE_BYTES   4096u
#define JUMP_LENGTH  5u
#define NEW_SEGMENTS 3u /* the page of a slot that forwards, trampolines, the name of the slot */
#define SLOT_BYTES   8u
#define IMAGE_MAX    (1024 * MIB)
#define GAP_MAX      (64 * MIB) /* of the file, where that has to go on at its address */
#define CODE_MAX     (64 * MIB) /* of trampolines: what one takes is fifteen times its site */

struct rewriter {
	const struct elf *elf;
	const struct sites *sites;
	uint8_t *image;
	uint64_t new_address, new_offset; /* of the new segments; whole pages */
	uint64_t table_address;           /* of the program headers */
	uint64_t code_address;            /* of the first trampoline */
	bool forwards;                    /* the slot's page stands before the table */
	struct text code;
	struct rewrite_count count;
};

static uint64_t page_up(uint64_t value)
{
	return (value + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static uint64_t here(const struct rewriter *rewriter)
{
	return rewriter->code_address + rewriter->code.length;
}

static void put(struct rewriter *rewriter, const char *bytes, size_t length)
{
	text_add_n(&rewriter->code, bytes, length);
}

/* A displacement to `target` that ends where the instruction ends. */
static void put_relative(struct rewriter *rewriter, uint64_t target)
{
	int32_t relative = (int32_t)(target - (here(rewriter) + 4));
	put(rewriter, (const char *)&relative, sizeof(relative));
}

static uint8_t *bytes_at(const struct rewriter *rewriter, uint64_t address)
{
	return rewriter->image + sites_file_offset(rewriter->elf, address);
}

static bool can_move(const struct instruction *instruction)
{
	return !instruction->is_branch && !instruction->is_syscall;
}

/* Copies an instruction into the trampoline; what it names relative to RIP stays the same place. */
static void put_moved(struct rewriter *rewriter, const struct instruction *instruction)
{
	uint8_t bytes[16];
	memcpy(bytes, rewriter->elf->data + sites_file_offset(rewriter->elf, instruction->address),
		instruction->length);
	if (instruction->rip_displacement) {
		int32_t displacement;
		memcpy(&displacement, bytes + instruction->rip_displacement, sizeof(displacement));
		displacement += (int32_t)(instruction->address - here(rewriter));
		memcpy(bytes + instruction->rip_displacement, &displacement, sizeof(displacement));
	}
	put(rewriter, (const char *)bytes, instruction->length);
}

/* `number` is that of the call, or one that has no slot of its own. */
static void put_call(struct rewriter *rewriter, uint32_t number)
{
	put(rewriter, "\x48\x8d\x64\x24\x80", 5); /* lea -128(%rsp), %rsp */
	if (rewriter->forwards) {
		put(rewriter, "\xff\x15", 2); /* call *slot(%rip) */
		put_relative(rewriter, rewriter->new_address);
	} else {
		const uint32_t slot = BOOT_SLOT + (number < BOOT_SLOTS ? number * SLOT_BYTES : 0);
		put(rewriter, "\xff\x14\x25", 3); /* call *slot */
		put(rewriter, (const char *)&slot, sizeof(slot));
	}
	put(rewriter, "\x48\x8d\xa4\x24\x80\x00\x00\x00", 8); /* lea 128(%rsp), %rsp */
}

static void put_jump(struct rewriter *rewriter, uint64_t target)
{
	put(rewriter, "\xe9", 1);
	put_relative(rewriter, target);
}

/* What a `mov $number, %eax` says. */
static uint32_t number_in(const struct rewriter *rewriter, const struct instruction *instruction)
{
	uint32_t number;
	memcpy(&number,
		rewriter->elf->data + sites_file_offset(rewriter->elf, instruction->address) +
			instruction->length - sizeof(number),
		sizeof(number));
	return number;
}

/* Moves instructions `first` to `last` of the list into a trampoline and leaves a jump in their place. */
static void redirect(struct rewriter *rewriter, size_t first, size_t last)
{
	const struct instruction *list = rewriter->sites->list;
	uint64_t start = list[first].address, trampoline = here(rewriter);
	for (size_t i = first; i <= last; i++) {
		if (list[i].is_syscall)
			put_call(rewriter,
				i > first && list[i - 1].is_number
					? number_in(rewriter, &list[i - 1])
					: UINT32_MAX);
		else
			put_moved(rewriter, &list[i]);
	}
	put_jump(rewriter, list[last].address + list[last].length);

	int32_t relative = (int32_t)(trampoline - (start + JUMP_LENGTH));
	uint8_t *bytes = bytes_at(rewriter, start);
	bytes[0] = 0xe9;
	memcpy(bytes + 1, &relative, sizeof(relative));
}

/* Bytes of first..last, or 0 if they have a gap, or control can enter behind the first. */
static unsigned block_length(const struct sites *sites, size_t first, size_t last)
{
	unsigned length = sites->list[first].length;
	for (size_t i = first + 1; i <= last; i++) {
		const struct instruction *before = &sites->list[i - 1];
		if (sites->list[i].address != before->address + before->length ||
			sites->list[i].is_entered)
			return 0;
		length += sites->list[i].length;
	}
	return length;
}

static bool try_number(struct rewriter *rewriter, size_t site)
{
	const struct sites *sites = rewriter->sites;
	if (site == 0 || !sites->list[site - 1].is_number ||
		block_length(sites, site - 1, site) == 0)
		return false;
	redirect(rewriter, site - 1, site);
	rewriter->count.by_number++;
	return true;
}

static bool try_followers(struct rewriter *rewriter, size_t site)
{
	const struct sites *sites = rewriter->sites;
	for (size_t last = site + 1; last < sites->count && can_move(&sites->list[last]); last++) {
		unsigned length = block_length(sites, site, last);
		if (length == 0)
			return false;
		if (length >= JUMP_LENGTH) {
			redirect(rewriter, site, last);
			rewriter->count.by_follower++;
			return true;
		}
	}
	return false;
}

/* `taken` is the first instruction that an earlier site has not moved. */
static bool try_leaders(struct rewriter *rewriter, size_t site, size_t taken)
{
	const struct sites *sites = rewriter->sites;
	for (size_t first = site; first > taken && can_move(&sites->list[first - 1]); first--) {
		unsigned length = block_length(sites, first - 1, site);
		if (length == 0)
			return false;
		if (length >= JUMP_LENGTH) {
			redirect(rewriter, first - 1, site);
			rewriter->count.by_leader++;
			return true;
		}
	}
	return false;
}

static bool returns_elsewhere(const struct rewriter *rewriter, size_t site)
{
	const struct instruction *before = &rewriter->sites->list[site > 0 ? site - 1 : 0];
	if (!before->is_number)
		return false;
	const uint32_t number = number_in(rewriter, before);
	return number == SYS_clone || number == SYS_clone3 || number == SYS_vfork ||
		number == SYS_rt_sigreturn;
}

static void rewrite_sites(struct rewriter *rewriter)
{
	const struct sites *sites = rewriter->sites;
	size_t taken = 0;
	for (size_t i = 0; i < sites->count && rewriter->code.length < CODE_MAX; i++) {
		if (!sites->list[i].is_syscall)
			continue;
		rewriter->count.sites++;
		if (returns_elsewhere(rewriter, i)) {
			rewriter->count.kept++;
			continue;
		}
		uint32_t followers = rewriter->count.by_follower;
		bool has_number = i > taken && try_number(rewriter, i);
		if (!has_number && !try_followers(rewriter, i) &&
			!try_leaders(rewriter, i, taken)) {
			rewriter->count.left++;
			continue;
		}
		/* Followers that moved are behind the site: the next site must not move them again. */
		taken = i + 1;
		while (rewriter->count.by_follower > followers && taken < sites->count &&
			sites->list[taken].address < sites->list[i].address + JUMP_LENGTH)
			taken++;
	}
}

/* Makes the system call that the trampoline stands for; the function behind the slot when it forwards. */
static uint64_t put_forwarder(struct rewriter *rewriter)
{
	uint64_t address = here(rewriter);
	put(rewriter, "\x0f\x05\xc3", 3); /* syscall; ret */
	return address;
}

static uint64_t end_of_program(const struct elf *elf)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (segment->p_type == PT_LOAD && segment->p_vaddr + segment->p_memsz > end)
			end = segment->p_vaddr + segment->p_memsz;
	}
	return page_up(end);
}

static uint64_t start_of_program(const struct elf *elf)
{
	uint64_t start = UINT64_MAX;
	for (uint32_t i = 0; i < elf->segment_count; i++)
		if (elf->segments[i].p_type == PT_LOAD && elf->segments[i].p_vaddr < start)
			start = elf->segments[i].p_vaddr;
	return start;
}

static Elf64_Phdr new_segment(
	const struct rewriter *rewriter, uint32_t flags, uint64_t address, uint64_t end)
{
	return (Elf64_Phdr){ .p_type = PT_LOAD,
		.p_flags = flags,
		.p_offset = rewriter->new_offset + (address - rewriter->new_address),
		.p_vaddr = address,
		.p_paddr = address,
		.p_filesz = end - address,
		.p_memsz = end - address,
		.p_align = PAGE_BYTES };
}

static uint32_t new_segments(const struct rewriter *rewriter, Elf64_Phdr added[NEW_SEGMENTS])
{
	uint32_t count = 0;
	const uint64_t slot = rewriter->forwards ? rewriter->new_address : BOOT_SLOT;
	if (rewriter->forwards)
		added[count++] = new_segment(rewriter, PF_R | PF_W, slot, slot + PAGE_BYTES);
	added[count++] =
		new_segment(rewriter, PF_R | PF_X, rewriter->table_address, here(rewriter));
	added[count++] = (Elf64_Phdr){ .p_type = PT_BERTH_SLOT,
		.p_flags = PF_R,
		.p_vaddr = slot,
		.p_paddr = slot,
		.p_memsz = rewriter->forwards ? SLOT_BYTES : BOOT_SLOTS * SLOT_BYTES };
	return count;
}

static void write_headers(const struct rewriter *rewriter, uint8_t *file)
{
	const struct elf *elf = rewriter->elf;
	Elf64_Phdr added[NEW_SEGMENTS];
	Elf64_Ehdr header;
	uint32_t added_count = new_segments(rewriter, added);
	uint32_t count = elf->segment_count + added_count;
	memcpy(&header, file, sizeof(header));
	header.e_phoff = rewriter->new_offset + (rewriter->table_address - rewriter->new_address);
	header.e_phnum = (uint16_t)count;
	memcpy(file, &header, sizeof(header));

	uint8_t *table = file + header.e_phoff;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		Elf64_Phdr segment = elf->segments[i];
		if (segment.p_type == PT_PHDR) {
			segment.p_offset = header.e_phoff;
			segment.p_vaddr = segment.p_paddr = rewriter->table_address;
			segment.p_filesz = segment.p_memsz = count * sizeof(Elf64_Phdr);
		}
		memcpy(table + i * sizeof(segment), &segment, sizeof(segment));
	}
	memcpy(table + elf->segment_count * sizeof(Elf64_Phdr), added,
		added_count * sizeof(Elf64_Phdr));
}

static int assemble(struct rewriter *rewriter, uint64_t forwarder, void **ret, size_t *ret_size,
	struct error *e)
{
	const struct elf *elf = rewriter->elf;
	uint64_t code_offset =
		rewriter->new_offset + (rewriter->code_address - rewriter->new_address);
	size_t size = code_offset + rewriter->code.length;
	uint8_t *file = alloc_try(size, 1, IMAGE_MAX + 64 * MIB);
	if (!file)
		return error_set(e, -E2BIG, "the rewritten program would have %zu bytes", size);
	memcpy(file, rewriter->image, elf->size);
	memcpy(file + code_offset, text_str(&rewriter->code), rewriter->code.length);
	if (rewriter->forwards)
		memcpy(file + rewriter->new_offset, &forwarder, sizeof(forwarder));
	write_headers(rewriter, file);
	*ret = file;
	*ret_size = size;
	return 0;
}

/* One after the other, as the ABI has them: else an address is in two places of the file. */
static bool is_in_order(const struct elf *elf)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		if (segment->p_vaddr < end)
			return false;
		end = segment->p_vaddr + segment->p_memsz;
	}
	return true;
}

static int check_program(
	const struct elf *elf, const struct rewrite_options *options, struct error *e)
{
	for (uint32_t i = 0; i < elf->segment_count; i++)
		if (elf->segments[i].p_type == PT_BERTH_SLOT)
			return error_set(e, -ENOEXEC, "it is rewritten already");
	if (elf->segment_count + NEW_SEGMENTS > ELF_SEGMENTS_MAX)
		return error_set(e, -ENOEXEC, "it has %u program headers", elf->segment_count);
	if (end_of_program(elf) == 0)
		return error_set(e, -ENOEXEC, "it has nothing to load");
	if (!is_in_order(elf))
		return error_set(e, -ENOEXEC, "its segments overlap, or are not in order");
	if (elf->type == ET_EXEC && start_of_program(elf) < BOOT_SLOT + PAGE_BYTES)
		return error_set(e, -ENOEXEC,
			"it is linked to the address 0x%" PRIx64 ", below 0x%x",
			start_of_program(elf), BOOT_SLOT + PAGE_BYTES);
	if (end_of_program(elf) - start_of_program(elf) > GIB)
		return error_set(e, -ENOEXEC, "it spans more than 1 GiB: trampolines are too far");
	if (options->forwards && elf->type != ET_EXEC)
		return error_set(e, -ENOEXEC, "only a program at a fixed address can forward");
	return 0;
}

int rewrite_program(const void *data, size_t size, const struct rewrite_options *options,
	void **ret, size_t *ret_size, struct rewrite_count *ret_count, struct error *e)
{
	struct elf elf;
	if (size > IMAGE_MAX)
		return error_set(e, -E2BIG, "it has more than %d MiB", (int)(IMAGE_MAX / MIB));
	int r = elf_open(data, size, &elf, e);
	if (r == 0)
		r = check_program(&elf, options, e);
	if (r < 0)
		return r;

	cleanup(free) uint8_t *image = alloc_try(size, 1, IMAGE_MAX);
	if (!image)
		return error_set(e, -ENOMEM, "no memory for %zu bytes", size);
	memcpy(image, data, size);
	struct sites sites;
	sites_find(&elf, &sites);
	struct rewriter rewriter = {
		.elf = &elf,
		.sites = &sites,
		.image = image,
		.forwards = options->forwards,
		.new_address = end_of_program(&elf),
		.new_offset = page_up(size),
	};
	if (elf.type == ET_DYN && rewriter.new_address < rewriter.new_offset)
		rewriter.new_address = rewriter.new_offset;
	else if (elf.type == ET_DYN)
		rewriter.new_offset = rewriter.new_address;
	if (rewriter.new_offset - page_up(size) > GAP_MAX) {
		sites_done(&sites);
		return error_set(e, -E2BIG,
			"it takes more than %d MiB of memory beyond its file: trampolines would be too far",
			(int)(GAP_MAX / MIB));
	}
	rewriter.table_address = rewriter.new_address + (options->forwards ? PAGE_BYTES : 0);
	rewriter.code_address =
		rewriter.table_address + (elf.segment_count + NEW_SEGMENTS) * sizeof(Elf64_Phdr);
	uint64_t forwarder = options->forwards ? put_forwarder(&rewriter) : 0;
	if (!options->forwards) /* then it runs beside others */
		rewriter.count.locks = locks_remove(&elf, &sites, image);
	rewrite_sites(&rewriter);
	r = rewriter.code.length < CODE_MAX ? assemble(&rewriter, forwarder, ret, ret_size, e)
					    : error_set(e, -E2BIG, "it has too many system calls");
	if (r == 0)
		*ret_count = rewriter.count;
	text_done(&rewriter.code);
	sites_done(&sites);
	return r;
}
