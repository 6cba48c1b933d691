/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge.h - a network on this host: brought up as its config says, and taken away.
 */
#pragma once

#include "daemon/network/table.h"

/* Makes the network be on this host, as its config says; what is there is made to fit. */
int network_up(struct networks *networks, struct network *network, struct error *e) must_use;
/* Removes it from the host. */
void network_down(struct networks *networks, struct network *network);
/* A subnet that no route, address or other network of this host has. */
int network_choose_subnets(struct networks *networks, const struct network *network,
	struct network_config *config, struct error *e) must_use;
/* Chosen addresses are written into the config where it said "auto". */
void network_write_config(json_t *config, const struct network_config *read);
