/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prepare.h - from a program as somebody built it to the one that a unikernel's image holds.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define PREPARE_PROGRAM_MAX (512 * MIB)

/*
 * Refuses what cannot run with -ENOEXEC and why: a script, a program that is truncated, for another machine,
 * dynamic or not at a fixed address. Else rewrites it and fills its last page up, so that an image has it in one
 * run of whole pages. The caller frees *ret.
 */
int prepare_program(
	const void *data, size_t size, void **ret, size_t *ret_size, struct error *e) must_use;
