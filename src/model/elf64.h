/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf64.h - an x86-64 ELF file that somebody else made, read with every number checked.
 *
 * Pure: the bytes are in memory and borrowed. After elf_open() every segment lies inside the file and
 * the address space, so nobody has to check again. System V ABI, chapters 4 and 5.
 */
#pragma once

#include <elf.h>

#include "base/base.h"
#include "base/error.h"

#define ELF_SEGMENTS_MAX 64

struct elf {
	const uint8_t *data;
	size_t size;
	uint16_t type; /* ET_EXEC or ET_DYN */
	uint64_t entry;
	uint32_t segment_count;
	Elf64_Phdr segments[ELF_SEGMENTS_MAX];
};

/*
 * Reads the headers of `data`. Returns 0, or -ENOEXEC with what is wrong in *e: no ELF, not x86-64, not
 * an executable, truncated, or a segment outside the file or the address space.
 */
int elf_open(const void *data, size_t size, struct elf *ret, struct error *e) must_use;

/*
 * Finds the note `type` of `name` in the PT_NOTE segments. Returns 0, and its descriptor in *ret
 * (borrowed, any alignment) with its offset in the file; -ENOENT if there is none; -EBADMSG if there
 * is none and one of another is larger than its segment.
 */
int elf_note(const struct elf *elf, const char *name, uint32_t type, const uint8_t **ret,
	size_t *ret_size) must_use;

/* The program that the file wants to be loaded by (PT_INTERP), or NULL if none or if it is not text. */
const char *elf_interpreter(const struct elf *elf);
