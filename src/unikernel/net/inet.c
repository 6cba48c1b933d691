/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet.c - addresses of IPv4 and IPv6 as a program writes them and as lwIP does.
 */
#include "unikernel/net/inet.h"

#include <lwip/def.h>
#include <lwip/netif.h>

/* As in the program's libc; lwIP's own names for the same are not included here. */
struct name4 {
	uint16_t family, port;
	uint8_t address[4];
	uint8_t reserved[8];
};

struct name6 {
	uint16_t family, port;
	uint32_t flow;
	uint8_t address[16];
	uint32_t scope;
};

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

int inet_from(int domain, const struct address *address, ip_addr_t *ret, uint16_t *ret_port)
{
	const struct name4 *four = (const void *)address->data;
	const struct name6 *six = (const void *)address->data;
	ip_addr_t found = {};
	if (address->bytes < sizeof(uint16_t))
		return -EINVAL;
	if (address->family == AF_INET && domain == AF_INET) {
		if (address->bytes < sizeof(*four))
			return -EINVAL;
		IP_SET_TYPE_VAL(found, IPADDR_TYPE_V4);
		memcpy(ip_2_ip4(&found), four->address, sizeof(four->address));
	} else if (address->family == AF_INET6 && domain == AF_INET6) {
		if (address->bytes < sizeof(*six) - sizeof(six->scope))
			return -EINVAL;
		if (memcmp(six->address, mapped, sizeof(mapped)) == 0) {
			IP_SET_TYPE_VAL(found, IPADDR_TYPE_V4);
			memcpy(ip_2_ip4(&found), six->address + sizeof(mapped), 4);
		} else {
			IP_SET_TYPE_VAL(found, IPADDR_TYPE_V6);
			memcpy(ip_2_ip6(&found)->addr, six->address, sizeof(six->address));
			if (ip6_addr_has_scope(ip_2_ip6(&found), IP6_UNKNOWN) &&
				address->bytes >= sizeof(*six) && six->scope)
				ip6_addr_set_zone(ip_2_ip6(&found), (uint8_t)six->scope);
			else if (ip6_addr_has_scope(ip_2_ip6(&found), IP6_UNKNOWN) && netif_default)
				ip6_addr_assign_zone(ip_2_ip6(&found), IP6_UNKNOWN, netif_default);
		}
	} else {
		return -EAFNOSUPPORT;
	}
	*ret = found;
	*ret_port = lwip_ntohs(four->port);
	return 0;
}

void inet_to(int domain, const ip_addr_t *address, uint16_t port, struct address *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (domain == AF_INET) {
		struct name4 *four = (void *)ret->data;
		ret->bytes = sizeof(*four);
		four->family = AF_INET;
		four->port = lwip_htons(port);
		if (IP_IS_V4(address))
			memcpy(four->address, ip_2_ip4(address), sizeof(four->address));
		return;
	}
	struct name6 *six = (void *)ret->data;
	ret->bytes = sizeof(*six);
	six->family = AF_INET6;
	six->port = lwip_htons(port);
	if (IP_IS_V4_VAL(*address)) {
		memcpy(six->address, mapped, sizeof(mapped));
		memcpy(six->address + sizeof(mapped), ip_2_ip4(address), 4);
	} else {
		memcpy(six->address, ip_2_ip6(address)->addr, sizeof(six->address));
		six->scope = ip6_addr_zone(ip_2_ip6(address));
	}
}

int inet_error(err_t error)
{
	switch (error) {
	case ERR_OK:
		return 0;
	case ERR_MEM:
	case ERR_BUF:
		return -ENOBUFS;
	case ERR_TIMEOUT:
		return -ETIMEDOUT;
	case ERR_RTE:
		return -ENETUNREACH;
	case ERR_INPROGRESS:
		return -EINPROGRESS;
	case ERR_WOULDBLOCK:
		return -EAGAIN;
	case ERR_USE:
		return -EADDRINUSE;
	case ERR_ALREADY:
		return -EALREADY;
	case ERR_ISCONN:
		return -EISCONN;
	case ERR_CONN:
		return -ENOTCONN;
	case ERR_ABRT:
		return -ECONNABORTED;
	case ERR_RST:
	case ERR_CLSD:
		return -ECONNRESET;
	default:
		return -EINVAL;
	}
}

bool inet_is_local(const ip_addr_t *address)
{
	const struct netif *netif;
	if (ip_addr_isloopback(address))
		return true;
	NETIF_FOREACH(netif)
	if (IP_IS_V4(address) && ip4_addr_cmp(ip_2_ip4(address), netif_ip4_addr(netif)))
		return true;
	return false;
}
