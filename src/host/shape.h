/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shape.h - holds an interface to a bandwidth in each direction, on the host's end of it.
 *
 * What the host sends into the interface waits in a token bucket of its own. What comes out of it can't
 * wait where it arrives, so it takes a detour by the shaper: one ifb device a daemon, on which each
 * limited interface has a class. A class costs no device, and is gone at once when it is deleted.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "host/netlink.h"

/* Bits a second on the wire; 0: not limited. */
struct shape_rates {
	uint64_t into_bits;   /* what the host sends into the interface */
	uint64_t out_of_bits; /* what comes out of it */
};

#define SHAPE_BITS_MIN UINT64_C(8000)
#define SHAPE_BITS_MAX UINT64_C(1000000000000)

/* Makes the shaper; nothing happens if it is there. -EOPNOTSUPP with what the kernel lacks. */
int shape_add_shaper(struct netlink *netlink, const char *shaper, struct error *e) must_use;

/*
 * Sets, changes or takes away the limits of an interface while it runs. `shaper` must be there if
 * `out_of_bits` is or was not 0, else it may be NULL. -EINVAL for a rate that is too small or too large.
 */
int shape_set(struct netlink *netlink, const char *link, const char *shaper,
	const struct shape_rates *rates, struct error *e) must_use;

/* Deletes what the shaper keeps of interfaces that are gone. */
int shape_sweep(struct netlink *netlink, const char *shaper, struct error *e) must_use;
