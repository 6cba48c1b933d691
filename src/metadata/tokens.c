/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokens.c - the tokens of sessions, as clients of EC2 ask for them.
 */
#include "metadata/tokens.h"

#include <stdio.h>
#include <string.h>

#include "base/loop.h"
#include "base/text.h"

/* Sets by address, so that one instance pushes out few of the others'. */
#define SETS    256
#define PER_SET 8

struct token {
	uint8_t ipv4[4];
	char text[TOKEN_SIZE];
	uint64_t end_ns;
};

struct tokens {
	struct token tokens[SETS][PER_SET];
	uint8_t next[SETS];
};

struct tokens *tokens_new(void)
{
	return alloc(struct tokens);
}

void tokens_free(struct tokens *tokens)
{
	free(tokens);
}

const char *tokens_make(struct tokens *tokens, const uint8_t ipv4[4], uint64_t lifetime_ns)
{
	uint8_t *next = &tokens->next[ipv4[3]];
	struct token *token = &tokens->tokens[ipv4[3]][*next];
	cleanup(free) char *random = text_random_hex(TOKEN_SIZE / 2);
	*next = (uint8_t)((*next + 1) % PER_SET);
	memcpy(token->ipv4, ipv4, sizeof(token->ipv4));
	snprintf(token->text, sizeof(token->text), "%s", random);
	token->end_ns = loop_now() + lifetime_ns;
	return token->text;
}

bool tokens_has(const struct tokens *tokens, const uint8_t ipv4[4], const char *text)
{
	uint64_t now = loop_now();
	for (size_t i = 0; i < PER_SET; i++) {
		const struct token *token = &tokens->tokens[ipv4[3]][i];
		if (token->text[0] && memcmp(token->ipv4, ipv4, sizeof(token->ipv4)) == 0 &&
			text_equal(token->text, text))
			return now < token->end_ns;
	}
	return false;
}
