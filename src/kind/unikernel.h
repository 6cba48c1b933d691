/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unikernel.h - the kind `unikernel`: one program alone with a library OS, in a locked process.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind kind_unikernel;

/*
 * The path of the image that a program starts from, beside the top one of `layers` (paths); NULL without layers
 * or a program. The caller owns it. `init` is the member of the document.
 */
char *unikernel_image(const json_t *layers, const json_t *init) must_use;
