/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sites.c - linear disassembly, and every address that control may reach other than by falling through.
 *
 * Theory of operation. An instruction can be moved only if nobody jumps to it, so what counts is to miss
 * no target; to take something for a target that is none costs a rewritten site, no more. Targets are
 * those of direct branches; addresses that code computes relative to RIP; words in data that hold the
 * address of an instruction (function pointers, absolute jump tables, and what relocations will write);
 * and 32-bit words that are such an address relative to a place in data whose address code computes
 * (position-independent jump tables). Only addresses at which an instruction starts matter.
 */
#include "rewrite/sites.h"

#include <Zydis/Zydis.h>
#include <string.h>

#define TABLE_ENTRIES_MAX 4096

/* How many entries of tables are looked at for each instruction, beside a million: programs have less than one. */
#define LOOKS_EACH 16
#define LOOKS_MORE 1000000

/* Addresses in data that code takes: where relative jump tables can stand. */
struct addresses {
	uint64_t *list;
	size_t count;
	size_t size;
};

static void add_address(struct addresses *addresses, uint64_t address)
{
	if (addresses->count == addresses->size) {
		addresses->size = addresses->size ? 2 * addresses->size : 256;
		addresses->list =
			alloc_resize(addresses->list, addresses->size, sizeof(addresses->list[0]));
	}
	addresses->list[addresses->count++] = address;
}

static struct instruction *add_instruction(struct sites *sites)
{
	if (sites->count == sites->size) {
		sites->size = sites->size ? 2 * sites->size : 4096;
		sites->list = alloc_resize(sites->list, sites->size, sizeof(sites->list[0]));
	}
	struct instruction *instruction = &sites->list[sites->count++];
	*instruction = (struct instruction){};
	return instruction;
}

static bool is_loaded(const Elf64_Phdr *segment)
{
	return segment->p_type == PT_LOAD && segment->p_filesz > 0;
}

/* Whether all of it is in one segment, at that place of the file. */
static bool is_in_segment(const struct elf *elf, uint64_t address, uint64_t offset, uint64_t bytes)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (is_loaded(segment) && address >= segment->p_vaddr &&
			address - segment->p_vaddr < segment->p_filesz)
			return bytes <= segment->p_filesz - (address - segment->p_vaddr) &&
				offset == segment->p_offset + (address - segment->p_vaddr);
	}
	return false;
}

int64_t sites_file_offset(const struct elf *elf, uint64_t address)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (is_loaded(segment) && address >= segment->p_vaddr &&
			address - segment->p_vaddr < segment->p_filesz)
			return (int64_t)(segment->p_offset + (address - segment->p_vaddr));
	}
	return -1;
}

int64_t sites_index(const struct sites *sites, uint64_t address)
{
	size_t low = 0, high = sites->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (sites->list[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < sites->count && sites->list[low].address == address ? (int64_t)low : -1;
}

static struct instruction *find(const struct sites *sites, uint64_t address)
{
	int64_t index = sites_index(sites, address);
	return index < 0 ? NULL : &sites->list[index];
}

static void mark(const struct sites *sites, uint64_t address)
{
	struct instruction *instruction = find(sites, address);
	if (instruction)
		instruction->is_entered = true;
}

static bool ends_flow(const ZydisDecodedInstruction *decoded)
{
	switch ((int)decoded->meta.category) {
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM:
		return true;
	default:
		return decoded->mnemonic == ZYDIS_MNEMONIC_HLT ||
			decoded->mnemonic == ZYDIS_MNEMONIC_UD2 ||
			decoded->mnemonic == ZYDIS_MNEMONIC_XBEGIN;
	}
}

/*
 * Where its one LOCK stands, plus 1, if a prefix without a meaning can stand there: one that names a segment would be a second
 * one of its kind, and F2 and F3 mean something else beside LOCK.
 */
static uint8_t lock_of(const uint8_t *bytes, const ZydisDecodedInstruction *decoded)
{
	uint8_t found = 0;
	if (!(decoded->attributes & ZYDIS_ATTRIB_HAS_LOCK))
		return 0;
	for (uint8_t i = 0; i < decoded->raw.prefix_count; i++) {
		switch (bytes[i]) {
		case 0xf0:
			if (found)
				return 0;
			found = (uint8_t)(i + 1);
			break;
		case 0x66:
			break;
		default:
			if (bytes[i] >> 4 != 4) /* REX */
				return 0;
		}
	}
	return found;
}

/* Notes one decoded instruction, and the addresses it names in `named`. */
static void note(struct sites *sites, struct addresses *named, uint64_t address,
	const uint8_t *bytes, const ZydisDecodedInstruction *decoded)
{
	struct instruction *instruction = add_instruction(sites);
	instruction->address = address;
	instruction->length = decoded->length;
	instruction->lock = lock_of(bytes, decoded);
	instruction->is_syscall = decoded->mnemonic == ZYDIS_MNEMONIC_SYSCALL;
	instruction->is_branch = ends_flow(decoded);
	instruction->is_number = (decoded->length == 5 && bytes[0] == 0xb8) ||
		(decoded->length == 7 && memcmp(bytes, "\x48\xc7\xc0", 3) == 0);
	instruction->is_entered = decoded->mnemonic == ZYDIS_MNEMONIC_ENDBR64;
	uint64_t next = address + decoded->length;
	if (decoded->raw.imm[0].is_relative)
		add_address(named, next + (uint64_t)decoded->raw.imm[0].value.s);
	bool is_rip = (decoded->attributes & ZYDIS_ATTRIB_HAS_MODRM) &&
		decoded->raw.modrm.mod == 0 && decoded->raw.modrm.rm == 5;
	if (is_rip) {
		instruction->rip_displacement = decoded->raw.disp.offset;
		add_address(named, next + (uint64_t)decoded->raw.disp.value);
	}
}

static void disassemble(const struct elf *elf, uint64_t address, uint64_t offset, uint64_t length,
	struct sites *sites, struct addresses *named)
{
	ZydisDecoder decoder;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	const uint8_t *bytes = elf->data + offset;
	for (uint64_t at = 0; at < length;) {
		ZydisDecodedInstruction decoded;
		ZydisDecoderContext context;
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(
			    &decoder, &context, bytes + at, length - at, &decoded))) {
			at++;
			continue;
		}
		note(sites, named, address + at, bytes + at, &decoded);
		at += decoded.length;
	}
}

