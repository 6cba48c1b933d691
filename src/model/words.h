/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words.h - a command line in words, as a shell would split and quote it, with nothing expanded.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define WORDS_MAX 1024

/* Splits; *ret is a NULL-terminated array that words_free() releases. -EINVAL for an open quote. */
int words_split(const char *line, char ***ret, struct error *e) must_use;
void words_free(char **words);
DEFINE_CLEANUP(char **, words_free);

/* The reverse: quotes what needs it. `words` ends with NULL. The caller owns it. */
char *words_join(const char *const *words) must_use;
