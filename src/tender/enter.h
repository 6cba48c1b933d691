/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter.h - into the control groups of an instance, and out of everything else of the host.
 */
#pragma once

#include <jansson.h>
#include <sys/types.h>

#include "base/base.h"
#include "base/error.h"

/* The group of v2 to be born in, or -1. */
int enter_open_group(const char *const *groups);

/* In the child: the other groups. */
int enter_groups(const char *const *groups, struct error *e) must_use;

/* In the child: namespaces with nothing in them, a user of its own, no rights. */
int enter_nothing(uid_t uid, struct error *e) must_use;

/* For process_run(), which wants arrays; the texts are the list's. */
char **enter_words(const json_t *list, uint32_t *ret_count);
