/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etag.h - a fingerprint of an object, by which a client says which state of it it has seen.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"

#define ETAG_SIZE 65

/* SHA-256 in hex of the JSON with sorted keys and no space. */
void etag_of(const json_t *object, char etag[ETAG_SIZE]);
