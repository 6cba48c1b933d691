/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unikernel.h - the kind `unikernel`: one program alone with a library OS, in a locked process.
 */
#pragma once

#include "kind/kind.h"

extern const struct kind kind_unikernel;

/* Where a program without a slash is looked for, unless its environment says so. */
#define UNIKERNEL_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What the library OS hands out; the group's limit leaves room for the tender, or the monitor, beside it. */
uint64_t unikernel_beside(const struct spec *spec);
uint64_t unikernel_memory(const struct spec *spec);

/* "process", "kvm" or "soft": what the instance's key says, else the server's, else what was measured. */
const char *unikernel_engine(const struct kind_input *input);

/*
 * The path of the image that `program` starts from, beside the top one of `layers` (paths); NULL without layers or
 * a program. `path` is its environment's PATH or NULL. The caller owns it.
 */
char *unikernel_image(const json_t *layers, const char *program, const char *path) must_use;
