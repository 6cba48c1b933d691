/* SPDX-License-Identifier: Apache-2.0 */
#include "job/metadata.h"

#include <errno.h>

#include "test.h"

static struct error failure;

static int read_yaml(const char *yaml, json_t **ret)
{
	failure = (struct error){};
	return metadata_read(yaml, strlen(yaml), ret, &failure);
}

static void reads_an_image(void)
{
	json_t *got = NULL;
	expect_equal(read_yaml("architecture: x86_64\ncreation_date: 1700000000\nproperties:\n"
			       "  os: Debian\n  release: 012\n  description: \"a: b\"\n"
			       "templates:\n  /etc/hostname:\n    when: [create, copy]\n"
			       "    template: hostname.tpl\nempty:\n",
			     &got),
		0);
	expect_text(json_string_value(json_object_get(got, "architecture")), "x86_64");
	expect_text(json_string_value(json_object_get(got, "creation_date")), "1700000000");
	json_t *properties = json_object_get(got, "properties");
	expect_text(json_string_value(json_object_get(properties, "release")), "012");
	expect_text(json_string_value(json_object_get(properties, "description")), "a: b");
	json_t *hostname = json_object_get(json_object_get(got, "templates"), "/etc/hostname");
	expect_equal(json_array_size(json_object_get(hostname, "when")), 2);
	expect(json_is_null(json_object_get(got, "empty")));
	json_decref(got);
}

static void refuses_references(void)
{
	json_t *got = NULL;
	expect_equal(read_yaml("a: &x [1, 2]\nb: *x\n", &got), -EINVAL);
	expect_contains(failure.text, "references");
	expect(got == NULL);
}

static void names_the_line(void)
{
	json_t *got = NULL;
	expect_equal(read_yaml("a: 1\nb: [\n", &got), -EINVAL);
	expect_contains(failure.text, "line 3");
	expect_equal(read_yaml("- a\n- b\n", &got), -EINVAL);
	expect_contains(failure.text, "mapping");
	expect_equal(read_yaml("", &got), -EINVAL);
	expect_equal(read_yaml("? [a]\n: b\n", &got), -EINVAL);
	expect_contains(failure.text, "key must be a text");
}

static void refuses_depth(void)
{
	char yaml[256] = "a: ";
	memset(yaml + 3, '[', 60);
	json_t *got = NULL;
	expect_equal(read_yaml(yaml, &got), -EINVAL);
	expect_contains(failure.text, "too deep");
}

static void comes_back_as_it_was(void)
{
	json_t *object = json_pack("{s:s,s:{s:s,s:s},s:{s:[s]}}", "architecture", "x86_64",
		"properties", "os", "De\"bian: #", "empty", "", "t", "when", "create");
	cleanup(free) char *yaml = metadata_write(object);
	json_t *got = NULL;
	if (read_yaml(yaml, &got) < 0)
		test_fail("%s in %s", failure.text, yaml);
	expect(json_equal(object, got));
	json_decref(got);
	json_decref(object);
}

static const struct test tests[] = {
	{ "an image's metadata is read, every value as it stands", reads_an_image },
	{ "references are refused", refuses_references },
	{ "the line of a mistake is named", names_the_line },
	{ "depth is limited", refuses_depth },
	{ "what is written is read back the same", comes_back_as_it_was },
};

TEST_MAIN(tests)
