/* SPDX-License-Identifier: Apache-2.0 */
#include "http/uri.h"

#include <errno.h>

#include "test.h"

static void escapes_are_decoded(void)
{
	cleanup(free) char *plain = NULL;
	expect_equal(uri_decode("a%2Fb%20%c3%A9+", 15, &plain), 0);
	expect_text(plain, "a/b \xc3\xa9+");
}

static void broken_escapes_and_nul_are_refused(void)
{
	static const char *const broken[] = { "%", "a%2", "%zz", "%0g", "a%00b" };
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		char *plain = NULL;
		expect_equal(uri_decode(broken[i], strlen(broken[i]), &plain), -EINVAL);
		expect(plain == NULL);
	}
	char *plain = NULL;
	/* The length counts, not what stands behind it. */
	expect_equal(uri_decode("%41", 2, &plain), -EINVAL);
}

static void what_is_encoded_is_decoded(void)
{
	char all[256];
	for (int i = 1; i < 256; i++)
		all[i - 1] = (char)i;
	all[255] = '\0';
	cleanup(text_done) struct text text = {};
	uri_encode(&text, all);
	expect(!strpbrk(text_str(&text), " /?&#+"));
	cleanup(free) char *plain = NULL;
	expect_equal(uri_decode(text_str(&text), text.length, &plain), 0);
	expect_text(plain, all);
}

static const struct test tests[] = {
	{ "escapes are decoded", escapes_are_decoded },
	{ "broken escapes and NUL are refused", broken_escapes_and_nul_are_refused },
	{ "what is encoded is decoded", what_is_encoded_is_decoded },
};
TEST_MAIN(tests)
