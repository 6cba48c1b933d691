/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/etag.h"

#include "model/json.h"
#include "test.h"

static void of(const char *text, char etag[ETAG_SIZE])
{
	cleanup(json_decref) json_t *json = json_loads(text, 0, NULL);
	etag_of(json, etag);
}

static void it_is_the_sha256_of_the_canonical_text(void)
{
	char etag[ETAG_SIZE];
	of("{}", etag);
	expect_text(etag, "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
}

static void the_order_of_fields_does_not_matter_and_values_do(void)
{
	char a[ETAG_SIZE], b[ETAG_SIZE], c[ETAG_SIZE];
	of("{\"a\":1,\"b\":{\"c\":[1,2],\"d\":null}}", a);
	of("{ \"b\": {\"d\":null, \"c\":[1,2]}, \"a\":1 }", b);
	of("{\"a\":1,\"b\":{\"c\":[2,1],\"d\":null}}", c);
	expect_text(a, b);
	expect(strcmp(a, c) != 0);
}

static const struct test tests[] = {
	{ "it is the SHA-256 of the canonical text", it_is_the_sha256_of_the_canonical_text },
	{ "the order of fields does not matter, values do",
		the_order_of_fields_does_not_matter_and_values_do },
};
TEST_MAIN(tests)
