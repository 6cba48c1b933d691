/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.c - takes the lock off atomic instructions of a program that has a processor for itself.
 *
 * Theory of operation. The threads of a unikernel take turns on one thread of the host, and its memory is nobody else's, so
 * that an instruction is whole without LOCK, which costs a processor 20 cycles and the wait for all stores before it.
 * Reference counts, mutexes and the counters of allocators are full of them. The prefix becomes one that means nothing
 * there (DS), so that no instruction moves, and who jumps behind the prefix, as some do, does so still.
 *
 * Bytes that only look like such an instruction must stay. So only those count that stand in a function of which the
 * table of unwinding (.eh_frame) tells start and length, and which decodes without a gap from one end to the other. A
 * program without the table, or with functions that are told of in another form than the compilers', keeps its locks.
 */
#include "rewrite/locks.h"

#include <string.h>

#define LOCK          0xf0
#define DS            0x3e
#define POINTER_USUAL 0x1b /* relative to itself, four bytes and a sign */
#define WIDTH_MASK    0x0f
#define COMMON_MAX    64u /* compilers' are half as long */
#define FUNCTION_HEAD 16u /* of an entry: length, distance to its common part, start, bytes */

/* `size` bytes that the program has in its file, at an address; NULL if they are not there. */
static const uint8_t *bytes_at(const struct elf *elf, uint64_t address, uint64_t size)
{
	int64_t first = sites_file_offset(elf, address);
	if (first < 0 || size == 0 || size > elf->size - (uint64_t)first)
		return NULL;
	return sites_file_offset(elf, address + size - 1) == first + (int64_t)size - 1
		? elf->data + first
		: NULL;
}

static uint32_t word(const uint8_t *bytes)
{
	uint32_t value;
	memcpy(&value, bytes, sizeof(value));
	return value;
}

/* The table: its bytes and where it is loaded. */
struct table {
	const uint8_t *bytes;
	uint64_t size, address;
};

static bool find_table(const struct elf *elf, struct table *ret)
{
	Elf64_Ehdr header;
	memcpy(&header, elf->data, sizeof(header));
	if (header.e_shentsize != sizeof(Elf64_Shdr) || header.e_shoff > elf->size ||
		header.e_shnum > (elf->size - header.e_shoff) / sizeof(Elf64_Shdr) ||
		header.e_shstrndx >= header.e_shnum)
		return false;
	const uint8_t *sections = elf->data + header.e_shoff;
	Elf64_Shdr names, section;
	memcpy(&names, sections + header.e_shstrndx * sizeof(names), sizeof(names));
	if (names.sh_offset > elf->size || names.sh_size > elf->size - names.sh_offset)
		return false;
	static const char wanted[] = ".eh_frame";
	for (unsigned i = 0; i < header.e_shnum; i++) {
		memcpy(&section, sections + i * sizeof(section), sizeof(section));
		if (section.sh_name > names.sh_size ||
			names.sh_size - section.sh_name < sizeof(wanted) ||
			memcmp(elf->data + names.sh_offset + section.sh_name, wanted,
				sizeof(wanted)) != 0)
			continue;
		*ret = (struct table){ bytes_at(elf, section.sh_addr, section.sh_size),
			section.sh_size, section.sh_addr };
		return ret->bytes && section.sh_size > 0;
	}
	return false;
}

/* What an augmentation's letter stands for in the bytes at *at, which are behind it then. */
static bool skip_letter(const struct table *table, char letter, uint64_t end, uint64_t *at)
{
	static const uint8_t widths[] = { 8, 0, 2, 4, 8, 0, 0, 0, 8, 0, 2, 4, 8, 0, 0, 0 };
	if (letter == 'S' || letter == 'B') /* a signal's frame; nothing stands for it */
		return true;
	if (letter != 'P' && letter != 'L')
		return false;
	if (*at >= end)
		return false;
	uint8_t width = widths[table->bytes[(*at)++] & WIDTH_MASK];
	if (letter == 'L')
		return true;
	*at += width;
	return width > 0 && *at <= end;
}

/* Whether functions that name the common part at `start` are told of in the usual form. */
static bool is_usual(const struct table *table, uint64_t start)
{
	if (start > table->size || table->size - start < 12)
		return false;
	uint64_t length = word(table->bytes + start), end = start + 4 + length, at = start + 9;
	if (length > table->size - start - 4 || word(table->bytes + start + 4) != 0)
		return false;
	const char *letters = (const char *)table->bytes + at;
	if (length > COMMON_MAX)
		return false;
	while (at < end && table->bytes[at])
		at++;
	if (at++ >= end || letters[0] != 'z' || table->bytes[start + 8] != 1)
		return false;
	/* Then three numbers: both factors, and the register of the return. */
	for (int i = 0; i < 2; i++) {
		while (at < end && (table->bytes[at] & 0x80))
			at++;
		at++;
	}
	at += 2; /* that register, and how long the rest is */
	for (letters++; *letters && *letters != 'R'; letters++)
		if (!skip_letter(table, *letters, end, &at))
			return false;
	return *letters == 'R' && at < end && table->bytes[at] == POINTER_USUAL;
}

/* The first instruction of the function and the one behind its last; false if it does not decode as a whole. */
static bool find_function(const struct sites *sites, uint64_t start, uint64_t bytes,
	size_t *ret_first, size_t *ret_end)
{
	int64_t first = sites_index(sites, start);
	uint64_t end = start + bytes, at = start;
	size_t i = (size_t)first;
	if (first < 0 || bytes == 0 || end < start)
		return false;
	while (at < end && i < sites->count && sites->list[i].address == at)
		at += sites->list[i++].length;
	*ret_first = (size_t)first;
	*ret_end = i;
	return at == end;
}

static uint32_t unlock_function(const struct elf *elf, const struct sites *sites, uint8_t *image,
	uint64_t start, uint64_t bytes, uint64_t *left)
{
	size_t first, end;
	uint32_t count = 0;
	if (bytes > *left) /* a table that tells of the same bytes again and again */
		return 0;
	*left -= bytes;
	if (!find_function(sites, start, bytes, &first, &end))
		return 0;
	for (size_t i = first; i < end; i++) {
		const struct instruction *instruction = &sites->list[i];
		if (!instruction->lock)
			continue;
		uint8_t *prefix = image + sites_file_offset(elf, instruction->address) +
			(instruction->lock - 1);
		*prefix = DS;
		count++;
	}
	return count;
}

uint32_t locks_remove(const struct elf *elf, const struct sites *sites, uint8_t *image)
{
	struct table table;
	uint64_t usual = UINT64_MAX, left = 2 * (uint64_t)elf->size;
	uint32_t done = 0;
	if (!find_table(elf, &table))
		return 0;
	for (uint64_t at = 0; table.size - at >= 4;) {
		const uint8_t *entry = table.bytes + at;
		uint64_t length = word(entry);
		if (length == UINT32_MAX || length > table.size - at - 4)
			break;
		uint64_t common = length >= FUNCTION_HEAD - 4 ? word(entry + 4) : 0,
			 next = at + 4 + length;
		if (common > 0 && common <= at + 4) {
			common = at + 4 - common;
			if (common != usual && is_usual(&table, common))
				usual = common;
			int64_t distance = (int32_t)word(entry + 8);
			if (common == usual)
				done += unlock_function(elf, sites, image,
					table.address + at + 8 + (uint64_t)distance,
					word(entry + 12), &left);
		}
		at = next;
	}
	return done;
}
