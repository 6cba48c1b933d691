/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_rewrite.c - any bytes as a program or library of an image: refused with a sentence, or rewritten to one that is as
 * well-formed as before and differs in its headers, at its system calls and in its LOCK prefixes only.
 */
#include <string.h>

#include "model/elf64.h"
#include "rewrite/prepare.h"
#include "rewrite/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define JUMP_BYTES 5u

static void check_result(const uint8_t *data, size_t size, const uint8_t *result,
	size_t result_size, const struct rewrite_count *count)
{
	struct elf before, after;
	struct error e = {};
	size_t changed = 0;
	assert(result_size >= size);
	assert(elf_open(data, size, &before, &e) == 0);
	assert(elf_open(result, result_size, &after, &e) == 0);
	assert(after.entry == before.entry && after.type == before.type);
	assert(after.segment_count == before.segment_count + 2);
	assert(count->by_number + count->by_follower + count->by_leader + count->kept +
			count->left ==
		count->sites);
	for (size_t i = sizeof(Elf64_Ehdr); i < size; i++)
		changed += data[i] != result[i];
	assert(changed <=
		(size_t)JUMP_BYTES * (count->sites - count->kept - count->left) + count->locks);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rewrite_count count;
	struct error e = {};
	void *result = NULL;
	size_t result_size;
	bool is_library;
	char *interpreter = NULL, *word = NULL;
	int r = rewrite_program(
		data, size, &(struct rewrite_options){}, &result, &result_size, &count, &e);
	assert(r == 0 || e.text[0]);
	if (r == 0)
		check_result(data, size, result, result_size, &count);
	free(TAKE_PTR(result));
	e.text[0] = '\0';
	r = prepare_program(data, size, &result, &result_size, &interpreter, &e);
	assert(r == 0 || e.text[0]);
	free(TAKE_PTR(result));
	free(TAKE_PTR(interpreter));
	r = prepare_any(data, size, &result, &result_size, &is_library, &e);
	free(TAKE_PTR(result));
	if (prepare_script(data, size, &interpreter, &word, &e) > 0)
		assert(interpreter && interpreter[0] == '/');
	free(interpreter);
	free(word);
	return 0;
}