/* The executable sections, so that data between them is not taken for code; false if there are none. */
static bool disassemble_sections(
	const struct elf *elf, struct sites *sites, struct addresses *named)
{
	Elf64_Ehdr header;
	memcpy(&header, elf->data, sizeof(header));
	if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > elf->size ||
		header.e_shnum > (elf->size - header.e_shoff) / sizeof(Elf64_Shdr))
		return false;
	uint64_t end = 0;
	for (unsigned i = 0; i < header.e_shnum; i++) {
		Elf64_Shdr section;
		memcpy(&section, elf->data + header.e_shoff + i * sizeof(section), sizeof(section));
		if (!(section.sh_flags & SHF_EXECINSTR) || section.sh_type == SHT_NOBITS ||
			section.sh_size == 0)
			continue;
		/* A liar's sections, or out of order: trust the segments instead. */
		if (section.sh_addr < end ||
			!is_in_segment(elf, section.sh_addr, section.sh_offset, section.sh_size)) {
			sites->count = 0;
			named->count = 0;
			return false;
		}
		disassemble(elf, section.sh_addr, section.sh_offset, section.sh_size, sites, named);
		end = section.sh_addr + section.sh_size;
	}
	return end > 0;
}

static void disassemble_segments(
	const struct elf *elf, struct sites *sites, struct addresses *named)
{
	uint64_t end = 0;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (!is_loaded(segment) || !(segment->p_flags & PF_X) || segment->p_vaddr < end)
			continue;
		disassemble(
			elf, segment->p_vaddr, segment->p_offset, segment->p_filesz, sites, named);
		end = segment->p_vaddr + segment->p_filesz;
	}
}

/* Words of 8 bytes in data that hold the address of an instruction, relocated or yet to be. */
static void mark_absolute(const struct elf *elf, const struct sites *sites)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (!is_loaded(segment))
			continue;
		/* Packed structures can hold a pointer anywhere, though compilers align theirs to 4. */
		for (uint64_t at = 0; at + 8 <= segment->p_filesz; at += 4) {
			uint64_t word;
			memcpy(&word, elf->data + segment->p_offset + at, sizeof(word));
			mark(sites, word);
		}
	}
}

static void mark_table(
	const struct elf *elf, const struct sites *sites, uint64_t table, uint64_t *looks)
{
	int64_t offset = sites_file_offset(elf, table);
	if (offset < 0)
		return;
	for (unsigned i = 0; i<TABLE_ENTRIES_MAX && * looks> 0; i++, (*looks)--) {
		int32_t relative;
		size_t at = (size_t)offset + 4 * (size_t)i;
		if (at + sizeof(relative) > elf->size)
			return;
		memcpy(&relative, elf->data + at, sizeof(relative));
		struct instruction *target = find(sites, table + (uint64_t)(int64_t)relative);
		if (!target)
			return;
		target->is_entered = true;
	}
}

void sites_find(const struct elf *elf, struct sites *ret)
{
	struct sites sites = {};
	struct addresses named = {};
	if (!disassemble_sections(elf, &sites, &named))
		disassemble_segments(elf, &sites, &named);
	uint64_t looks = (uint64_t)sites.count * LOOKS_EACH + LOOKS_MORE;
	mark(&sites, elf->entry);
	for (size_t i = 0; i < named.count; i++) {
		mark(&sites, named.list[i]);
		mark_table(elf, &sites, named.list[i], &looks);
	}
	mark_absolute(elf, &sites);
	/* No compiler's tables are like that: nobody knows what is entered, so nothing moves. */
	for (size_t i = 0; i < sites.count && looks == 0; i++)
		sites.list[i].is_entered = true;
	free(named.list);
	*ret = sites;
}

void sites_done(struct sites *sites)
{
	free(sites->list);
	*sites = (struct sites){};
}
