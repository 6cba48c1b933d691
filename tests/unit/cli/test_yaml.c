/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/yaml.h"

#include "test.h"

static char *yaml_of(const char *json)
{
	struct text text = {};
	json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
	expect(value != NULL);
	yaml_print(&text, value);
	json_decref(value);
	return text_take(&text);
}

static void nests(void)
{
	cleanup(free) char *yaml = yaml_of("{\"name\": \"c1\", \"config\": {\"limits.cpu\": \"2\"},"
					   "\"profiles\": [\"default\", \"big\"], \"none\": {},"
					   "\"ports\": [{\"port\": 80, \"protocol\": \"tcp\"}]}");
	expect_text(yaml,
		"config:\n"
		"  limits.cpu: \"2\"\n"
		"name: c1\n"
		"none: {}\n"
		"ports:\n"
		"- port: 80\n"
		"  protocol: tcp\n"
		"profiles:\n"
		"- default\n"
		"- big\n");
}

static void quotes(void)
{
	static const char *const cases[][2] = {
		{ "\"true\"", "\"true\"\n" },
		{ "\"No\"", "\"No\"\n" },
		{ "\"a: b\"", "\"a: b\"\n" },
		{ "\"a:b\"", "a:b\n" },
		{ "\"\"", "\"\"\n" },
		{ "\"a\\nb\"", "\"a\\nb\"\n" },
		{ "\"- x\"", "\"- x\"\n" },
		{ "\"/1.0/instances\"", "/1.0/instances\n" },
		{ "17", "17\n" },
		{ "null", "null\n" },
		{ "[]", "[]\n" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(free) char *yaml = yaml_of(cases[i][0]);
		expect_text(yaml, cases[i][1]);
	}
}

static const struct test tests[] = {
	{ "maps and lists are told by indentation, keys in order", nests },
	{ "a string that YAML would read as something else has quotes", quotes },
};
TEST_MAIN(tests)
