/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml.h - a JSON value as YAML, for people to read.
 */
#pragma once

#include <jansson.h>

#include "base/text.h"

/* Keys in alphabetical order; ends with a newline. */
void yaml_print(struct text *text, const json_t *value);
