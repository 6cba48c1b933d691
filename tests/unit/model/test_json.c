/* SPDX-License-Identifier: Apache-2.0 */
#include "model/json.h"

#include <errno.h>

#include "test.h"

static json_t *parsed(const char *text)
{
	json_t *json = NULL;
	struct error e = {};
	if (json_parse(text, strlen(text), &json, &e) < 0)
		test_fail("%s: %s", text, e.text);
	return json;
}

static void broken_json_is_refused_with_its_place(void)
{
	static const char *const broken[] = { "", "{", "{\"a\":1,}", "{\"a\":1} x",
		"{\"a\":1,\"a\":2}", "\"\\u0000\"", "\"\xff\"", "[1e999]" };
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		json_t *json;
		struct error e = {};
		expect_equal(json_parse(broken[i], strlen(broken[i]), &json, &e), -EINVAL);
		expect_contains(e.text, "line 1, column");
	}
}

static void absent_and_null_leave_the_default(void)
{
	cleanup(json_decref) json_t *json = parsed("{\"a\":null}");
	const char *text = "default";
	uint64_t number = 7;
	bool flag = true;
	expect_equal(json_read_text(json, "", "a", &text, NULL), 0);
	expect_equal(json_read_u64(json, "", "b", &number, NULL), 0);
	expect_equal(json_read_bool(json, "", "a", &flag, NULL), 0);
	expect_text(text, "default");
	expect_equal(number, 7);
	expect(flag);
}

static void a_wrong_type_is_named_by_its_path(void)
{
	cleanup(json_decref) json_t *json =
		parsed("{\"a\":[],\"b\":1.0,\"c\":-1,\"d\":{\"e\":true}}");
	struct error e = {};
	const char *text;
	uint64_t number;
	json_t *map;
	expect_equal(json_read_text(json, "", "a", &text, &e), -EINVAL);
	expect_text(e.text, "a: a text is wanted, not a list");
	expect_equal(json_read_u64(json, "x.y", "b", &number, &e), -EINVAL);
	expect_text(e.text, "x.y.b: a whole number is wanted");
	expect_equal(json_read_u64(json, "", "c", &number, &e), -EINVAL);
	expect_text(e.text, "c: a number from 0 up is wanted");
	expect_equal(json_read_text_map(json, "", "d", &map, &e), -EINVAL);
	expect_text(e.text, "d.e: a text is wanted, not true or false");
	expect_equal(json_require_text(json, "", "f", &text, &e), -EINVAL);
	expect_text(e.text, "f: is missing");
}

static void unknown_fields_are_refused(void)
{
	static const char *const known[] = { "name", "size", NULL };
	cleanup(json_decref) json_t *good = parsed("{\"name\":1}");
	cleanup(json_decref) json_t *bad = parsed("{\"name\":1,\"nmae\":2}");
	struct error e = {};
	expect_equal(json_read_known(good, "", known, &e), 0);
	expect_equal(json_read_known(bad, "source", known, &e), -EINVAL);
	expect_text(e.text, "source.nmae: there is no such field");
}

static void a_patch_joins_config_and_devices_and_replaces_the_rest(void)
{
	cleanup(json_decref) json_t *old = parsed("{\"config\":{\"a\":\"1\",\"b\":\"2\"},"
						  "\"devices\":{\"x\":{\"t\":\"nic\"}},"
						  "\"description\":\"old\"}");
	cleanup(json_decref) json_t *change =
		parsed("{\"config\":{\"b\":\"\",\"c\":\"3\"},"
		       "\"devices\":{\"y\":{}},\"description\":\"new\"}");
	cleanup(json_decref) json_t *result = json_patched(old, change);
	cleanup(free) char *text = json_dumps(result, JSON_COMPACT | JSON_SORT_KEYS);
	expect_text(text,
		"{\"config\":{\"a\":\"1\",\"c\":\"3\"},\"description\":\"new\","
		"\"devices\":{\"x\":{\"t\":\"nic\"},\"y\":{}}}");
	expect_text(json_text(old, "description"), "old");
}

static const struct test tests[] = {
	{ "broken JSON is refused with its place", broken_json_is_refused_with_its_place },
	{ "absent and null fields leave the default", absent_and_null_leave_the_default },
	{ "a wrong type is named by its path", a_wrong_type_is_named_by_its_path },
	{ "unknown fields are refused", unknown_fields_are_refused },
	{ "a patch joins config and devices and replaces the rest",
		a_patch_joins_config_and_devices_and_replaces_the_rest },
};
TEST_MAIN(tests)
