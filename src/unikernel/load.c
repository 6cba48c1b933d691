/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - puts the program into memory and its arguments onto its stack, as Linux does.
 *
 * The file was rewritten when its image was built (src/rewrite): its slot gets the address of our entry.
 */
#include <elf.h>

#include "unikernel/heap.h"
#include "unikernel/node.h"

#define PT_BERTH_SLOT   0x62746872u
#define HWCAP2_FSGSBASE 2

/* A signal frame with all of the vector state there can be. */
#define SIGNAL_STACK_MIN 4096
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* What was loaded, to load it again. */
static struct boot loaded_boot;
static struct program loaded;
static uint64_t call_entry;

static uint64_t page_down(uint64_t address)
{
	return address & ~(uint64_t)(KERNEL_PAGE - 1);
}

static uint64_t page_up(uint64_t address)
{
	return page_down(address + KERNEL_PAGE - 1);
}

/* Whoever built the image has checked the file; a reader that trusts nobody costs little. */
static bool is_good(const struct boot *boot, const Elf64_Phdr *segment)
{
	return segment->p_offset <= boot->program_bytes &&
		segment->p_filesz <= boot->program_bytes - segment->p_offset &&
		segment->p_filesz <= segment->p_memsz && segment->p_vaddr < (UINT64_C(1) << 47) &&
		segment->p_memsz < (UINT64_C(1) << 40);
}

static int load_segment(const struct boot *boot, const Elf64_Phdr *segment)
{
	uint64_t start = page_down(segment->p_vaddr);
	uint64_t data_end = segment->p_vaddr + segment->p_filesz;
	uint64_t end = page_up(segment->p_vaddr + segment->p_memsz);
	uint64_t from = boot->program_address + segment->p_offset;
	/* Where the platform can, pages of the image are the program's until it writes to them. */
	if ((from ^ segment->p_vaddr) % KERNEL_PAGE == 0 && segment->p_filesz &&
		platform_map_image(start, page_up(data_end) - start, page_down(from)) == 0) {
		if (segment->p_memsz > segment->p_filesz)
			memset(at(data_end), 0, page_up(data_end) - data_end);
		return page_up(data_end) < end
			? platform_map(page_up(data_end), end - page_up(data_end))
			: 0;
	}
	int r = platform_map(start, end - start);
	if (r < 0)
		return r;
	memcpy(at(segment->p_vaddr), at(from), segment->p_filesz);
	return 0;
}

static int protect_segment(const Elf64_Phdr *segment)
{
	int rights = (segment->p_flags & PF_R ? PLATFORM_READ : 0) |
		(segment->p_flags & PF_W ? PLATFORM_WRITE : 0) |
		(segment->p_flags & PF_X ? PLATFORM_EXECUTE : 0);
	uint64_t start = page_down(segment->p_vaddr);
	if ((rights & PLATFORM_WRITE) && (rights & PLATFORM_EXECUTE))
		return -ENOEXEC;
	return platform_protect(
		start, page_up(segment->p_vaddr + segment->p_memsz) - start, rights);
}

