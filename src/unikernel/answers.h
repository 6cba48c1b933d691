/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.h - calls whose answer is a word, whatever they are asked: who the program is, and what there is one of.
 *
 * Whoever changes what such a call says changes its word at once; entry.S returns it without looking any further.
 */
#pragma once

#include "unikernel/call.h"

/* By the number of the call. */
extern int64_t answers[CALLS_IN_TABLE] __attribute__((__visibility__("hidden")));

/* Serves each of them where the number was not known when the program was rewritten. */
int64_t answers_serve(struct registers *r);
