/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - puts a program and its loader into memory and its arguments onto its stack, as Linux does.
 *
 * Theory of operation. What can be anywhere (position-independent programs, loaders) lies in the memory like any
 * mapping; what is linked to an address lies there, outside the memory. Text and data are the image's own pages until
 * they are written to. Files were rewritten when the image was built (src/rewrite) and call what stands in BOOT_SLOT.
 */
#include "unikernel/load.h"

#include <elf.h>
#include <sys/mman.h>

#include "unikernel/map.h"
#include "unikernel/path.h"

#define HWCAP2_FSGSBASE 2
#define SEGMENTS_MOST   64u
#define ADDRESS_END     (UINT64_C(1) << 47)

/* A signal frame with all of the vector state there can be. */
#define SIGNAL_STACK_MIN 4096
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

/* The headers of one file, checked. */
struct headers {
	Elf64_Ehdr file;
	Elf64_Phdr segments[SEGMENTS_MOST];
	uint64_t start, end;       /* of what is loaded, whole pages */
	char loader[PROGRAM_PATH]; /* "" if it asks for none */
};

static bool is_locked;

void load_locked(void)
{
	is_locked = true;
}

static uint64_t page_down(uint64_t address)
{
	return address & ~(uint64_t)(KERNEL_PAGE - 1);
}

static uint64_t page_up(uint64_t address)
{
	return page_down(address + KERNEL_PAGE - 1);
}

static int rights_of(const Elf64_Phdr *segment)
{
	return (segment->p_flags & PF_R ? PLATFORM_READ : 0) |
		(segment->p_flags & PF_W ? PLATFORM_WRITE : 0) |
		(segment->p_flags & PF_X ? PLATFORM_EXECUTE : 0);
}

static bool is_good_segment(const struct node *node, const Elf64_Phdr *segment)
{
	return segment->p_offset <= node->size &&
		segment->p_filesz <= node->size - segment->p_offset &&
		segment->p_filesz <= segment->p_memsz && segment->p_vaddr < ADDRESS_END &&
		segment->p_memsz < ADDRESS_END - segment->p_vaddr &&
		(segment->p_offset ^ segment->p_vaddr) % KERNEL_PAGE == 0 &&
		(segment->p_flags & (PF_W | PF_X)) != (PF_W | PF_X);
}

static int read_loader(struct node *node, const Elf64_Phdr *segment, struct headers *ret)
{
	if (segment->p_filesz == 0 || segment->p_filesz > sizeof(ret->loader) ||
		node_read(node, ret->loader, segment->p_filesz, segment->p_offset) !=
			(int64_t)segment->p_filesz)
		return -ENOEXEC;
	ret->loader[segment->p_filesz - 1] = '\0';
	return 0;
}

static struct node *what_runs(struct node *node)
{
	return S_ISREG(node->mode) && node->regular.prepared ? node->regular.prepared : node;
}

static int read_headers(struct node *node, struct headers *ret)
{
	Elf64_Ehdr *file = &ret->file;
	ret->start = UINT64_MAX;
	ret->end = 0;
	ret->loader[0] = '\0';
	if (!S_ISREG(node->mode) || node_read(node, file, sizeof(*file), 0) != sizeof(*file) ||
		memcmp(file->e_ident, ELFMAG, SELFMAG) != 0 ||
		file->e_ident[EI_CLASS] != ELFCLASS64 ||
		(file->e_type != ET_EXEC && file->e_type != ET_DYN) ||
		file->e_machine != EM_X86_64 || file->e_phentsize != sizeof(Elf64_Phdr) ||
		file->e_phnum > SEGMENTS_MOST)
		return -ENOEXEC;
	int64_t bytes = (int64_t)(file->e_phnum * sizeof(Elf64_Phdr));
	if (node_read(node, ret->segments, (uint64_t)bytes, file->e_phoff) != bytes)
		return -ENOEXEC;
	for (uint32_t i = 0; i < file->e_phnum; i++) {
		const Elf64_Phdr *segment = &ret->segments[i];
		if (segment->p_type == PT_INTERP && read_loader(node, segment, ret) < 0)
			return -ENOEXEC;
		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		if (!is_good_segment(node, segment))
			return -ENOEXEC;
		uint64_t end = page_up(segment->p_vaddr + segment->p_memsz);
		if (page_down(segment->p_vaddr) < ret->start)
			ret->start = page_down(segment->p_vaddr);
		if (end > ret->end)
			ret->end = end;
	}
	return ret->end ? 0 : -ENOEXEC;
}

