/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prepare.h - from a program as somebody built it to the one that a unikernel's image holds.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define PREPARE_PROGRAM_MAX (512 * MIB)

/* "#!INTERPRETER [WORD]": 1 with both, which the caller frees (the word may be NULL); 0 if it is no script; -ENOEXEC. */
int prepare_script(const void *data, size_t size, char **ret_interpreter, char **ret_word,
	struct error *e) must_use;

/*
 * Refuses what cannot run with -ENOEXEC and why: a program that is truncated or for another machine. Else
 * rewrites it and fills its last page up, so that an image has it in one run of whole pages. Who loads it (PT_INTERP) is
 * copied to *ret_interpreter, or NULL. The caller frees both.
 */
int prepare_program(const void *data, size_t size, void **ret, size_t *ret_size,
	char **ret_interpreter, struct error *e) must_use;

/* The same for any file; -ENOENT if it makes no system calls. A library is what is to be loaded by a program. */
int prepare_any(const void *data, size_t size, void **ret, size_t *ret_size, bool *ret_is_library,
	struct error *e) must_use;
