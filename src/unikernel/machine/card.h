/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.h - a virtio network card: the part of platform.h that is about frames.
 */
#pragma once

#include <sys/uio.h>

#include "unikernel/machine/virtio.h"

/* Makes it work; fills in the card's own address and MTU, and returns the flags for struct boot. */
uint32_t card_start(const struct virtio *device, struct boot_net *ret);
/* The same of one that works, whose other side may be another one now. */
uint32_t card_again(struct boot_net *ret);

bool card_has_frame(void);
void card_listen(bool is_listening);
int64_t card_send(const struct iovec *parts, int count);
int64_t card_take(void *to, size_t size);
