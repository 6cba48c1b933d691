/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp.h - linux.seccomp of config.json as a program.
 */
#pragma once

#include <jansson.h>
#include <linux/filter.h>

#include "base/base.h"
#include "base/error.h"

/* *ret is NULL if `seccomp` is; the caller frees it. */
int oci_read_seccomp(const json_t *seccomp, struct sock_filter **ret, size_t *ret_length,
	uint32_t *ret_flags, struct error *e) must_use;
