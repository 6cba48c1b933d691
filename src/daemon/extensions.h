/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extensions.h - the API extensions that berth keeps. One that is advertised is a promise.
 */
#pragma once

#include <jansson.h>

/* Their names, a new array. */
json_t *extensions_json(void);
