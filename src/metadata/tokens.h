/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens.h - the tokens of sessions, as clients of EC2 ask for them.
 */
#pragma once

#include "base/base.h"

#define TOKEN_SIZE 33

struct tokens;

struct tokens *tokens_new(void) must_use;
void tokens_free(struct tokens *tokens);

/* A new one of that address; many push out old ones. */
const char *tokens_make(struct tokens *tokens, const uint8_t ipv4[4], uint64_t lifetime_ns);
bool tokens_has(const struct tokens *tokens, const uint8_t ipv4[4], const char *token);