/* Behind the file's last byte of a writable segment there is zero, in its last page, too. */
static void clear_end(const Elf64_Phdr *segment, uint64_t base)
{
	uint64_t data_end = base + segment->p_vaddr + segment->p_filesz;
	if ((segment->p_flags & PF_W) && segment->p_filesz && segment->p_memsz > segment->p_filesz)
		memset(at(data_end), 0, page_up(data_end) - data_end);
}

static int map_segment(struct node *node, const Elf64_Phdr *segment, uint64_t base)
{
	uint64_t start = base + page_down(segment->p_vaddr);
	uint64_t data_end = base + segment->p_vaddr + segment->p_filesz;
	uint64_t end = page_up(base + segment->p_vaddr + segment->p_memsz);
	uint64_t rights = (uint64_t)rights_of(segment);
	int64_t r = 0;
	if (segment->p_filesz) {
		r = map_file(start, data_end - start, rights, MAP_PRIVATE | MAP_FIXED, node,
			page_down(segment->p_offset));
		start = page_up(data_end);
	}
	if (r >= 0)
		clear_end(segment, base);
	if (r >= 0 && start < end)
		r = memory_map(
			start, end - start, rights & ~(uint64_t)PROT_EXEC, MAP_PRIVATE | MAP_FIXED);
	return r < 0 ? (int)r : 0;
}

static int fill_fixed_segment(struct node *node, const Elf64_Phdr *segment)
{
	uint64_t start = page_down(segment->p_vaddr), from = 0;
	uint64_t data_end = segment->p_vaddr + segment->p_filesz;
	uint64_t end = page_up(segment->p_vaddr + segment->p_memsz);
	uint64_t offset = page_down(segment->p_offset), bytes = data_end - start;
	int rights = rights_of(segment), r = 0;
	uint64_t shown = segment->p_filesz ? map_image_bytes(node, offset, &from) : 0;
	if (shown > page_up(bytes))
		shown = page_up(bytes);
	if (shown && platform_map_image(start, shown, from, rights) < 0)
		shown = 0;
	if (shown < bytes) {
		if ((rights & PLATFORM_EXECUTE) && is_locked)
			return -EACCES;
		(void)node_read(node, at(start + shown), bytes - shown, offset + shown);
	}
	clear_end(segment, 0);
	if (end > start + shown && rights != (PLATFORM_READ | PLATFORM_WRITE))
		r = platform_protect(start + shown, end - start - shown,
			is_locked ? rights & ~PLATFORM_EXECUTE : rights);
	if (r == 0 &&
		!memory_add_segment(segment->p_vaddr, segment->p_vaddr + segment->p_memsz,
			(rights & PLATFORM_WRITE) != 0))
		r = -E2BIG;
	return r;
}

static void unmap_fixed(const struct headers *headers, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];
		uint64_t start = page_down(segment->p_vaddr);
		if (segment->p_type == PT_LOAD && segment->p_memsz)
			platform_unmap(start, page_up(segment->p_vaddr + segment->p_memsz) - start);
	}
}

/* Outside the memory, at its own address; all of it or nothing: who is there before comes back. */
static int map_fixed(struct node *node, const struct headers *headers)
{
	int r = 0;
	memory_forget_segments();
	for (uint32_t i = 0; r == 0 && i < headers->file.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];
		uint64_t start = page_down(segment->p_vaddr);
		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		r = platform_map(start, page_up(segment->p_vaddr + segment->p_memsz) - start);
		if (r < 0) {
			unmap_fixed(headers, i);
			continue;
		}
		r = fill_fixed_segment(node, segment);
		if (r < 0)
			unmap_fixed(headers, i + 1);
	}
	return r;
}

/* Where its addresses become real, in *ret_base. */
static int map_all(struct node *node, const struct headers *headers, uint64_t *ret_base)
{
	uint64_t span = headers->end - headers->start;
	int64_t place = memory_map(0, span, PROT_NONE, MAP_PRIVATE);
	int r = place < 0 ? (int)place : 0;
	*ret_base = (uint64_t)place - headers->start;
	for (uint32_t i = 0; r == 0 && i < headers->file.e_phnum; i++)
		if (headers->segments[i].p_type == PT_LOAD && headers->segments[i].p_memsz)
			r = map_segment(node, &headers->segments[i], *ret_base);
	return r;
}

