/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite.c - objects in one table of an SQLite file.
 *
 * WAL and synchronous=NORMAL: a change survives the end of the process, and a crash of the machine loses
 * at most the last moments, never the file. Statements are prepared once.
 */
#include "store/sqlite.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "model/json.h"

#define SCHEMA_VERSION 1

enum statement {
	GET,
	PUT,
	ADD,
	REMOVE,
	RENAME,
	EACH,
	EACH_IN,
	BEGIN,
	COMMIT,
	ROLLBACK,
	STATEMENTS
};

static const char *const statement_texts[STATEMENTS] = {
	[GET] = "SELECT object FROM objects WHERE collection = ?1 AND project = ?2 AND name = ?3",
	[PUT] = "INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3, ?4)",
	[ADD] = "INSERT INTO objects VALUES (?1, ?2, ?3, ?4)",
	[REMOVE] = "DELETE FROM objects WHERE collection = ?1 AND project = ?2 AND name = ?3",
	[RENAME] = "UPDATE objects SET name = ?4"
		   " WHERE collection = ?1 AND project = ?2 AND name = ?3",
	[EACH] = "SELECT project, name, object FROM objects WHERE collection = ?1"
		 " ORDER BY project, name",
	[EACH_IN] = "SELECT project, name, object FROM objects WHERE collection = ?1"
		    " AND project = ?2 ORDER BY name",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

struct sqlite {
	struct store store;
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
};

static struct sqlite *sqlite_of(struct store *store)
{
	return container_of(store, struct sqlite, store);
}

static int failed(const struct sqlite *sqlite, struct error *e)
{
	int code = sqlite3_extended_errcode(sqlite->db);
	switch (code & 0xff) {
	case SQLITE_FULL:
		return error_set(e, -ENOSPC, "berth.db: the disk is full");
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_BUSY:
		return error_set(e, -EBUSY, "berth.db: another process uses it");
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return error_set(e, -EBADMSG, "berth.db: the file is damaged");
	default:
		return error_set(e, -EIO, "berth.db: %s", sqlite3_errmsg(sqlite->db));
	}
}

/* The statement, ready for new values. */
static sqlite3_stmt *start(struct sqlite *sqlite, enum statement which, const char *collection,
	const char *project, const char *name)
{
	sqlite3_stmt *statement = sqlite->statements[which];
	sqlite3_reset(statement);
	const char *const values[] = { collection, project, name };
	for (int i = 0; i < (int)ARRAY_SIZE(values); i++)
		if (values[i])
			sqlite3_bind_text(statement, i + 1, values[i], -1, SQLITE_STATIC);
	return statement;
}

/* Runs a statement without rows; the number of rows that it changed. */
static int finish(struct sqlite *sqlite, sqlite3_stmt *statement, struct error *e)
{
	int code = sqlite3_step(statement);
	int r = code == SQLITE_DONE ? sqlite3_changes(sqlite->db) : failed(sqlite, e);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return r;
}

static int read_object(sqlite3_stmt *statement, int column, json_t **ret, struct error *e)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);
	int length = sqlite3_column_bytes(statement, column);
	if (!text)
		return error_set(e, -EBADMSG, "berth.db: an object has no text");
	int r = json_parse(text, (size_t)length, ret, e);
	return r < 0 ? error_prefix(e, -EBADMSG, "berth.db") : 0;
}

static int sqlite_get(struct store *store, const char *collection, const char *project,
	const char *name, json_t **ret, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	sqlite3_stmt *statement = start(sqlite, GET, collection, project, name);
	int code = sqlite3_step(statement);
	int r = code == SQLITE_ROW    ? read_object(statement, 0, ret, e)
		: code == SQLITE_DONE ? -ENOENT
				      : failed(sqlite, e);
	sqlite3_reset(statement);
	return r;
}

static int sqlite_put(struct store *store, const char *collection, const char *project,
	const char *name, const json_t *object, bool is_new, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	cleanup(free) char *text = json_dumps(object, JSON_COMPACT);
	if (!text)
		return error_set(e, -EINVAL, "berth.db: an object can't be written as JSON");
	sqlite3_stmt *statement = start(sqlite, is_new ? ADD : PUT, collection, project, name);
	sqlite3_bind_text(statement, 4, text, -1, SQLITE_STATIC);
	int r = finish(sqlite, statement, e);
	return r < 0 ? r : 0;
}

