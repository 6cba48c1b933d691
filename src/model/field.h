/* SPDX-License-Identifier: Apache-2.0 */
/*
 * field.h - reads a map of strings (a config, a device) into a struct by a table of its fields.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

enum field_type {
	FIELD_TEXT,    /* const char *, borrowed */
	FIELD_BOOL,    /* bool */
	FIELD_NUMBER,  /* uint64_t, at most `max` */
	FIELD_SMALL,   /* uint32_t, at most `max` */
	FIELD_BYTES,   /* uint64_t, a size */
	FIELD_BITS,    /* uint64_t, a network rate */
	FIELD_SECONDS, /* uint64_t ns, written in seconds, at most `max` of them */
	FIELD_OCTAL,   /* uint32_t, at most `max` */
	FIELD_READ,    /* by `read` */
	FIELD_KEPT,    /* stored for others, not read here */
	FIELD_REFUSED, /* known, but not to be had: `why` says so in a sentence */
};

struct field {
	const char *name; /* "limits.cpu"; with a '*' at its end every key that starts so */
	enum field_type type;
	size_t offset; /* in the struct */
	uint64_t max;
	int (*read)(void *object, const char *key, const char *text, struct error *e);
	const char *why;
};

/*
 * Reads `map` (NULL: empty) into `object`. An empty text is a field that is not set. -EINVAL with
 * "PATH.KEY: ..." for a key that no field names, a value that is no string, or one that cannot be.
 */
int fields_read(const struct field *fields, size_t count, const json_t *map, const char *path,
	void *object, struct error *e) must_use;
