/* SPDX-License-Identifier: Apache-2.0 */
#include "model/filter.h"

#include <errno.h>

#include "model/json.h"
#include "test.h"

static const char object_text[] = "{\"name\":\"web1\",\"status\":\"Running\",\"ephemeral\":false,"
				  "\"size\":42,\"config\":{\"user.tier\":\"front end\","
				  "\"limits\":{\"cpu\":\"2\"}},\"profiles\":[\"default\"]}";

static bool matches(const char *text)
{
	cleanup(json_decref) json_t *object = json_loads(object_text, 0, NULL);
	cleanup(filter_free) struct filter *filter = NULL;
	struct error e = {};
	if (filter_parse(text, &filter, &e) < 0)
		test_fail("%s: %s", text, e.text);
	return filter_matches(filter, object);
}

static void values_are_compared(void)
{
	expect(matches(""));
	expect(matches("name eq web1"));
	expect(!matches("name eq web"));
	expect(!matches("name eq WEB1"));
	expect(matches("name ne web"));
	expect(matches("ephemeral eq false"));
	expect(matches("size eq 42"));
	expect(!matches("nothing eq x"));
	expect(matches("nothing ne x"));
	expect(!matches("profiles eq default"));
}

static void values_are_regular_expressions(void)
{
	expect(matches("name eq web.*"));
	expect(matches("name eq ^web"));
	expect(matches("name eq 1$"));
	expect(!matches("name eq eb"));
	expect(matches("name eq a|web1"));
	/* Not one that compiles: compared as it stands. */
	expect(!matches("name eq ("));
	expect(!matches("name eq web1{1,30000}"));
}

static void paths_lead_into_maps_whose_keys_have_dots(void)
{
	expect(matches("config.user.tier eq \"front end\""));
	expect(matches("config.user.tier eq 'front end'"));
	expect(matches("config.limits.cpu eq 2"));
	expect(!matches("config.user eq x"));
}

static void clauses_join_from_left_to_right(void)
{
	expect(matches("name eq web1 and status eq Running"));
	expect(!matches("name eq web1 and status eq Stopped"));
	expect(matches("name eq x or status eq Running"));
	expect(matches("not name eq x and not status eq Stopped"));
	expect(!matches("name eq web1 or status eq Running and size eq 0"));
	expect(matches("NAME eq x OR status EQ Running"));
}

static void what_is_wrong_is_said(void)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{ "name", "needs eq or ne" },
		{ "name is x", "\"is\" is not eq or ne" },
		{ "name eq", "a value is missing" },
		{ "name eq \"x", "a quote is not closed" },
		{ "name eq x xor a eq b", "\"xor\" is not and or or" },
		{ "name eq x and", "nothing follows" },
		{ "not", "a field is missing" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct filter *filter;
		struct error e = {};
		expect_equal(filter_parse(wrong[i].text, &filter, &e), -EINVAL);
		expect_contains(e.text, wrong[i].says);
	}
}

static void too_many_clauses_are_refused(void)
{
	char text[FILTER_CLAUSES_MAX * 16 + 64] = "a eq b";
	for (int i = 0; i < FILTER_CLAUSES_MAX; i++)
		strcat(text, " and a eq b");
	struct filter *filter;
	expect_equal(filter_parse(text, &filter, NULL), -EINVAL);
}

static const struct test tests[] = {
	{ "values are compared as texts", values_are_compared },
	{ "values are regular expressions", values_are_regular_expressions },
	{ "paths lead into maps whose keys have dots", paths_lead_into_maps_whose_keys_have_dots },
	{ "clauses join from left to right", clauses_join_from_left_to_right },
	{ "what is wrong is said", what_is_wrong_is_said },
	{ "too many clauses are refused", too_many_clauses_are_refused },
};
TEST_MAIN(tests)
