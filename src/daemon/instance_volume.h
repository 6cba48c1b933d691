/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance_volume.h - where an instance's root is.
 */
#pragma once

#include "daemon/instances.h"
#include "daemon/volume_ref.h"

/* The instance's volume, or that of its snapshot; the texts are borrowed. Its pool may be unknown: NULL. */
void instance_volume(const struct instance *instance, const char *snapshot, struct volume_ref *ret);
