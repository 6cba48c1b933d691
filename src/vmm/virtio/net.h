/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - the virtio network card: packets between queues and tap descriptors.
 */
#pragma once

#include "vmm/virtio/device.h"

#define NET_PAIRS_MAX 8

struct net_options {
	/* One descriptor a queue pair: a tap with packet headers (IFF_VNET_HDR), or a datagram socket
	 * whose messages begin with them. */
	const int *taps;
	uint32_t pairs;
	uint8_t mac[6];
	uint16_t mtu; /* 0: not said */
};

/* Opens `pairs` queues of the tap device `name`, as net_new() wants them. */
int net_open_tap(
	const char *name, uint32_t pairs, int ret[NET_PAIRS_MAX], struct error *e) must_use;

/* Takes the descriptors on success. */
int net_new(struct guest *guest, struct loop *loop, struct bus *bus,
	const struct net_options *options, struct virtio_device **ret, struct error *e) must_use;
