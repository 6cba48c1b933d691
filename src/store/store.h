/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - where the daemon's objects live: JSON objects keyed by collection, project and name.
 *
 * The contract; sqlite.c is the embedded default, open.c the list. A change is on its way to the disk when
 * the call returns and survives the end of the process at any moment; one within store_begin() and
 * store_commit() is kept whole or not at all. The store is what was asked for; runners are what is.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"

struct store {
	const struct store_driver *driver;
};

/* Called for each object, in the order of project and name; `object` is borrowed. Non-zero ends it. */
typedef int store_call(void *data, const char *project, const char *name, const json_t *object);

/* Every member is set. */
struct store_driver {
	const char *name;
	/* The caller owns *ret. -ENOENT without a text if there is none. */
	int (*get)(struct store *store, const char *collection, const char *project,
		const char *name, json_t **ret, struct error *e);
	/* is_new: -EEXIST without a text if there is one. */
	int (*put)(struct store *store, const char *collection, const char *project,
		const char *name, const json_t *object, bool is_new, struct error *e);
	int (*remove)(struct store *store, const char *collection, const char *project,
		const char *name, struct error *e);
	int (*rename)(struct store *store, const char *collection, const char *project,
		const char *name, const char *new_name, struct error *e);
	/* `project` NULL: of all. What the call returned, if it was not 0. */
	int (*each)(struct store *store, const char *collection, const char *project,
		store_call *call, void *data, struct error *e);
	int (*begin)(struct store *store, struct error *e);
	int (*commit)(struct store *store, struct error *e);
	void (*rollback)(struct store *store);
	void (*close)(struct store *store);
};

/* Opens, or makes, the store `name` ("sqlite") in the directory `dir`, which stays open. */
int store_open(const char *name, int dir, struct store **ret, struct error *e) must_use;
void store_close(struct store *store);
DEFINE_CLEANUP(struct store *, store_close);

/*
 * Each sets *e and returns -ENOENT (`profile "web" does not exist`) or -EEXIST, or -EIO, -ENOSPC if the
 * store itself fails. Objects without a project take "".
 */
int store_get(struct store *store, const char *collection, const char *project, const char *name,
	json_t **ret, struct error *e) must_use;
bool store_has(struct store *store, const char *collection, const char *project, const char *name);
/* Replaces or adds. */
int store_put(struct store *store, const char *collection, const char *project, const char *name,
	const json_t *object, struct error *e) must_use;
int store_add(struct store *store, const char *collection, const char *project, const char *name,
	const json_t *object, struct error *e) must_use;
int store_remove(struct store *store, const char *collection, const char *project, const char *name,
	struct error *e) must_use;
int store_rename(struct store *store, const char *collection, const char *project, const char *name,
	const char *new_name, struct error *e) must_use;
int store_each(struct store *store, const char *collection, const char *project, store_call *call,
	void *data, struct error *e) must_use;

/* Transactions do not nest. */
int store_begin(struct store *store, struct error *e) must_use;
int store_commit(struct store *store, struct error *e) must_use;
void store_rollback(struct store *store);
