/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_port.c - whether DNS can be served at a network's addresses.
 *
 * They are not on an interface yet, so the sockets are bound to what is none of this host's; they are closed at once.
 */
#include "daemon/network/dns_port.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/file.h"

#define DNS_PORT 53

/* As dnsmasq binds it. What else can go wrong is left to dnsmasq. */
static bool is_taken(const struct address *address, int type)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(DNS_PORT) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(DNS_PORT) };
	bool is_four = address->family == AF_INET;
	const int yes = 1;
	cleanup(close) int fd = socket(address->family, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	memcpy(is_four ? (void *)&four.sin_addr : &six.sin6_addr, address->bytes,
		address_size(address));
	(void)!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (is_four)
		(void)!setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &yes, sizeof(yes));
	else
		(void)!(setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &yes, sizeof(yes)) |
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)));
	return bind(fd, is_four ? (const void *)&four : &six,
		       is_four ? sizeof(four) : sizeof(six)) < 0 &&
		errno == EADDRINUSE;
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
