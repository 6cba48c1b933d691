/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.h - where an instance's root is.
 */
#pragma once

#include "daemon/instance/instances.h"
#include "daemon/storage/volume_ref.h"

/* The instance's volume, or that of its snapshot; the texts are borrowed. Its pool may be unknown: NULL. */
void instance_volume(const struct instance *instance, const char *snapshot, struct volume_ref *ret);
