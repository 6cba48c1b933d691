/* SPDX-License-Identifier: Apache-2.0 */
#include "model/server.h"

#include <errno.h>

#include "model/json.h"
#include "test.h"

static void nothing_is_free_without_cleaning(void)
{
	for (int state = 0; state < SERVER_STATES; state++)
		for (int event = 0; event < SERVER_EVENTS; event++) {
			enum server_state next;
			if (server_next((enum server_state)state, (enum server_event)event, &next,
				    NULL) < 0)
				continue;
			if (next == SERVER_AVAILABLE)
				expect_equal(state, SERVER_CLEANING);
			/* An owner comes to what is free, and stays or is let go of into cleaning. */
			if (server_is_owned(next) && !server_is_owned((enum server_state)state))
				expect_equal(state, SERVER_AVAILABLE);
			if (server_is_owned((enum server_state)state) && !server_is_owned(next))
				expect_equal(next, SERVER_CLEANING);
		}
}

static void goes_the_whole_way(void)
{
	static const struct {
		enum server_event event;
		enum server_state state;
	} way[] = { { SERVER_VERIFY, SERVER_VERIFYING }, { SERVER_VERIFIED, SERVER_INSPECTING },
		{ SERVER_INSPECTED, SERVER_CLEANING }, { SERVER_CLEANED, SERVER_AVAILABLE },
		{ SERVER_RESERVE, SERVER_DEPLOYING }, { SERVER_DEPLOYED, SERVER_ACTIVE },
		{ SERVER_TO_RESCUE, SERVER_RESCUE }, { SERVER_FROM_RESCUE, SERVER_ACTIVE },
		{ SERVER_SAVE, SERVER_SAVING }, { SERVER_SAVED, SERVER_ACTIVE },
		{ SERVER_REBUILD, SERVER_DEPLOYING }, { SERVER_DEPLOYED, SERVER_ACTIVE },
		{ SERVER_RELEASE, SERVER_CLEANING }, { SERVER_CLEANED, SERVER_AVAILABLE } };
	enum server_state state = SERVER_ENROLLED;
	for (size_t i = 0; i < ARRAY_SIZE(way); i++) {
		expect_equal(server_next(state, way[i].event, &state, NULL), 0);
		expect_equal(state, way[i].state);
	}
}

static void refuses_with_a_sentence(void)
{
	struct error e = {};
	enum server_state next;
	expect_equal(server_next(SERVER_ACTIVE, SERVER_RESERVE, &next, &e), -EBUSY);
	expect_contains(e.text, "somebody's");
	expect(!server_may_go(SERVER_ACTIVE, true) && !server_may_go(SERVER_CLEANING, false));
	expect(server_may_go(SERVER_CLEANING, true) && server_may_go(SERVER_AVAILABLE, false));
}

static void states_have_names(void)
{
	for (int i = 0; i < SERVER_STATES; i++) {
		enum server_state state;
		expect_equal(server_state_read(server_state_name((enum server_state)i), &state), 0);
		expect_equal(state, i);
	}
	enum server_state state;
	expect_equal(server_state_read("sleeping", &state), -EINVAL);
}

static void says_what_a_server_lacks(void)
{
	const struct server_facts facts = { 16, 63 * GIB, 400 * GIB, 10000 };
	const struct server_wish fits = { .class = "c16-m64", .disk_bytes = 100 * GIB };
	expect(server_lacks(&facts, "big", "m1", &fits) == NULL);
	const struct server_wish by_name = { .class = "big" };
	expect(server_lacks(&facts, "big", "m1", &by_name) == NULL);
	const struct server_wish more = {
		.cpus = 32, .memory_bytes = 128 * GIB, .disk_bytes = 1024 * GIB, .nic_mbit = 25000
	};
	cleanup(free) char *lacks = server_lacks(&facts, "big", "m1", &more);
	expect_contains(lacks, "16 CPUs, not 32");
	expect_contains(lacks, "63.00GiB of memory");
	expect_contains(lacks, "a disk of 400.00GiB");
	expect_contains(lacks, "10000 Mbit/s, not 25000");
	const struct server_wish other = { .class = "small", .server = "m2" };
	cleanup(free) char *wrong = server_lacks(&facts, "big", "m1", &other);
	expect_contains(wrong, "of class big, not small");
	expect_contains(wrong, "not m2");
}

static void names_a_class(void)
{
	const struct server_facts facts = { 64, 503 * GIB, 0, 0 };
	cleanup(free) char *class = server_class(&facts);
	expect_text(class, "c64-m534");
}

static json_t *told(const char *text)
{
	json_t *json = json_loads(text, 0, NULL);
	expect(json);
	return json;
}

static void reads_an_inventory(void)
{
	cleanup(json_decref) json_t *json = told(
		"{\"system\":{\"vendor\":\"Acme\\u001b[2J\"},\"cpus\":{\"count\":8,\"sockets\":2},"
		"\"memory_bytes\":1073741824,\"disks\":[{\"name\":\"sda\",\"bytes\":1000},"
		"{\"name\":\"sdb\",\"bytes\":5000}],\"nics\":[{\"mac\":\"52:54:00:00:00:01\","
		"\"has_link\":true,\"speed_mbit\":25000}],\"more\":1,\"boot_ms\":5}");
	json_t *inventory = NULL;
	struct server_facts facts;
	expect_equal(server_inventory_read(json, &inventory, NULL), 0);
	expect_text(json_text(json_object_get(inventory, "system"), "vendor"), "Acme?[2J");
	expect(!json_object_get(inventory, "more"));
	server_facts(inventory, &facts);
	expect_equal(facts.cpus, 8);
	expect_equal(facts.disk_bytes, 5000);
	expect_equal(facts.nic_mbit, 25000);
	json_decref(inventory);
}

static void refuses_a_broken_inventory(void)
{
	static const char *const cases[] = { "{\"cpus\":7}", "{\"disks\":[1]}",
		"{\"memory_bytes\":-1}", "{\"nics\":[{\"speed_mbit\":\"fast\"}]}",
		"{\"system\":[]}" };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(json_decref) json_t *json = told(cases[i]);
		json_t *inventory;
		struct error e = {};
		expect_equal(server_inventory_read(json, &inventory, &e), -EINVAL);
		expect(e.text[0] != '\0');
	}
}

static void measurements_are_compared(void)
{
	cleanup(json_decref) json_t *none = told("{\"tpm\":null}");
	cleanup(json_decref) json_t *one = told("{\"tpm\":{\"pcrs\":[\"AA\",\"BB\"]}}");
	cleanup(json_decref) json_t *other = told("{\"tpm\":{\"pcrs\":[\"AA\",\"CC\"]}}");
	expect_equal(server_measures_differ(one, one), -1);
	expect_equal(server_measures_differ(none, none), -1);
	expect_equal(server_measures_differ(one, other), 1);
	expect_equal(server_measures_differ(one, none), 0);
}

static const struct test tests[] = {
	{ "no server is free without having been cleaned", nothing_is_free_without_cleaning },
	{ "a server goes the whole way", goes_the_whole_way },
	{ "what can't happen is refused with a sentence", refuses_with_a_sentence },
	{ "states have names", states_have_names },
	{ "a server that does not fit says what it lacks", says_what_a_server_lacks },
	{ "a class is CPUs and GiB as sold", names_a_class },
	{ "an inventory is cut to what is known and can be shown", reads_an_inventory },
	{ "a broken inventory is refused", refuses_a_broken_inventory },
	{ "measurements are compared one by one", measurements_are_compared },
};

TEST_MAIN(tests)