static int load_segments(const struct boot *boot, const Elf64_Phdr *segments, uint32_t count,
	struct program *program)
{
	for (uint32_t i = 0; i < count; i++) {
		const Elf64_Phdr *segment = &segments[i];
		if (segment->p_type != PT_LOAD && segment->p_type != PT_BERTH_SLOT)
			continue;
		if (!is_good(boot, segment))
			return -ENOEXEC;
		if (segment->p_type == PT_BERTH_SLOT) {
			*(uint64_t *)at(segment->p_vaddr) = call_entry;
			continue;
		}
		int r = load_segment(boot, segment);
		if (r < 0)
			return r;
		if (segment->p_vaddr < program->start)
			program->start = segment->p_vaddr;
		if (segment->p_vaddr + segment->p_memsz > program->end)
			program->end = segment->p_vaddr + segment->p_memsz;
	}
	for (uint32_t i = 0; i < count; i++) {
		int r = segments[i].p_type == PT_LOAD ? protect_segment(&segments[i]) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static uint64_t headers_address(const Elf64_Ehdr *header, const Elf64_Phdr *segments)
{
	for (uint32_t i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *segment = &segments[i];
		if (segment->p_type == PT_LOAD && header->e_phoff >= segment->p_offset &&
			header->e_phoff - segment->p_offset < segment->p_filesz)
			return segment->p_vaddr + (header->e_phoff - segment->p_offset);
	}
	return 0;
}

int load_program(const struct boot *boot, uint64_t entry, struct program *ret)
{
	call_entry = entry;
	const Elf64_Ehdr *header = at(boot->program_address);
	if (boot->program_bytes < sizeof(*header) ||
		memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_type != ET_EXEC ||
		header->e_machine != EM_X86_64 || header->e_phentsize != sizeof(Elf64_Phdr) ||
		header->e_phoff % 8 != 0 || header->e_phoff > boot->program_bytes ||
		header->e_phnum * sizeof(Elf64_Phdr) > boot->program_bytes - header->e_phoff)
		return -ENOEXEC;
	const Elf64_Phdr *segments = at(boot->program_address + header->e_phoff);
	struct program program = {
		.entry = header->e_entry,
		.headers = headers_address(header, segments),
		.header_count = header->e_phnum,
		.start = UINT64_MAX,
	};
	int r = load_segments(boot, segments, header->e_phnum, &program);
	if (r < 0)
		return r;
	*ret = loaded = program;
	loaded_boot = *boot;
	return 0;
}

static const Elf64_Phdr *writable_segment(uint32_t index)
{
	const Elf64_Ehdr *header = at(loaded_boot.program_address);
	const Elf64_Phdr *segments = at(loaded_boot.program_address + header->e_phoff);
	for (uint32_t i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_LOAD && (segments[i].p_flags & PF_W) && index-- == 0)
			return &segments[i];
	return NULL;
}

bool load_writable(uint32_t index, uint64_t *ret_start, uint64_t *ret_end)
{
	const Elf64_Phdr *segment = writable_segment(index);
	if (!segment)
		return false;
	*ret_start = segment->p_vaddr;
	*ret_end = segment->p_vaddr + segment->p_memsz;
	return true;
}

void load_again(struct program *ret)
{
	const Elf64_Phdr *segment;
	for (uint32_t i = 0; (segment = writable_segment(i)); i++) {
		uint64_t start = page_down(segment->p_vaddr);
		platform_protect(start, page_up(segment->p_vaddr + segment->p_memsz) - start,
			PLATFORM_READ | PLATFORM_WRITE);
		memcpy(at(segment->p_vaddr), at(loaded_boot.program_address + segment->p_offset),
			segment->p_filesz);
		memset(at(segment->p_vaddr + segment->p_filesz), 0,
			segment->p_memsz - segment->p_filesz);
	}
	const Elf64_Ehdr *header = at(loaded_boot.program_address);
	const Elf64_Phdr *segments = at(loaded_boot.program_address + header->e_phoff);
	for (uint32_t i = 0; i < header->e_phnum; i++)
		if (segments[i].p_type == PT_BERTH_SLOT)
			*(uint64_t *)at(segments[i].p_vaddr) = call_entry;
	*ret = loaded;
}

/*
 * The image has the program as it was and as it was rewritten. Rewriting leaves the entry and what is writable
 * alone, and no two programs have both in common.
 */
bool load_is_program(struct node *node)
{
	const Elf64_Phdr *segment = writable_segment(0);
	uint64_t bytes = segment ? segment->p_filesz : 0;
	Elf64_Ehdr header;
	if (node_read(node, &header, sizeof(header), 0) != sizeof(header) ||
		memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_entry != loaded.entry ||
		!bytes)
		return false;
	uint8_t *content = heap_alloc_raw(bytes);
	bool is_same = content &&
		node_read(node, content, bytes, segment->p_offset) == (int64_t)bytes &&
		memcmp(content, at(loaded_boot.program_address + segment->p_offset), bytes) == 0;
	heap_free(content);
	return is_same;
}

static uint32_t cpuid_features(void)
{
	uint32_t a = 1, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return d;
}

static uint64_t *push_words(uint64_t *to, uint32_t count, const char **word)
{
	for (uint32_t i = 0; i < count; i++) {
		*to++ = (uint64_t)(uintptr_t)*word;
		*word += strlen(*word) + 1;
	}
	*to++ = 0;
	return to;
}

/*
 * The initial stack of the System V ABI below `top`: words, random bytes, auxiliary vector, environment,
 * arguments. Returns the stack pointer.
 */
uint64_t load_stack(const struct boot *boot, const struct program *program, uint64_t top)
{
	static const char platform_name[] = "x86_64";
	uint64_t random = top - sizeof(boot->random);
	uint64_t name = random - sizeof(platform_name);
	uint64_t words = name - boot->words_bytes;
	memcpy(at(random), boot->random, sizeof(boot->random));
	memcpy(at(name), platform_name, sizeof(platform_name));
	memcpy(at(words), at(boot->words_address), boot->words_bytes);

	const uint64_t auxiliary[][2] = {
		{ AT_PHDR, program->headers },
		{ AT_PHENT, sizeof(Elf64_Phdr) },
		{ AT_PHNUM, program->header_count },
		{ AT_PAGESZ, KERNEL_PAGE },
		{ AT_BASE, 0 },
		{ AT_FLAGS, 0 },
		{ AT_ENTRY, program->entry },
		{ AT_UID, 0 },
		{ AT_EUID, 0 },
		{ AT_GID, 0 },
		{ AT_EGID, 0 },
		{ AT_SECURE, 0 },
		{ AT_CLKTCK, 100 },
		{ AT_HWCAP, cpuid_features() },
		{ AT_HWCAP2, boot->flags & BOOT_FSGSBASE ? HWCAP2_FSGSBASE : 0 },
		{ AT_PLATFORM, name },
		{ AT_RANDOM, random },
		{ AT_EXECFN, words },
		{ AT_MINSIGSTKSZ, SIGNAL_STACK_MIN },
		{ boot->vdso_address ? AT_SYSINFO_EHDR : AT_IGNORE, boot->vdso_address },
		{ AT_NULL, 0 },
	};
	uint64_t slots = 1 + boot->argument_count + 1 + boot->environment_count + 1 +
		sizeof(auxiliary) / sizeof(uint64_t);
	uint64_t sp = (words - slots * sizeof(uint64_t)) & ~UINT64_C(15);
	uint64_t *to = at(sp);
	const char *word = at(words);
	*to++ = boot->argument_count;
	to = push_words(to, boot->argument_count, &word);
	to = push_words(to, boot->environment_count, &word);
	memcpy(to, auxiliary, sizeof(auxiliary));
	return sp;
}
