/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nat.h - what the packet filter forwards for single instances: their proxies with `nat`.
 *
 * Nothing is stored: who runs says it anew to each daemon.
 */
#pragma once

#include "daemon/network/table.h"

/*
 * What is forwarded for that instance is these from now on; others of its go. -EEXIST if a port is forwarded
 * elsewhere: nothing has changed then.
 */
int network_nat_set(struct service *service, const char *project, const char *instance,
	const struct firewall_forward *rules, size_t count, struct error *e) must_use;

/* The network within which an address stands, or NULL. */
const struct network *network_of_address(struct service *service, const struct address *address);

void network_nats_free(struct networks *networks);
