/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nic.h - makes the host's end of an instance's network card and what it hangs on.
 *
 * A container's runner makes its own, with the other end already in the instance's network namespace: to
 * move an interface from one namespace to another takes 16 to 20 ms of waiting, to make it there nothing.
 * It goes with that namespace.
 */
#pragma once

#include "host/link.h"
#include "host/shape.h"

struct nic {
	const char *host;   /* the name of the host's end */
	const char *bridge; /* that it joins; NULL: none */
	const char *shaper; /* needed if there is a limit on what comes out of the instance */
	const uint8_t *mac; /* of the instance's end */
	uint32_t mtu;       /* 0: 1500 */
	bool is_isolated;   /* from the other isolated ports of the bridge */
	struct shape_rates rates;
};

/*
 * Makes a veth pair of which the other end is `name` in the namespace `netns` (a descriptor), down.
 * Nothing is left of it if it fails.
 */
int nic_make_veth(struct netlink *netlink, const struct nic *nic, int netns, const char *name,
	struct error *e) must_use;

/* Makes a tap with `queues` descriptors in `ret`, which the caller closes. */
int nic_make_tap(struct netlink *netlink, const struct nic *nic, uint32_t queues, int *ret,
	struct error *e) must_use;