static int sqlite_remove(struct store *store, const char *collection, const char *project,
	const char *name, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	int r = finish(sqlite, start(sqlite, REMOVE, collection, project, name), e);
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

static int sqlite_rename(struct store *store, const char *collection, const char *project,
	const char *name, const char *new_name, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	sqlite3_stmt *statement = start(sqlite, RENAME, collection, project, name);
	sqlite3_bind_text(statement, 4, new_name, -1, SQLITE_STATIC);
	int r = finish(sqlite, statement, e);
	return r == 0 ? -ENOENT : r < 0 ? r : 0;
}

struct row {
	char *project;
	char *name;
	json_t *object;
};

/* All rows first, then the calls: a call may change the store. */
static int sqlite_each(struct store *store, const char *collection, const char *project,
	store_call *call, void *data, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	sqlite3_stmt *statement =
		start(sqlite, project ? EACH_IN : EACH, collection, project, NULL);
	struct row *rows = NULL;
	size_t count = 0, size = 0;
	int r = 0, code;
	while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
		json_t *object;
		r = read_object(statement, 2, &object, e);
		if (r < 0)
			break;
		if (count == size) {
			size = size ? 2 * size : 16;
			rows = alloc_resize(rows, size, sizeof(rows[0]));
		}
		rows[count++] = (struct row){
			.project = alloc_text((const char *)sqlite3_column_text(statement, 0)),
			.name = alloc_text((const char *)sqlite3_column_text(statement, 1)),
			.object = object,
		};
	}
	if (r == 0 && code != SQLITE_DONE)
		r = failed(sqlite, e);
	sqlite3_reset(statement);
	for (size_t i = 0; i < count; i++) {
		if (r == 0)
			r = call(data, rows[i].project, rows[i].name, rows[i].object);
		free(rows[i].project);
		free(rows[i].name);
		json_decref(rows[i].object);
	}
	free(rows);
	return r;
}

static int sqlite_begin(struct store *store, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	int r = finish(sqlite, sqlite->statements[BEGIN], e);
	return r < 0 ? r : 0;
}

static void sqlite_rollback(struct store *store)
{
	struct sqlite *sqlite = sqlite_of(store);
	if (!sqlite3_get_autocommit(sqlite->db))
		(void)finish(sqlite, sqlite->statements[ROLLBACK], NULL);
}

static int sqlite_commit(struct store *store, struct error *e)
{
	struct sqlite *sqlite = sqlite_of(store);
	int r = finish(sqlite, sqlite->statements[COMMIT], e);
	if (r < 0)
		sqlite_rollback(store);
	return r < 0 ? r : 0;
}

static void sqlite_shut(struct store *store)
{
	struct sqlite *sqlite = sqlite_of(store);
	for (size_t i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(sqlite->statements[i]);
	sqlite3_close(sqlite->db);
	free(sqlite);
}

DEFINE_CLEANUP(struct store *, sqlite_shut);

static const struct store_driver sqlite_driver = {
	.name = "sqlite",
	.get = sqlite_get,
	.put = sqlite_put,
	.remove = sqlite_remove,
	.rename = sqlite_rename,
	.each = sqlite_each,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.close = sqlite_shut,
};

static int on_version(void *data, int columns, char **values, char **names)
{
	(void)columns, (void)names;
	*(int *)data = (int)strtol(values[0], NULL, 10);
	return 0;
}

static int prepare(struct sqlite *sqlite, struct error *e)
{
	int version = 0;
	if (sqlite3_exec(sqlite->db,
		    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
		    "PRAGMA busy_timeout = 2000; PRAGMA cache_size = -2000",
		    NULL, NULL, NULL) != SQLITE_OK ||
		sqlite3_exec(sqlite->db, "PRAGMA user_version", on_version, &version, NULL) !=
			SQLITE_OK)
		return failed(sqlite, e);
	if (version > SCHEMA_VERSION)
		return error_set(e, -EPROTO,
			"berth.db: version %d is of a newer berth; this one knows up to %d",
			version, SCHEMA_VERSION);
	if (sqlite3_exec(sqlite->db,
		    "CREATE TABLE IF NOT EXISTS objects (collection TEXT NOT NULL,"
		    " project TEXT NOT NULL, name TEXT NOT NULL, object TEXT NOT NULL,"
		    " PRIMARY KEY (collection, project, name)) WITHOUT ROWID;"
		    "PRAGMA user_version = 1",
		    NULL, NULL, NULL) != SQLITE_OK)
		return failed(sqlite, e);
	for (size_t i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(sqlite->db, statement_texts[i], -1,
			    SQLITE_PREPARE_PERSISTENT, &sqlite->statements[i], NULL) != SQLITE_OK)
			return failed(sqlite, e);
	return 0;
}

int sqlite_open(int dir, struct store **ret, struct error *e)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/berth.db", dir);
	struct sqlite *sqlite = alloc(struct sqlite);
	sqlite->store.driver = &sqlite_driver;
	cleanup(sqlite_shut) struct store *store = &sqlite->store;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
		SQLITE_OPEN_PRIVATECACHE;
	if (sqlite3_open_v2(path, &sqlite->db, flags, NULL) != SQLITE_OK) {
		if (!sqlite->db)
			return error_set(e, -ENOMEM, "berth.db: no memory to open it");
		return failed(sqlite, e);
	}
	int r = prepare(sqlite, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(store);
	return 0;
}
