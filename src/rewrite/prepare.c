/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prepare.c - from a program as somebody built it to the one that a unikernel's image holds.
 */
#include "rewrite/prepare.h"

#include <errno.h>
#include <string.h>

#include "model/elf64.h"
#include "rewrite/rewrite.h"

#define PAGE_BYTES 4096u

static int check(const void *data, size_t size, struct error *e)
{
	struct elf elf;
	const char *text = data;
	if (size >= 2 && text[0] == '#' && text[1] == '!') {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;
		return error_set(e, -ENOEXEC, "it is a script (%.*s); a unikernel is one program",
			(int)(length < 80 ? length : 80), text);
	}
	int r = elf_open(data, size, &elf, e);
	if (r < 0)
		return r;
	const char *interpreter = elf_interpreter(&elf);
	if (interpreter)
		return error_set(e, -ENOEXEC,
			"it is dynamic (it wants %s); a unikernel is one static program",
			interpreter);
	if (elf.type != ET_EXEC)
		return error_set(e, -ENOEXEC,
			"it is position-independent; only a program at a fixed address can be "
			"loaded (gcc -static -no-pie)");
	return 0;
}

int prepare_program(const void *data, size_t size, void **ret, size_t *ret_size, struct error *e)
{
	cleanup(free) void *rewritten = NULL;
	size_t rewritten_size;
	struct rewrite_count sites;
	int r = check(data, size, e);
	if (r == 0)
		r = rewrite_program(data, size, &(struct rewrite_options){}, &rewritten,
			&rewritten_size, &sites, e);
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
