/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/dispatch.h"

#include <errno.h>

#include "daemon/names.h"
#include "test.h"

static char *match(const char *pattern, const char *path)
{
	struct request_param params[REQUEST_PARAMS_MAX] = {};
	size_t count;
	if (!dispatch_match(pattern, path, params, &count))
		return alloc_text("no");
	struct text text = {};
	for (size_t i = 0; i < count; i++) {
		text_printf(&text, "%.*s=%s;", (int)params[i].name_length, params[i].name,
			params[i].value);
		free(params[i].value);
	}
	return text_take(&text);
}

static void paths_match_their_pattern(void)
{
	static const struct {
		const char *pattern, *path, *wanted;
	} cases[] = {
		{ "/1.0/instances/{name}", "/1.0/instances/c1", "name=c1;" },
		{ "/1.0/instances/{name}", "/1.0/instances/c1/", "name=c1;" },
		{ "/1.0/instances/{name}", "/1.0/instances/", "no" },
		{ "/1.0/instances/{name}", "/1.0/instances", "no" },
		{ "/1.0/instances/{name}", "/1.0/instances/c1/state", "no" },
		{ "/1.0/instances", "/1.0/instances/", "" },
		{ "/1.0/instances", "/1.0/instances//", "no" },
		{ "/1.0", "/1.0", "" },
		{ "/1.0", "/1.00", "no" },
		{ "/1.0", "1.0", "no" },
		{ "/", "/", "" },
		{ "/1.0/images/aliases/{name}", "/1.0/images/aliases/debian%2F12",
			"name=debian/12;" },
		{ "/1.0/images/aliases/{name}", "/1.0/images/aliases/debian/12", "no" },
		{ "/1.0/i/{name}/s/{snap}", "/1.0/i/a/s/b%20c", "name=a;snap=b c;" },
		{ "/1.0/i/{name}/s/{snap}", "/1.0/i/a/s/%zz", "no" },
		{ "/1.0/i/{name}", "/1.0/i/a%00b", "no" },
		{ "/1.0/i/{name}", "/1.0/i/..", "name=..;" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(free) char *got = match(cases[i].pattern, cases[i].path);
		if (strcmp(got, cases[i].wanted) != 0)
			test_fail("%s at %s: %s", cases[i].path, cases[i].pattern, got);
	}
}

static void names_are_checked(void)
{
	static const char *const good[] = { "a", "A1", "0", "web-1_x.y" };
	static const char *const bad[] = { "", ".", "..", "-a", "_a", "a/b", "a b", "\xc3\xa9",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
	struct error e = {};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect_equal(name_check("name", good[i], &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_equal(name_check("name", bad[i], &e), -EINVAL);
	expect_contains(e.text, "name: \"aaaa");
}

static void urls_escape_names(void)
{
	cleanup(free) char *a = url_for("/1.0/profiles", "a/b", "default");
	cleanup(free) char *b = url_for("/1.0/profiles", "a", "p q");
	expect_text(a, "/1.0/profiles/a%2Fb");
	expect_text(b, "/1.0/profiles/a?project=p%20q");
}

static const struct test tests[] = {
	{ "paths match their pattern, part by part", paths_match_their_pattern },
	{ "names are checked", names_are_checked },
	{ "URLs escape names and tell the project", urls_escape_names },
};
TEST_MAIN(tests)
