/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vlan.h - in which network a server is: the provisioning one, or its owner's VLAN.
 *
 * `switch.driver` and `switch.port` of a server's config say where its card is plugged in; without them it stays
 * where it is. Its owner's VLAN is `user.vlan` of the instance.
 */
#pragma once

#include "daemon/server/servers.h"
#include "daemon/server/switch.h"

/* Refuses a driver or a port that can't be. */
int server_switch_check(const json_t *config, struct error *e) must_use;

/*
 * Puts the server's port into the VLAN, 0: the provisioning network. `done` at once if it has none, or if it is there
 * already, else later. The call's own failure comes to `done`, too.
 */
void server_switch_set(struct server *server, uint32_t vlan, switch_done *done, void *data);
