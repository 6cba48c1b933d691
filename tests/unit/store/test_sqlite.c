/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/text.h"
#include "model/json.h"
#include "store/store.h"
#include "test.h"

static char path[] = "/tmp/berth-store-XXXXXX";
static int dir = -1;

static struct store *opened(void)
{
	if (dir < 0) {
		expect(mkdtemp(path) != NULL);
		test_removes_at_end(path);
		dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	struct store *store = NULL;
	struct error e = {};
	if (store_open("sqlite", dir, &store, &e) < 0)
		test_fail("%s", e.text);
	return store;
}

static void removed(void)
{
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
	close(dir);
	dir = -1;
	memcpy(path, "/tmp/berth-store-XXXXXX", sizeof(path));
}

static json_t *object(int n)
{
	return json_pack("{s:i}", "n", n);
}

static void put(struct store *store, const char *project, const char *name, int n)
{
	cleanup(json_decref) json_t *json = object(n);
	expect_equal(store_put(store, "thing", project, name, json, NULL), 0);
}

static int number(struct store *store, const char *project, const char *name)
{
	cleanup(json_decref) json_t *json = NULL;
	if (store_get(store, "thing", project, name, &json, NULL) < 0)
		return -1;
	return (int)json_integer_value(json_object_get(json, "n"));
}

static void what_is_put_is_got(void)
{
	cleanup(store_close) struct store *store = opened();
	put(store, "p", "a", 1);
	put(store, "q", "a", 2);
	put(store, "p", "a", 3);
	expect_equal(number(store, "p", "a"), 3);
	expect_equal(number(store, "q", "a"), 2);
	expect_equal(store_remove(store, "thing", "p", "a", NULL), 0);
	expect_equal(number(store, "p", "a"), -1);
	expect_equal(number(store, "q", "a"), 2);
	store_close(TAKE_PTR(store));
	removed();
}

static void what_is_missing_or_there_is_named(void)
{
	cleanup(store_close) struct store *store = opened();
	cleanup(json_decref) json_t *json = object(1);
	struct error e = {};
	json_t *got;
	expect_equal(store_get(store, "thing", "p", "none", &got, &e), -ENOENT);
	expect_text(e.text, "thing \"none\" does not exist");
	expect_equal(store_remove(store, "thing", "p", "none", &e), -ENOENT);
	expect_equal(store_rename(store, "thing", "p", "none", "x", &e), -ENOENT);
	expect_equal(store_add(store, "thing", "p", "a", json, &e), 0);
	expect_equal(store_add(store, "thing", "p", "a", json, &e), -EEXIST);
	expect_text(e.text, "thing \"a\" exists already");
	put(store, "p", "b", 2);
	expect_equal(store_rename(store, "thing", "p", "a", "b", &e), -EEXIST);
	expect_text(e.text, "thing \"b\" exists already");
	expect_equal(store_rename(store, "thing", "p", "a", "c", &e), 0);
	expect_equal(number(store, "p", "c"), 1);
	store_close(TAKE_PTR(store));
	removed();
}

static int collect(void *data, const char *project, const char *name, const json_t *json)
{
	(void)json;
	text_printf(data, "%s/%s ", project, name);
	return 0;
}

static int collect_and_remove(void *data, const char *project, const char *name, const json_t *json)
{
	(void)json;
	return store_remove(data, "thing", project, name, NULL);
}

static int stop_at_once(void *data, const char *project, const char *name, const json_t *json)
{
	(void)project, (void)name, (void)json;
	return -ECANCELED + (*(int *)data)++;
}

static void lists_are_sorted_and_may_be_changed(void)
{
	cleanup(store_close) struct store *store = opened();
	put(store, "q", "a", 1);
	put(store, "p", "b", 1);
	put(store, "p", "a", 1);
	cleanup(text_done) struct text text = {};
	expect_equal(store_each(store, "thing", NULL, collect, &text, NULL), 0);
	expect_text(text_str(&text), "p/a p/b q/a ");
	text.length = 0;
	expect_equal(store_each(store, "thing", "p", collect, &text, NULL), 0);
	expect_text(text_str(&text), "p/a p/b ");
	int calls = 0;
	expect_equal(store_each(store, "thing", NULL, stop_at_once, &calls, NULL), -ECANCELED);
	expect_equal(calls, 1);
	expect_equal(store_each(store, "thing", NULL, collect_and_remove, store, NULL), 0);
	expect(!store_has(store, "thing", "p", "a"));
	store_close(TAKE_PTR(store));
	removed();
}

static void a_transaction_is_whole_or_not_at_all(void)
{
	cleanup(store_close) struct store *store = opened();
	expect_equal(store_begin(store, NULL), 0);
	put(store, "p", "a", 1);
	store_rollback(store);
	expect_equal(number(store, "p", "a"), -1);
	expect_equal(store_begin(store, NULL), 0);
	put(store, "p", "a", 1);
	put(store, "p", "b", 2);
	expect_equal(store_commit(store, NULL), 0);
	/* Without one open it does nothing. */
	store_rollback(store);
	expect_equal(number(store, "p", "a"), 1);
	store_close(TAKE_PTR(store));
	store = opened();
	expect_equal(number(store, "p", "b"), 2);
	store_close(TAKE_PTR(store));
	removed();
}

static void a_killed_process_loses_no_change(void)
{
	struct store *store = opened();
	store_close(store);
	pid_t pid = fork();
	if (pid == 0) {
		store = opened();
		put(store, "p", "kept", 1);
		(void)!store_begin(store, NULL);
		put(store, "p", "half", 1);
		raise(SIGKILL);
	}
	int status;
	expect_equal(waitpid(pid, &status, 0), pid);
	expect(WIFSIGNALED(status));
	store = opened();
	expect_equal(number(store, "p", "kept"), 1);
	expect_equal(number(store, "p", "half"), -1);
	store_close(store);
	removed();
}

static void a_damaged_or_foreign_file_is_said(void)
{
	store_close(opened());
	static const char rubbish[] = "this is no database, and long enough to be looked at as one";
	expect_equal(file_remove_tree(dir, "berth.db-wal"), 0);
	expect_equal(file_replace(dir, "berth.db", rubbish, sizeof(rubbish), 0600, NULL), 0);
	struct store *store = NULL;
	struct error e = {};
	expect_equal(store_open("sqlite", dir, &store, &e), -EBADMSG);
	expect_contains(e.text, "berth.db");
	expect_equal(store_open("nothing", dir, &store, &e), -EINVAL);
	removed();
}

static const struct test tests[] = {
	{ "what is put is got, by project and name", what_is_put_is_got },
	{ "what is missing, or there already, is named", what_is_missing_or_there_is_named },
	{ "lists are sorted and may be changed on the way", lists_are_sorted_and_may_be_changed },
	{ "a transaction is kept whole or not at all", a_transaction_is_whole_or_not_at_all },
	{ "a killed process loses no change and keeps no half one",
		a_killed_process_loses_no_change },
	{ "a damaged file and an unknown store are said", a_damaged_or_foreign_file_is_said },
};
TEST_MAIN(tests)
