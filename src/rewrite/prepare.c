/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prepare.c - from a program as somebody built it to the one that a unikernel's image holds.
 */
#include "rewrite/prepare.h"

#include <errno.h>
#include <string.h>

#include "model/elf64.h"
#include "rewrite/rewrite.h"

#define PAGE_BYTES  4096u
#define SCRIPT_LINE 256u /* Linux reads no more */

int prepare_script(
	const void *data, size_t size, char **ret_interpreter, char **ret_word, struct error *e)
{
	const char *text = data;
	if (size < 2 || text[0] != '#' || text[1] != '!')
		return 0;
	const char *line_end = memchr(text, '\n', size < SCRIPT_LINE ? size : SCRIPT_LINE);
	cleanup(free) char *line =
		alloc_text_n(text + 2, line_end ? (size_t)(line_end - text) - 2 : 0);
	char *start = line + strspn(line, " \t\r");
	size_t length = strcspn(start, " \t\r");
	char *word = start + length + strspn(start + length, " \t\r");
	size_t word_length = strlen(word);
	while (word_length > 0 && strchr(" \t\r", word[word_length - 1]))
		word_length--;
	if (!line_end || start[0] != '/')
		return error_set(
			e, -ENOEXEC, "it is a script, and its first line names no interpreter");
	*ret_interpreter = alloc_text_n(start, length);
	*ret_word = word_length ? alloc_text_n(word, word_length) : NULL;
	return 1;
}

static int rewrite_pages(const void *data, size_t size, void **ret, size_t *ret_size,
	struct rewrite_count *ret_sites, struct error *e)
{
	cleanup(free) void *rewritten = NULL;
	size_t rewritten_size;
	int r = rewrite_program(
		data, size, &(struct rewrite_options){}, &rewritten, &rewritten_size, ret_sites, e);
	if (r < 0)
		return r;
	size_t whole = (rewritten_size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	char *pages = realloc(TAKE_PTR(rewritten), whole);
	if (!pages)
		return error_set(e, -ENOMEM, "%zu bytes", whole);
	memset(pages + rewritten_size, 0, whole - rewritten_size);
	*ret = pages;
	*ret_size = whole;
	return 0;
}

int prepare_program(const void *data, size_t size, void **ret, size_t *ret_size,
	char **ret_interpreter, struct error *e)
{
	struct elf elf;
	struct rewrite_count sites;
	int r = elf_open(data, size, &elf, e);
	if (r < 0)
		return r;
	const char *interpreter = elf_interpreter(&elf);
	/* An executable has an entry; a library that is one without asking for a loader is a static program. */
	if (elf.type == ET_DYN && elf.entry == 0)
		return error_set(e, -ENOEXEC, "it is a library: it has no entry point");
	r = rewrite_pages(data, size, ret, ret_size, &sites, e);
	if (r == 0)
		*ret_interpreter = interpreter ? alloc_text(interpreter) : NULL;
	return r;
}

/* Cheap, and right whenever it says no. */
static bool may_make_calls(const struct elf *elf)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) &&
			memmem(elf->data + segment->p_offset, segment->p_filesz, "\x0f\x05", 2))
			return true;
	}
	return false;
}

/* Linkers mark what is to be started and can be anywhere; a library may have an entry, and a loader, too. */
static bool is_marked_program(const struct elf *elf)
{
	for (uint32_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		Elf64_Dyn entry;
		for (uint64_t at = 0;
			segment->p_type == PT_DYNAMIC && segment->p_filesz - at >= sizeof(entry);
			at += sizeof(entry)) {
			memcpy(&entry, elf->data + segment->p_offset + at, sizeof(entry));
			if (entry.d_tag == DT_NULL)
				break;
			if (entry.d_tag == DT_FLAGS_1)
				return (entry.d_un.d_val & DF_1_PIE) != 0;
		}
	}
	return false;
}

int prepare_any(const void *data, size_t size, void **ret, size_t *ret_size, bool *ret_is_library,
	struct error *e)
{
	struct elf elf;
	struct rewrite_count sites = {};
	cleanup(free) void *prepared = NULL;
	int r = elf_open(data, size, &elf, e);
	if (r == 0 && !may_make_calls(&elf))
		r = error_set(e, -ENOENT, "it makes no system calls");
	if (r == 0)
		r = rewrite_pages(data, size, &prepared, ret_size, &sites, e);
	if (r == 0 && sites.sites == 0)
		r = error_set(e, -ENOENT, "it makes no system calls");
	if (r < 0)
		return r;
	*ret_is_library = elf.type == ET_DYN && !is_marked_program(&elf);
	*ret = TAKE_PTR(prepared);
	return 0;
}
