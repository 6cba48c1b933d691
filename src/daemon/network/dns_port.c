/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_port.c - whether DNS can be served at a network's addresses.
 *
 * They are not on an interface yet.
 */
#include "daemon/network/dns_port.h"

#include <errno.h>
#include <sys/socket.h>

#include "daemon/network/port_try.h"

#define DNS_PORT 53

/* As dnsmasq binds it. What else can go wrong is left to dnsmasq. */
static bool is_taken(const struct address *address, int type)
{
	return port_try(address, DNS_PORT, type, true) == -EADDRINUSE;
}

static int check(const struct address *address, const struct address *served, const char *field,
	struct error *e)
{
	char text[ADDRESS_TEXT];
	if (!address->family || (served && address_compare(address, served) == 0) ||
		(!is_taken(address, SOCK_DGRAM) && !is_taken(address, SOCK_STREAM)))
		return 0;
	return error_set(e, -EBUSY,
		"config.%s.address: another program of this host serves port 53 of %s; end it, choose "
		"another address, or set dns.mode=none",
		field, address_format(address, text));
}

int dns_port_check(
	const struct network_config *config, const struct network_config *before, struct error *e)
{
	bool was_served = before && before->dns != NETWORK_DNS_NONE;
	if (config->dns == NETWORK_DNS_NONE)
		return 0;
	int r = check(&config->ipv4.address, was_served ? &before->ipv4.address : NULL, "ipv4", e);
	return r < 0 ? r
		     : check(&config->ipv6.address, was_served ? &before->ipv6.address : NULL,
			       "ipv6", e);
}
