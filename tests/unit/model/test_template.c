/* SPDX-License-Identifier: Apache-2.0 */
#include "model/template.h"

#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "model/json.h"
#include "test.h"

static json_t *context(void)
{
	return json_pack("{s:{s:s,s:s}, s:{s:s,s:s}, s:{s:s}, s:s}", "container", "name", "c1",
		"privileged", "false", "config", "user.x", "given", "user.empty", "", "properties",
		"default", "#cloud-config\n{}", "trigger", "create");
}

static void expect_rendered(const char *text, const char *wanted)
{
	struct error e = {};
	cleanup(free) char *got = NULL;
	cleanup(json_decref) json_t *json = context();
	int r = template_render(text, json, &got, &e);
	if (r < 0)
		fprintf(stderr, "# %s: %s\n", text, e.text);
	expect_equal(r, 0);
	expect_text(got, wanted);
}

static void what_images_use_is_filled_in(void)
{
	expect_rendered("", "");
	expect_rendered("127.0.1.1 {{ container.name }}\n", "127.0.1.1 c1\n");
	expect_rendered("{{ config_get(\"user.x\", \"d\") }}", "given");
	expect_rendered("{{ config_get(\"user.y\", properties.default) }}", "#cloud-config\n{}");
	expect_rendered("{{config_get('user.y', '}}')}}", "}}");
	expect_rendered(
		"{{ properties[\"default\"] }}{{ config[\"user.x\"] }}", "#cloud-config\n{}given");
	expect_rendered("{{ config[\"no\"]|default:\"x\"|upper }}", "X");
	expect_rendered("{# nothing #}a{ b } {", "a{ b } {");
	expect_rendered("{% autoescape off %}<{% endautoescape %}", "<");
	expect_rendered("{% if config_get(\"user.x\", \"\") == \"\" %}no{% else %}"
			"{{ config_get(\"user.x\", \"\") }}{% endif %}",
		"given");
	expect_rendered("{% if trigger == \"copy\" %}1{% elif trigger == \"create\" %}2"
			"{% else %}3{% endif %}",
		"2");
	expect_rendered("{% if not container.privileged and (config[\"user.x\"] or "
			"properties.a) %}y{% endif %}",
		"y");
}

static void space_is_dropped_where_it_says(void)
{
	expect_rendered("a \n{%- if true %} b {% endif -%} \n c", "a b c");
	expect_rendered("a {{- \"b\" -}} c", "abc");
	expect_rendered("a {# x #} b", "a  b");
}

static void the_rest_is_refused_by_name(void)
{
	static const char *const cases[][2] = {
		{ "{{ a", "line 1: a tag is not closed" },
		{ "\n\n{{ nothing }}", "line 3: there is no name \"nothing\"" },
		{ "{{ container.name|md5 }}", "line 1: there is no filter \"md5\"" },
		{ "{% for x in y %}{% endfor %}", "line 1: there is no tag \"for\"" },
		{ "{% if true %}", "line 1: an if ends with endif" },
		{ "{% endif %}", "line 1: there is nothing to end with" },
		{ "{% if true %}{% else %}{% else %}{% endif %}", "line 1: an if ends" },
		{ "{{ \"a }}", "line 1: a tag is not closed" },
		{ "{{ config_get(\"a\") }}", "line 1: config_get wants" },
		{ "{{ \"a\" \"b\" }}", "line 1: this was not expected:" },
		{ "{% if %}{% endif %}", "line 1: a name or a text" },
		{ "{% if false %}{{ bad }}{% endif %}", "line 1: there is no name \"bad\"" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error e = {};
		expect_equal(template_check(cases[i][0], &e), -EINVAL);
		expect(strncmp(e.text, cases[i][1], strlen(cases[i][1])) == 0);
		if (strncmp(e.text, cases[i][1], strlen(cases[i][1])) != 0)
			fprintf(stderr, "# %s: %s\n", cases[i][0], e.text);
	}
	cleanup(text_done) struct text deep = {};
	for (int i = 0; i < 1000; i++)
		text_add(&deep, "{% if true %}");
	expect_equal(template_check(text_str(&deep), NULL), -EINVAL);
}

static const struct test tests[] = {
	{ "what images use is filled in", what_images_use_is_filled_in },
	{ "space is dropped where it says", space_is_dropped_where_it_says },
	{ "the rest is refused by name", the_rest_is_refused_by_name },
};
TEST_MAIN(tests)
