/* SPDX-License-Identifier: Apache-2.0 */
#include "http/certificate.h"

#include <errno.h>
#include <time.h>

#include "base/text.h"
#include "test.h"

static char *made, *key;

static void a_certificate_is_made_and_read(void)
{
	struct error e = {};
	expect_equal(certificate_make("host1", &made, &key, &e), 0);
	struct certificate certificate = {};
	expect_equal(certificate_read(made, strlen(made), &certificate, &e), 0);
	expect_equal(strlen(certificate.fingerprint), FINGERPRINT_SIZE - 1);
	expect(text_equal(certificate.pem, made));
	uint64_t now_s = (uint64_t)time(NULL);
	expect(certificate.from_s <= now_s && certificate.until_s > now_s + 9ul * 365 * 86400);
	certificate_done(&certificate);
}

/* As clients send it: DER in base64, on one line. */
static void base64_is_the_same_certificate(void)
{
	cleanup(text_done) struct text text = {};
	const char *from = strchr(made, '\n'), *to = strstr(made, "-----END");
	for (const char *at = from; at < to; at++)
		if (*at != '\n')
			text_add_char(&text, *at);
	struct certificate a = {}, b = {};
	expect_equal(certificate_read(text_str(&text), text.length, &a, NULL), 0);
	expect_equal(certificate_read(made, strlen(made), &b, NULL), 0);
	expect(text_equal(a.fingerprint, b.fingerprint));
	certificate_done(&a);
	certificate_done(&b);
}

static void what_is_none_is_refused(void)
{
	static char large[CERTIFICATE_MAX_SIZE + 1];
	const char *const bad[] = { "x", "bm8=", "-----BEGIN CERTIFICATE-----\nAAAA\n", "" };
	struct certificate certificate = {};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error e = {};
		expect_equal(certificate_read(bad[i], strlen(bad[i]), &certificate, &e), -EINVAL);
		expect(e.text[0] != '\0');
	}
	expect_equal(certificate_read(large, sizeof(large), &certificate, NULL), -EINVAL);
	/* A key is none. */
	expect_equal(certificate_read(key, strlen(key), &certificate, NULL), -EINVAL);
	/* Cut short at every length. */
	for (size_t length = 1; length + 30 < strlen(made); length += 7)
		expect_equal(certificate_read(made, length, &certificate, NULL), -EINVAL);
	free(made);
	free(key);
}

static const struct test tests[] = {
	{ "a certificate is made and read", a_certificate_is_made_and_read },
	{ "base64 is the same certificate", base64_is_the_same_certificate },
	{ "what is none is refused", what_is_none_is_refused },
};
TEST_MAIN(tests)
