/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_files.h - the files that templates of an image or of a backup name.
 */
#pragma once

#include <jansson.h>

#include "base/base.h"
#include "base/error.h"

#define TEMPLATE_FILES_BYTES_MAX (32 * KIB) /* what fits into an answer */

/*
 * Puts the text of each file of `stage`/templates into its template as `content`. `templates` is the member of
 * metadata.yaml, {PATH: {"template": NAME, ...}} or NULL.
 */
int template_files_read(int stage, const json_t *templates, struct error *e) must_use;
