/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile_rules.h - the rules of the default seccomp profiles.
 */
#pragma once

#include "container/filter.h"
#include "container/profile.h"

/* Compiles a profile; the caller frees *ret. */
int profile_compile(enum profile profile, struct sock_filter **ret, size_t *ret_length,
	struct error *e) must_use;