static uint64_t headers_address(const struct headers *headers)
{
	uint64_t offset = headers->file.e_phoff;
	for (uint32_t i = 0; i < headers->file.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];
		if (segment->p_type == PT_LOAD && offset >= segment->p_offset &&
			offset - segment->p_offset < segment->p_filesz)
			return segment->p_vaddr + (offset - segment->p_offset);
	}
	return 0;
}

static int find_loader(const char *path, struct node **ret, struct headers *headers)
{
	int r = path_find(path_root, path, true, ret);
	if (r < 0)
		return r;
	*ret = what_runs(*ret);
	r = read_headers(*ret, headers);
	if (r == 0 && (headers->file.e_type != ET_DYN || headers->loader[0]))
		r = -ENOEXEC;
	return r;
}

/* Only what shows the image becomes executable. */
static bool can_execute(const struct node *node, const struct headers *headers)
{
	for (uint32_t i = 0; i < headers->file.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers->segments[i];
		uint64_t offset = page_down(segment->p_offset), from;
		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) &&
			map_image_bytes(node, offset, &from) <
				segment->p_offset + segment->p_filesz - offset)
			return false;
	}
	return true;
}

int load_check(struct node *node)
{
	struct headers headers;
	char path[PROGRAM_PATH];
	node = what_runs(node);
	int r = read_headers(node, &headers);
	if (r == 0 && !can_execute(node, &headers))
		r = -EACCES;
	if (r < 0 || !headers.loader[0])
		return r;
	memcpy(path, headers.loader, sizeof(path));
	r = find_loader(path, &node, &headers);
	return r == 0 && !can_execute(node, &headers) ? -EACCES : r;
}

int load_program(struct node *node, const char *path, struct program *ret)
{
	struct headers headers;
	struct node *loader;
	char loader_path[PROGRAM_PATH];
	node = what_runs(node);
	int r = read_headers(node, &headers);
	if (r < 0)
		return r;
	struct program program = { .node = node,
		.header_count = headers.file.e_phnum,
		.is_fixed = headers.file.e_type == ET_EXEC };
	r = program.is_fixed ? map_fixed(node, &headers) : map_all(node, &headers, &program.base);
	if (r < 0)
		return r;
	program.entry = program.first = program.base + headers.file.e_entry;
	program.headers = program.base + headers_address(&headers);
	program.start = program.base + headers.start;
	program.end = program.base + headers.end;
	if (strlen(path) < sizeof(program.path))
		memcpy(program.path, path, strlen(path));
	if (headers.loader[0]) {
		memcpy(loader_path, headers.loader, sizeof(loader_path));
		r = find_loader(loader_path, &loader, &headers);
		if (r == 0)
			r = map_all(loader, &headers, &program.loader);
		program.first = program.loader + headers.file.e_entry;
	}
	if (r < 0)
		load_unmap(&program);
	*ret = program;
	return r;
}

void load_unmap(const struct program *program)
{
	struct headers headers;
	if (!program->is_fixed)
		return;
	if (read_headers(program->node, &headers) == 0)
		unmap_fixed(&headers, headers.file.e_phnum);
	memory_forget_segments(); /* what follows may have none */
}

int load_again(const struct program *program)
{
	struct headers headers;
	if (!program->is_fixed)
		return 0;
	int r = read_headers(program->node, &headers);
	return r < 0 ? r : map_fixed(program->node, &headers);
}

int load_fixed_runs(const struct program *program, memory_each_run *each, void *data)
{
	struct headers headers;
	if (!program->is_fixed)
		return 0;
	int r = read_headers(program->node, &headers);
	for (uint32_t i = 0; r == 0 && i < headers.file.e_phnum; i++) {
		const Elf64_Phdr *segment = &headers.segments[i];
		struct snapshot_run run = { .kind = SNAPSHOT_IMAGE, .rights = rights_of(segment) };
		if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
			continue;
		run.address = page_down(segment->p_vaddr);
		run.bytes = page_up(segment->p_vaddr + segment->p_memsz) - run.address;
		if (segment->p_flags & PF_W)
			run.kind = SNAPSHOT_BYTES;
		else if (map_image_bytes(program->node, page_down(segment->p_offset), &run.from) <
			page_up(segment->p_vaddr + segment->p_filesz) - run.address)
			return -ENOTSUP;
		r = each(data, &run);
	}
	return r;
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
uint64_t load_stack(const struct boot *boot, struct program *program, uint64_t top)
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
		{ AT_BASE, program->loader },
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
	program->arguments = words;
	program->arguments_end = address_of(word);
	to = push_words(to, boot->environment_count, &word);
	memcpy(to, auxiliary, sizeof(auxiliary));
	return sp;
}
