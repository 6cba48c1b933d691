/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf.c - program headers, and the note that says where a kernel starts under PVH.
 */
#include "vmm/boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define SEGMENTS_MAX 64
#define NOTES_MAX    65536
#define XEN_PHYS32   18
#define LOAD_LOW     UINT64_C(0x500) /* below is the real-mode interrupt table */

bool elf_is(const uint8_t *head, size_t bytes)
{
	return bytes >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0;
}

/* The 32-bit headers in the 64-bit form. */
static Elf64_Ehdr widen_header(const Elf32_Ehdr *from)
{
	return (Elf64_Ehdr){
		.e_type = from->e_type,
		.e_machine = from->e_machine,
		.e_entry = from->e_entry,
		.e_phoff = from->e_phoff,
		.e_phentsize = from->e_phentsize,
		.e_phnum = from->e_phnum,
	};
}

static Elf64_Phdr widen_segment(const Elf32_Phdr *from)
{
	return (Elf64_Phdr){
		.p_type = from->p_type,
		.p_offset = from->p_offset,
		.p_paddr = from->p_paddr,
		.p_filesz = from->p_filesz,
		.p_memsz = from->p_memsz,
		.p_align = from->p_align,
	};
}

static int read_header(const struct image *image, bool *is_64, Elf64_Ehdr *ret, struct error *e)
{
	uint8_t ident[EI_NIDENT];
	int r = image_read(image, 0, ident, sizeof(ident), e);
	if (r < 0)
		return r;
	*is_64 = ident[EI_CLASS] == ELFCLASS64;
	if (ident[EI_DATA] != ELFDATA2LSB || (!*is_64 && ident[EI_CLASS] != ELFCLASS32))
		return error_set(e, -EINVAL, "%s: not an ELF program for x86", image->name);
	if (*is_64) {
		r = image_read(image, 0, ret, sizeof(*ret), e);
	} else {
		Elf32_Ehdr header;
		r = image_read(image, 0, &header, sizeof(header), e);
		if (r == 0)
			*ret = widen_header(&header);
	}
	if (r < 0)
		return r;
	if (ret->e_machine != (*is_64 ? EM_X86_64 : EM_386) &&
		!(ret->e_machine == EM_X86_64 && !*is_64))
		return error_set(e, -EINVAL, "%s: an ELF program for machine %u, not x86",
			image->name, ret->e_machine);
	if (ret->e_type != ET_EXEC && ret->e_type != ET_DYN)
		return error_set(
			e, -EINVAL, "%s: not an ELF program but an object file", image->name);
	size_t wanted = *is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (ret->e_phentsize != wanted || ret->e_phnum == 0 || ret->e_phnum > SEGMENTS_MAX)
		return error_set(e, -EINVAL, "%s: %u program headers of %u bytes", image->name,
			ret->e_phnum, ret->e_phentsize);
	return 0;
}

static int read_segment(const struct image *image, const Elf64_Ehdr *header, bool is_64,
	uint32_t index, Elf64_Phdr *ret, struct error *e)
{
	uint64_t at = header->e_phoff + (uint64_t)index * header->e_phentsize;
	if (at < header->e_phoff)
		return error_set(e, -EINVAL, "%s: its program headers are nowhere", image->name);
	if (is_64)
		return image_read(image, at, ret, sizeof(*ret), e);
	Elf32_Phdr segment;
	int r = image_read(image, at, &segment, sizeof(segment), e);
	if (r == 0)
		*ret = widen_segment(&segment);
	return r;
}

static int load_segment(const struct image *image, const Elf64_Phdr *segment, struct guest *guest,
	struct elf *elf, struct error *e)
{
	if (segment->p_memsz == 0)
		return 0;
	if (segment->p_filesz > segment->p_memsz || segment->p_paddr < LOAD_LOW ||
		segment->p_paddr + segment->p_memsz < segment->p_paddr ||
		!guest_slice(guest, segment->p_paddr, segment->p_memsz))
		return error_set(e, -EINVAL,
			"%s: %ju bytes at 0x%jx do not fit into the guest's memory", image->name,
			(uintmax_t)segment->p_memsz, (uintmax_t)segment->p_paddr);
	if (segment->p_paddr < elf->low)
		elf->low = segment->p_paddr;
	if (segment->p_paddr + segment->p_memsz > elf->high)
		elf->high = segment->p_paddr + segment->p_memsz;
	/* What the file does not fill is zero: guest memory is new. */
	return image_load(image, segment->p_offset, segment->p_filesz, guest, segment->p_paddr, e);
}

/* Looks for Xen's note with the 32-bit entry; a malformed note is none. */
static int find_pvh(
	const struct image *image, const Elf64_Phdr *segment, struct elf *elf, struct error *e)
{
	if (segment->p_filesz > NOTES_MAX)
		return 0;
	cleanup(free) uint8_t *notes = alloc_try(1, segment->p_filesz + 1, NOTES_MAX + 1);
	if (!notes)
		return -ENOMEM;
	int r = image_read(image, segment->p_offset, notes, segment->p_filesz, e);
	if (r < 0)
		return r;
	uint64_t align = segment->p_align == 8 ? 8 : 4;
	for (uint64_t at = 0; segment->p_filesz - at >= sizeof(Elf64_Nhdr);) {
		Elf64_Nhdr note;
		memcpy(&note, notes + at, sizeof(note));
		uint64_t name = at + sizeof(note);
		uint64_t desc = (name + note.n_namesz + align - 1) & ~(align - 1);
		uint64_t next = (desc + note.n_descsz + align - 1) & ~(align - 1);
		if (desc + note.n_descsz > segment->p_filesz)
			return 0;
		if (note.n_type == XEN_PHYS32 && note.n_namesz == 4 &&
			memcmp(notes + name, "Xen", 4) == 0 && note.n_descsz >= 4)
			memcpy(&elf->pvh_entry, notes + desc, note.n_descsz >= 8 ? 8 : 4);
		if (next > segment->p_filesz)
			return 0;
		at = next;
	}
	return 0;
}

int elf_load(const struct image *image, struct guest *guest, struct elf *ret, struct error *e)
{
	Elf64_Ehdr header;
	struct elf elf = { .low = UINT64_MAX };
	int r = read_header(image, &elf.is_64, &header, e);
	for (uint32_t i = 0; r == 0 && i < header.e_phnum; i++) {
		Elf64_Phdr segment;
		r = read_segment(image, &header, elf.is_64, i, &segment, e);
		if (r == 0 && segment.p_type == PT_LOAD)
			r = load_segment(image, &segment, guest, &elf, e);
		else if (r == 0 && segment.p_type == PT_NOTE)
			r = find_pvh(image, &segment, &elf, e);
	}
	if (r < 0)
		return r;
	if (elf.high == 0)
		return error_set(e, -EINVAL, "%s: it has nothing to load", image->name);
	elf.entry = header.e_entry;
	*ret = elf;
	return 0;
}
