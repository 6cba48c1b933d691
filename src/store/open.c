/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c - the list of stores, and what all of them do alike.
 */
#include <errno.h>

#include "base/text.h"
#include "model/json.h"
#include "store/sqlite.h"
#include "store/store.h"

static const struct {
	const char *name;
	int (*open)(int dir, struct store **ret, struct error *e);
} drivers[] = {
	{ "sqlite", sqlite_open },
};

int store_open(const char *name, int dir, struct store **ret, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (text_equal(drivers[i].name, name))
			return drivers[i].open(dir, ret, e);
	return error_set(e, -EINVAL, "store \"%s\": there is none of this name", name);
}

void store_close(struct store *store)
{
	if (store)
		store->driver->close(store);
}

static int explain(int r, const char *collection, const char *name, struct error *e)
{
	if (r == -ENOENT)
		return error_set(e, r, "%s \"%s\" does not exist", collection, name);
	if (r == -EEXIST)
		return error_set(e, r, "%s \"%s\" exists already", collection, name);
	return r;
}

int store_get(struct store *store, const char *collection, const char *project, const char *name,
	json_t **ret, struct error *e)
{
	int r = store->driver->get(store, collection, project, name, ret, e);
	return explain(r, collection, name, e);
}

bool store_has(struct store *store, const char *collection, const char *project, const char *name)
{
	cleanup(json_decref) json_t *object = NULL;
	return store->driver->get(store, collection, project, name, &object, NULL) == 0;
}

int store_put(struct store *store, const char *collection, const char *project, const char *name,
	const json_t *object, struct error *e)
{
	return store->driver->put(store, collection, project, name, object, false, e);
}

int store_add(struct store *store, const char *collection, const char *project, const char *name,
	const json_t *object, struct error *e)
{
	int r = store->driver->put(store, collection, project, name, object, true, e);
	return explain(r, collection, name, e);
}

int store_remove(struct store *store, const char *collection, const char *project, const char *name,
	struct error *e)
{
	return explain(
		store->driver->remove(store, collection, project, name, e), collection, name, e);
}

int store_rename(struct store *store, const char *collection, const char *project, const char *name,
	const char *new_name, struct error *e)
{
	int r = store->driver->rename(store, collection, project, name, new_name, e);
	return explain(r, collection, r == -EEXIST ? new_name : name, e);
}

int store_each(struct store *store, const char *collection, const char *project, store_call *call,
	void *data, struct error *e)
{
	return store->driver->each(store, collection, project, call, data, e);
}

int store_begin(struct store *store, struct error *e)
{
	return store->driver->begin(store, e);
}

int store_commit(struct store *store, struct error *e)
{
	return store->driver->commit(store, e);
}

void store_rollback(struct store *store)
{
	store->driver->rollback(store);
}
