/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - the filter language of the API: `name eq ^web and not config.user.tier ne "front end"`.
 *
 * Clauses FIELD eq|ne VALUE, each with `not` before it if wanted, are joined by `and` and `or` from left
 * to right without precedence. A field is a path of names with dots; a map's key may have dots itself. A
 * value is a regular expression (extended POSIX) over the whole text, or over a part of it if it has '^'
 * or '$'; quotes let it have spaces.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"

#define FILTER_CLAUSES_MAX 64
#define FILTER_VALUE_MAX   1024 /* bytes */

struct filter;

/* -EINVAL says which part is wrong. An empty text matches all. */
int filter_parse(const char *text, struct filter **ret, struct error *e) must_use;
void filter_free(struct filter *filter);
DEFINE_CLEANUP(struct filter *, filter_free);

bool filter_matches(const struct filter *filter, const json_t *object);
