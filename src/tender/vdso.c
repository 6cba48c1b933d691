/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdso.c - the clock that the kernel maps into every process, found without a libc.
 *
 * The kernel's own image is trusted: it has one loaded segment at offset 0, and a hash table says how many symbols.
 */
#include "tender/vdso.h"

#include <elf.h>
#include <string.h>

#include "base/base.h"

struct tables {
	const Elf64_Sym *symbols;
	const char *names;
	uint32_t count;
};

static const void *at(uint64_t address)
{
	return (const void *)(uintptr_t)address;
}

static struct tables find_tables(uint64_t base, const Elf64_Dyn *entry)
{
	struct tables tables = {};
	for (; entry->d_tag != DT_NULL; entry++) {
		const void *here = at(base + entry->d_un.d_ptr);
		if (entry->d_tag == DT_SYMTAB)
			tables.symbols = here;
		else if (entry->d_tag == DT_STRTAB)
			tables.names = here;
		else if (entry->d_tag == DT_HASH)
			tables.count = ((const uint32_t *)here)[1];
	}
	return tables;
}

vdso_clock *vdso_find_clock(uint64_t address)
{
	const Elf64_Ehdr *header = at(address);
	if (!address)
		return NULL;
	const Elf64_Phdr *segments = at(address + header->e_phoff);
	struct tables tables = {};
	for (uint32_t i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_DYNAMIC)
			tables = find_tables(address, at(address + segments[i].p_offset));
	for (uint32_t i = 0; tables.symbols && tables.names && i < tables.count; i++)
		if (strcmp(tables.names + tables.symbols[i].st_name, "__vdso_clock_gettime") == 0)
			return (vdso_clock *)(uintptr_t)(address + tables.symbols[i].st_value);
	return NULL;
}
