/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename.h - another name for a stopped instance and all that is its own.
 */
#pragma once

#include "daemon/instances.h"

int instance_rename(struct instance *instance, const char *name, struct error *e) must_use;
