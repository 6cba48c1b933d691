/* SPDX-License-Identifier: Apache-2.0 */
#include "metadata/tokens.h"

#include "base/text.h"
#include "test.h"

static const uint8_t one[4] = { 10, 0, 0, 1 }, other[4] = { 10, 0, 1, 1 };

static void knows_its_tokens(void)
{
	cleanup(free) struct tokens *tokens = tokens_new();
	cleanup(free) char *token = alloc_text(tokens_make(tokens, one, NS_PER_SEC));
	expect(tokens_has(tokens, one, token));
	expect(!tokens_has(tokens, other, token));
	expect(!tokens_has(tokens, one, ""));
	expect(!tokens_has(tokens, one, "no such"));
}

static void forgets_old_ones(void)
{
	cleanup(free) struct tokens *tokens = tokens_new();
	cleanup(free) char *late = alloc_text(tokens_make(tokens, one, 0));
	expect(!tokens_has(tokens, one, late));
	cleanup(free) char *first = alloc_text(tokens_make(tokens, one, NS_PER_SEC));
	for (int i = 0; i < 20; i++)
		(void)tokens_make(tokens, one, NS_PER_SEC);
	expect(!tokens_has(tokens, one, first));
}

static const struct test tests[] = {
	{ "a token is of one address", knows_its_tokens },
	{ "tokens end, and many push out old ones", forgets_old_ones },
};

TEST_MAIN(tests)
