/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_pci.h - the virtio devices on PCI.
 */
#pragma once

#include "unikernel/machine/virtio.h"

/* Tells `take` of each. */
void virtio_pci_find(void (*take)(const struct virtio *device));
