/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h - checked reading of JSON (jansson): every refusal names the field by its path.
 *
 * `path` is where `object` stands in what the user sent: "" at the top, "devices.root" below. The readers
 * leave *ret as it is if the field is absent or null, so a default is set before. All return 0, or
 * -EINVAL with a text like `devices.root.size: a text is wanted, not a number`.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* `cleanup(json_decref) json_t *object = ...;` */
DEFINE_CLEANUP(json_t *, json_decref);

/* Jansson's iterators and copies want what they do not change to be changeable. */
static inline json_t *json_mutable(const json_t *json)
{
	union {
		const json_t *in;
		json_t *out;
	} both = { .in = json };
	return both.out;
}

/* Parses one document with nothing behind it; no key twice. -EINVAL says where it is wrong. */
int json_parse(const char *text, size_t length, json_t **ret, struct error *e) must_use;

/* -EINVAL if a field is not one of `known`, a list that ends with NULL. */
int json_read_known(
	const json_t *object, const char *path, const char *const *known, struct error *e) must_use;

/* *ret is borrowed from `object`. */
int json_read_text(const json_t *object, const char *path, const char *field, const char **ret,
	struct error *e) must_use;
int json_read_bool(const json_t *object, const char *path, const char *field, bool *ret,
	struct error *e) must_use;
/* Whole numbers only; 1.0 is none. */
int json_read_u64(const json_t *object, const char *path, const char *field, uint64_t *ret,
	struct error *e) must_use;
int json_read_i64(const json_t *object, const char *path, const char *field, int64_t *ret,
	struct error *e) must_use;
int json_read_object(const json_t *object, const char *path, const char *field, json_t **ret,
	struct error *e) must_use;
int json_read_array(const json_t *object, const char *path, const char *field, json_t **ret,
	struct error *e) must_use;
/* An object whose values are all texts, as every `config` is. */
int json_read_text_map(const json_t *object, const char *path, const char *field, json_t **ret,
	struct error *e) must_use;
/* An array of texts. */
int json_read_text_array(const json_t *object, const char *path, const char *field, json_t **ret,
	struct error *e) must_use;
/* As json_read_text(), but an absent, null or empty field is refused, too. */
int json_require_text(const json_t *object, const char *path, const char *field, const char **ret,
	struct error *e) must_use;

/* The text of a field, or NULL if it is absent or no text. */
const char *json_text(const json_t *object, const char *field);

/* Sets a field to a text; NULL gives "". */
void json_set_text(json_t *object, const char *field, const char *value);
void json_set_u64(json_t *object, const char *field, uint64_t value);
void json_set_bool(json_t *object, const char *field, bool value);

/* An object's copy whose fields are those of `change` where it has them: what PATCH means. Maps of
 * `config` and `devices` are joined key by key; "" in `config` takes a key away. */
json_t *json_patched(const json_t *object, const json_t *change) must_use;
