/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uri.h - percent-encoding, both ways.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"

/*
 * Decodes `length` bytes of `encoded`; the caller owns *ret. -EINVAL for a broken escape and for a NUL
 * byte, which no name of ours can have.
 */
int uri_decode(const char *encoded, size_t length, char **ret) must_use;

/* Adds `plain` with all bytes but letters, digits and "-._~" escaped, as one part of a path or query. */
void uri_encode(struct text *text, const char *plain);
