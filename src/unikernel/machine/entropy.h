/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entropy.h - random bytes for the start: the processor's and those of a virtio device.
 */
#pragma once

#include "unikernel/machine/virtio.h"

/* Memory for it comes from virtio_alloc(). */
void entropy_take(const struct virtio *device);

/* The device is asked each time. Ends the library OS if there is neither device nor instruction. */
void entropy_make(uint8_t *to, size_t bytes);
