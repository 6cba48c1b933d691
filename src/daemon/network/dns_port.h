/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_port.h - whether DNS can be served at a network's addresses.
 */
#pragma once

#include "base/error.h"
#include "model/network.h"

/*
 * -EBUSY with the field if another program of this host has port 53 of an address, or of all addresses. `before` is what is served
 * now, or NULL.
 */
int dns_port_check(const struct network_config *config, const struct network_config *before,
	struct error *e) must_use;
