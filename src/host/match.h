/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match.h - device nodes of this host that fit a description: cards for graphics, USB devices, others by their
 * vendor and product.
 *
 * `sys` is a descriptor of /sys, or of a directory that looks like it.
 */
#pragma once

#include "model/device.h"

/*
 * What fits `match`, as an array of {device, path, source, type, mode, uid, gid, optional} as a container's
 * plan has them; the caller owns it. -ENODEV with a sentence if nothing fits and something must.
 */
int match_find(int sys, const struct match_device *match, json_t **ret, struct error *e) must_use;
