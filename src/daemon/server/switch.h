/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch.h - the contract of a network switch: in which VLAN a server's port is.
 *
 * A driver (switch_openvswitch.c) carries it out; vlan.c says when.
 */
#pragma once

#include "daemon/service.h"

typedef void switch_done(void *data, int code, const struct error *e);

struct switch_driver {
	const char *name;
	/* Checks what names a port. -EINVAL with a text that does not name the key. */
	int (*check)(const char *port, struct error *e);
	/*
	 * Puts the port into one VLAN, untagged; 0: none, the provisioning network's. `done` once, never before this
	 * returned. What was set is read back by whoever sets it.
	 */
	int (*set)(struct service *service, const char *port, uint32_t vlan, switch_done *done,
		void *data, struct error *e);
};
