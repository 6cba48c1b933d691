/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_mmio.h - a virtio device whose registers are a window of memory, named by the command line or ACPI.
 */
#pragma once

#include "unikernel/machine/virtio.h"

/* False if nothing is there, or a place for a device without one. */
bool virtio_mmio_open(uint64_t physical, struct virtio *ret);
