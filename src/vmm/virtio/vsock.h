/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.h - the virtio socket device: streams between the guest's ports and unix sockets of the host.
 *
 * What a host program says to it stands in abi/vsock.h.
 */
#pragma once

#include "vmm/virtio/device.h"

/*
 * `listener` is a listening stream socket, taken on success. `cid` is the guest's, 3 or more.
 */
int vsock_new(struct guest *guest, struct loop *loop, struct bus *bus, uint64_t cid, int listener,
	struct virtio_device **ret, struct error *e) must_use;

/* Listens at VSOCK_SOCKET in `dir`, replacing a stale one; the descriptor or -errno. */
int vsock_listen(const char *dir, struct error *e) must_use;
