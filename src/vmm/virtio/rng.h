/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng.h - the virtio source of randomness: the host kernel's.
 */
#pragma once

#include "vmm/virtio/device.h"

struct virtio_device *rng_new(struct guest *guest, struct loop *loop, struct bus *bus);
