/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf64.c - reads the headers of an ELF file.
 */
#include "model/elf64.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int check_segment(const struct elf *elf, uint32_t index, struct error *e)
{
	const Elf64_Phdr *segment = &elf->segments[index];
	uint64_t end;
	if (__builtin_add_overflow(segment->p_offset, segment->p_filesz, &end) || end > elf->size)
		return error_set(
			e, -ENOEXEC, "segment %u lies outside the file: it is truncated", index);
	if (segment->p_type != PT_LOAD)
		return 0;
	if (segment->p_filesz > segment->p_memsz)
		return error_set(
			e, -ENOEXEC, "segment %u is larger in the file than in memory", index);
	if (__builtin_add_overflow(segment->p_vaddr, segment->p_memsz, &end) ||
		end > (UINT64_C(1) << 47))
		return error_set(e, -ENOEXEC, "segment %u lies outside the address space", index);
	return 0;
}

static int check_header(const Elf64_Ehdr *header, struct error *e)
{
	if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
		return error_set(e, -ENOEXEC, "it is no ELF file");
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
		header->e_machine != EM_X86_64)
		return error_set(e, -ENOEXEC, "it is not for x86-64 (ELF class %u, machine %u)",
			header->e_ident[EI_CLASS], header->e_machine);
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return error_set(e, -ENOEXEC, "it is no executable (ELF type %u)", header->e_type);
	if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
		header->e_phnum > ELF_SEGMENTS_MAX)
		return error_set(e, -ENOEXEC, "it has %u program headers of %u bytes",
			header->e_phnum, header->e_phentsize);
	return 0;
}

int elf_open(const void *data, size_t size, struct elf *ret, struct error *e)
{
	Elf64_Ehdr header;
	if (size < sizeof(header))
		return error_set(e, -ENOEXEC, "%zu bytes are no ELF file", size);
	memcpy(&header, data, sizeof(header));
	int r = check_header(&header, e);
	if (r < 0)
		return r;

	size_t table = header.e_phnum * sizeof(Elf64_Phdr);
	if (header.e_phoff > size || table > size - header.e_phoff)
		return error_set(e, -ENOEXEC, "its program headers lie outside: it is truncated");
	struct elf elf = {
		.data = data,
		.size = size,
		.type = header.e_type,
		.entry = header.e_entry,
		.segment_count = header.e_phnum,
	};
	memcpy(elf.segments, elf.data + header.e_phoff, table);
	for (uint32_t i = 0; i < elf.segment_count; i++) {
		r = check_segment(&elf, i, e);
		if (r < 0)
			return r;
	}
	*ret = elf;
	return 0;
}

/* Notes are aligned to 4 bytes whatever p_align says, as every producer in use does it. */
static uint64_t align4(uint64_t value)
{
	return (value + 3) & ~UINT64_C(3);
}

static int note_in(const uint8_t *at, uint64_t left, const char *name, uint32_t type,
	const uint8_t **ret, size_t *ret_size)
{
	size_t name_size = strlen(name) + 1;
	Elf64_Nhdr note;
	while (left >= sizeof(note)) {
		memcpy(&note, at, sizeof(note));
		uint64_t head = sizeof(note) + align4(note.n_namesz);
		if (head > left || note.n_descsz > left - head)
			return -EBADMSG;
		if (note.n_type == type && note.n_namesz == name_size &&
			memcmp(at + sizeof(note), name, name_size) == 0) {
			*ret = at + head;
			*ret_size = note.n_descsz;
			return 0;
		}
		uint64_t whole = head + align4(note.n_descsz);
		if (whole > left)
			break;
		at += whole;
		left -= whole;
	}
	return -ENOENT;
}

int elf_note(const struct elf *elf, const char *name, uint32_t type, const uint8_t **ret,
	size_t *ret_size)
{
	int found = -ENOENT;
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (segment->p_type != PT_NOTE)
			continue;
		int r = note_in(elf->data + segment->p_offset, segment->p_filesz, name, type, ret,
			ret_size);
		if (r == 0)
			return 0;
		found = r == -EBADMSG ? r : found;
	}
	return found;
}

const char *elf_interpreter(const struct elf *elf)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		const char *path = (const char *)elf->data + segment->p_offset;
		if (segment->p_type == PT_INTERP && segment->p_filesz > 0 &&
			path[segment->p_filesz - 1] == '\0')
			return path;
	}
	return NULL;
}
