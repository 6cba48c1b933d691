/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segments.c - the segments of a Solo5 unikernel in its memory.
 */
#include "tender/segments.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_BYTES 4096u

static uint64_t page_up(uint64_t address)
{
	return (address + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

static void *at(const struct segments_memory *memory, uint64_t address)
{
	return (void *)(uintptr_t)(memory->base + address);
}

static bool is_loaded(const Elf64_Phdr *segment)
{
	return segment->p_type == PT_LOAD && segment->p_memsz > 0;
}

static int check(const Elf64_Phdr *segment, const struct segments_memory *memory, uint64_t first,
	struct error *e)
{
	uint64_t start = segment->p_vaddr, end = start + segment->p_memsz;
	if (start < first || page_up(end) >= memory->bytes)
		return error_set(e, -ENOEXEC,
			"a segment at %#" PRIx64 " to %#" PRIx64 " does not fit in %" PRIu64
			" bytes of memory or overlaps another",
			start, end, memory->bytes);
	if (start % PAGE_BYTES != 0)
		return error_set(
			e, -ENOEXEC, "a segment at %#" PRIx64 " starts within a page", start);
	if ((segment->p_flags & PF_W) && (segment->p_flags & PF_X))
		return error_set(e, -ENOEXEC,
			"a segment at %#" PRIx64 " is both writable and executable", start);
	return 0;
}

int segments_load(const struct elf *elf, const struct segments_memory *memory, uint64_t *ret_end,
	struct error *e)
{
	bool has_entry = false;
	uint64_t next = memory->first;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (!is_loaded(segment))
			continue;
		int r = check(segment, memory, next, e);
		if (r < 0)
			return r;
		memcpy(at(memory, segment->p_vaddr), elf->data + segment->p_offset,
			segment->p_filesz);
		next = page_up(segment->p_vaddr + segment->p_memsz);
		has_entry |= (segment->p_flags & PF_X) && elf->entry >= segment->p_vaddr &&
			elf->entry - segment->p_vaddr < segment->p_filesz;
	}
	if (!has_entry)
		return error_set(e, -ENOEXEC, "its entry %#" PRIx64 " is in no executable segment",
			elf->entry);
	*ret_end = next;
	return 0;
}

int segments_protect(const struct elf *elf, const struct segments_memory *memory,
	bool needs_reading, struct error *e)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		uint32_t readable = PF_R | (needs_reading ? PF_X : 0u);
		int rights = (segment->p_flags & readable ? PROT_READ : 0) |
			(segment->p_flags & PF_W ? PROT_WRITE : 0) |
			(segment->p_flags & PF_X ? PROT_EXEC : 0);
		if (is_loaded(segment) &&
			mprotect(at(memory, segment->p_vaddr), page_up(segment->p_memsz), rights) <
				0)
			return error_errno(
				e, "protect the segment at %#" PRIx64, (uint64_t)segment->p_vaddr);
	}
	return 0;
}
