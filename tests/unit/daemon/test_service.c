/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/service.h"

#include <errno.h>
#include <sys/stat.h>

#include "base/text.h"
#include "daemon/config.h"
#include "daemon/projects.h"
#include "daemon_test.h"
#include "model/json.h"

static void the_id_stays_and_what_was_half_done_goes(void)
{
	struct service *service = service_for_test();
	cleanup(free) char *id = alloc_text(service->id);
	expect_equal(strlen(id), 8);
	expect_equal(file_replace(service->tmp_dir, "half", "x", 1, 0600, NULL), 0);
	struct loop *loop = service->loop;
	operations_free(service->operations);
	events_free(service->events);
	service_close(service);
	struct service_options options = { .dir_path = service_path, .store = "sqlite" };
	expect_equal(service_open(loop, &options, &service, NULL), 0);
	service->events = events_new(service);
	service->operations = operations_new(service);
	expect_text(service->id, id);
	struct stat status;
	expect_equal(fstatat(service->tmp_dir, "half", &status, 0), -1);
	service_end(service);
}

static void a_directory_has_one_daemon(void)
{
	struct service *service = service_for_test(), *second = NULL;
	struct service_options options = { .dir_path = service_path, .store = "sqlite" };
	struct error e = {};
	expect_equal(service_open(service->loop, &options, &second, &e), -EBUSY);
	expect_contains(e.text, "another berthd");
	service_end(service);
}

static void a_program_that_is_missing_is_named(void)
{
	struct service *service = service_for_test();
	char *path = NULL;
	struct error e = {};
	expect_equal(service_program(service, "berth-nothing", &path, &e), -ENOENT);
	expect_contains(e.text, "berth-nothing");
	service_end(service);
}

static void add_users(struct service *service, const char *kind, const char *project,
	const char *name, json_t *urls)
{
	(void)service;
	if (text_equal(kind, "profile") && text_equal(project, "p")) {
		json_array_append_new(urls, json_string("/1.0/instances/b"));
		json_array_append_new(urls, json_sprintf("/1.0/instances/%s", name));
	}
}

static void users_are_asked_and_sorted(void)
{
	struct service *service = service_for_test();
	used_by_add(service, add_users);
	cleanup(json_decref) json_t *urls = used_by_list(service, "profile", "p", "a");
	cleanup(free) char *text = json_dumps(urls, JSON_COMPACT);
	expect_text(text, "[\"/1.0/instances/a\",\"/1.0/instances/b\"]");
	cleanup(json_decref) json_t *none = used_by_list(service, "network", "p", "a");
	expect_equal(json_array_size(none), 0);
	service_end(service);
}

static char *changed_to;

static int check_number(const char *value, struct error *e)
{
	uint64_t number;
	return text_to_u64(value, &number) < 0 ? error_set(e, -EINVAL, "a number is wanted") : 0;
}

static void on_changed(struct service *service, const char *value)
{
	(void)service;
	free(changed_to);
	changed_to = alloc_text(value ? value : "(none)");
}

static int set(struct service *service, const char *text, struct error *e)
{
	cleanup(json_decref) json_t *json = json_loads(text, 0, NULL);
	return config_set(service, json, e);
}

static void configuration_is_checked_stored_and_told(void)
{
	static const struct config_key key = { "berth.x", check_number, NULL, on_changed };
	struct service *service = service_for_test();
	struct error e = {};
	expect_equal(config_start(service, &e), 0);
	config_add(service, &key);
	expect_equal(set(service, "{\"berth.x\":\"no\"}", &e), -EINVAL);
	expect_text(e.text, "config.berth.x: a number is wanted");
	expect_equal(set(service, "{\"berth.y\":\"1\"}", &e), -EINVAL);
	expect(changed_to == NULL);
	expect_equal(set(service, "{\"berth.x\":\"5\",\"user.a\":\"b\"}", &e), 0);
	expect_text(changed_to, "5");
	config_stop(service);
	expect_equal(config_start(service, &e), 0);
	config_add(service, &key);
	expect_text(config_get(service, "berth.x"), "5");
	expect_equal(set(service, "{\"berth.x\":\"\"}", &e), 0);
	expect_text(changed_to, "(none)");
	expect(config_get(service, "user.a") == NULL);
	config_stop(service);
	free(TAKE_PTR(changed_to));
	service_end(service);
}

static void a_project_has_its_own_or_the_default_ones(void)
{
	struct service *service = service_for_test();
	expect_equal(projects_start(service, NULL), 0);
	cleanup(json_decref) json_t *project = json_pack("{s:s,s:{s:s,s:s}}", "name", "p", "config",
		"features.images", "false", "features.profiles", "true");
	expect_equal(project_put(service, project, NULL), 0);
	expect_text(project_of(service, "p", "images"), "default");
	expect_text(project_of(service, "p", "profiles"), "p");
	expect_text(project_of(service, "p", "networks"), "default");
	projects_stop(service);
	expect_equal(projects_start(service, NULL), 0);
	expect(project_exists(service, "p"));
	expect(!project_exists(service, "q"));
	projects_stop(service);
	service_end(service);
}

static const struct test tests[] = {
	{ "the id stays, and what was half done goes", the_id_stays_and_what_was_half_done_goes },
	{ "a directory has one daemon", a_directory_has_one_daemon },
	{ "a program that is missing is named", a_program_that_is_missing_is_named },
	{ "users are asked for, and sorted", users_are_asked_and_sorted },
	{ "configuration is checked, stored and told", configuration_is_checked_stored_and_told },
	{ "a project has objects of its own, or the default ones",
		a_project_has_its_own_or_the_default_ones },
};
TEST_MAIN(tests)
