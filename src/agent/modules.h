/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules.h - the kernel's modules in the initial file system, /berth/lib, loaded for what there is.
 */
#pragma once

#include "base/base.h"

/*
 * Loads the drivers of all devices that are there, and of those that appear by that, until there is nothing more
 * to load. How many were loaded.
 */
size_t modules_for_devices(void);

/* Loads one by name, and what it needs. What is not there may be built into the kernel. */
void modules_load(const char *name);
/* If nobody uses it. */
void modules_unload(const char *name);

/* Where a module says what it is, of its whole file; all of it if that is no module. For tests. */
void modules_info(const char *bytes, size_t length, const char **ret, size_t *ret_length);
/*
 * Whether the module's bytes have an `alias=` that matches the device's, and the names that `depends=` lists
 * ("" if none). For tests.
 */
bool modules_match(const char *bytes, size_t length, const char *device);
const char *modules_depends(const char *bytes, size_t length);
