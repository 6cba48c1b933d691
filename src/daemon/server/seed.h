/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed.h - what is written into the tenant's system before its first start.
 */
#pragma once

#include "daemon/instance/instances.h"
#include "daemon/server/servers.h"

/* "100": 1 to 4094, or 0: it is none. */
uint32_t server_seed_vlan_read(const char *text);
/*
 * Where its server's card is put: `berth.vlan` of its project, else `user.vlan` of the instance, which only who is not
 * restricted to projects may set; 0: it stays where it is.
 */
uint32_t server_seed_vlan(const struct instance *instance);

/*
 * cloud-init's seed (data source NoCloud) and the keys of user.ssh-keys for root:
 * [{"mode": "0600", "path", "data"}]. A new array.
 */
json_t *server_seed_files(const struct instance *instance, const struct server *server) must_use;
