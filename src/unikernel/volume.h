/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.h - the storage that was asked for, as the block device /dev/vda.
 */
#pragma once

#include "unikernel/kernel.h"

/* Makes the device if `boot` tells of one. 0 or -ENOMEM. */
int volume_init(const struct boot *boot);
