/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/warnings.h"

#include "base/log.h"
#include "daemon_test.h"
#include "model/json.h"

static int count(void *data, const char *project, const char *name, const json_t *object)
{
	(void)project, (void)name;
	json_array_append(data, (json_t *)(uintptr_t)object);
	return 0;
}

static json_t *all(struct service *service)
{
	json_t *list = json_array();
	expect_equal(store_each(service->store, "warning", "", count, list, NULL), 0);
	return list;
}

static void the_same_warning_is_counted(void)
{
	struct service *service = service_for_test();
	log_set_level(LOG_LEVEL_ERROR);
	service_warning(service, "Out of memory", "moderate", "p", "/1.0/instances/a", "first");
	service_warning(service, "Out of memory", "moderate", "p", "/1.0/instances/a", "second");
	service_warning(service, "Out of memory", "moderate", "p", "/1.0/instances/b", "other");
	cleanup(json_decref) json_t *list = all(service);
	expect_equal(json_array_size(list), 2);
	size_t i;
	const json_t *warning;
	json_array_foreach(list, i, warning)
	{
		bool is_a = strcmp(json_text(warning, "entity_url"), "/1.0/instances/a") == 0;
		expect_equal(json_integer_value(json_object_get(warning, "count")), is_a ? 2 : 1);
		expect_text(json_text(warning, "last_message"), is_a ? "second" : "other");
		expect_text(json_text(warning, "status"), "new");
	}
	service_end(service);
}

static void a_resolved_warning_comes_back(void)
{
	struct service *service = service_for_test();
	log_set_level(LOG_LEVEL_ERROR);
	service_warning(service, "No KVM", "low", NULL, NULL, "a");
	service_warning_resolve(service, "No KVM", NULL, NULL);
	cleanup(json_decref) json_t *one = all(service);
	expect_text(json_text(json_array_get(one, 0), "status"), "resolved");
	service_warning(service, "No KVM", "low", NULL, NULL, "\xff is no text");
	cleanup(json_decref) json_t *two = all(service);
	expect_equal(json_array_size(two), 1);
	expect_text(json_text(json_array_get(two, 0), "status"), "new");
	service_end(service);
}

static void there_is_an_end_to_them(void)
{
	struct service *service = service_for_test();
	log_set_level(LOG_LEVEL_ERROR);
	for (int i = 0; i < 1005; i++) {
		cleanup(json_decref) json_t *warning = json_pack("{s:s++,s:s,s:s,s:s,s:s,s:i}",
			"uuid", "u", "-", "x", "type", "t", "project", "", "entity_url", "",
			"last_seen_at", "2020", "count", 1);
		cleanup(free) char *uuid = alloc_printf("u%d", i);
		json_object_set_new(warning, "uuid", json_string(uuid));
		json_object_set_new(warning, "entity_url", json_string(uuid));
		if (i < 1000)
			expect_equal(
				store_put(service->store, "warning", "", uuid, warning, NULL), 0);
		else
			service_warning(service, "t", "low", NULL, uuid, "more");
	}
	cleanup(json_decref) json_t *list = all(service);
	expect_equal(json_array_size(list), 1000);
	service_end(service);
}

static const struct test tests[] = {
	{ "the same warning is counted, not repeated", the_same_warning_is_counted },
	{ "a resolved warning comes back", a_resolved_warning_comes_back },
	{ "there is an end to them", there_is_an_end_to_them },
};
TEST_MAIN(tests)
