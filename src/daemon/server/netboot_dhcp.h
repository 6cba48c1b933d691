/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netboot_dhcp.h - the dnsmasq of the provisioning network.
 */
#pragma once

#include "daemon/service.h"

struct netboot_dhcp;

struct netboot_dhcp_options {
	const char *interface;
	const char *first, *last, *mask; /* for those that are not known */
	const char *url;                 /* "http://10.77.0.1:8470" */
	bool has_discovery;              /* who is not known gets an address */
};

/* Makes DIR/metal, starts it, and again whenever it ends. */
int netboot_dhcp_start(struct service *service, const struct netboot_dhcp_options *options,
	struct netboot_dhcp **ret, struct error *e) must_use;
/* A host was taken away: it reads anew by itself only what is added. */
void netboot_dhcp_tell(const struct netboot_dhcp *dhcp);
void netboot_dhcp_stop(struct netboot_dhcp *dhcp);
