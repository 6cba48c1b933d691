/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.h - an image's metadata.yaml and a backup's index.yaml, as JSON.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

#define METADATA_BYTES_MAX (256 * KIB) /* of an image */

/*
 * Reads one YAML document whose outermost value is a mapping. Every scalar becomes a text as it stands, ~ and
 * nothing become null. Refused: references (`*name`), keys that are no texts, more than 20 levels or 200000 values.
 * The sentence of a failure begins with the line. The caller owns *ret.
 */
int metadata_read(const char *yaml, size_t length, json_t **ret, struct error *e) must_use;

/* Writes an object of texts, numbers, booleans, arrays and objects as YAML; the caller owns it. */
char *metadata_write(const json_t *object) must_use;
