/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interfaces.c - what programs can find out about interfaces and name servers.
 */
#include "unikernel/net/interfaces.h"

#include <lwip/netif.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include "unikernel/net/card.h"
#include "unikernel/path.h"
#include "unikernel/writer.h"

static void (*wait_address)(void);
static uint8_t name_servers[BOOT_DNS][16];

static void write_server(struct writer *w, const uint8_t *server)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	writer_put(w, "nameserver ");
	if (memcmp(server, mapped, sizeof(mapped)) == 0) {
		writer_put(w, "$.$.$.$\n", (uint64_t)server[12], (uint64_t)server[13],
			(uint64_t)server[14], (uint64_t)server[15]);
		return;
	}
	for (int i = 0; i < 16; i += 2)
		writer_put(w, i < 14 ? "#:" : "#\n", (uint64_t)(server[i] << 8 | server[i + 1]));
}

static int64_t generate_resolver(struct node *node, char *to, uint64_t size)
{
	static const uint8_t none[16];
	struct writer writer = { to, size, 0 };
	(void)node;
	wait_address();
	for (uint32_t i = 0; i < BOOT_DNS; i++)
		if (memcmp(name_servers[i], none, sizeof(none)) != 0)
			write_server(&writer, name_servers[i]);
	return (int64_t)writer.length;
}

void interfaces_set_servers(const uint8_t servers[][16], uint32_t count)
{
	memset(name_servers, 0, sizeof(name_servers));
	memcpy(name_servers, servers, (count < BOOT_DNS ? count : BOOT_DNS) * sizeof(servers[0]));
}

int interfaces_make_resolver(void (*wait)(void))
{
	struct place place;
	struct node *node;
	wait_address = wait;
	int r = path_walk(path_root, "/etc", true, &place);
	if (r == 0 && !place.node)
		r = path_make(&place, S_IFDIR | 0755, &node);
	if (r == 0)
		r = path_walk(path_root, "/etc/resolv.conf", false, &place);
	if (r < 0)
		return r == -ENOSPC ? -ENOMEM : 0;
	if (place.entry) /* a link to what is not here, or what the image's maker was told */
		node_unlink(place.directory, place.entry);
	r = path_make(&place, S_IFREG | 0644, &node);
	if (r < 0)
		return -ENOMEM;
	node->generate = generate_resolver;
	return 0;
}

/* Loopback is the first, as on Linux; the card is eth0. */
static struct netif *netif_at(int index)
{
	struct netif *netif;
	if (index == 2)
		return net_has_card ? &net_card : NULL;
	NETIF_FOREACH(netif)
	if (index == 1 && netif != &net_card)
		return netif;
	return NULL;
}

static const char *name_of(int index)
{
	return index == 1 ? "lo" : "eth0";
}

static int find_name(const char *name)
{
	for (int i = 1; i <= 2; i++)
		if (netif_at(i) && text_is(name, name_of(i)))
			return i;
	return 0;
}

static void set_address(struct sockaddr *to, uint32_t address)
{
	memset(to, 0, sizeof(*to));
	to->sa_family = AF_INET;
	memcpy(to->sa_data + 2, &address, sizeof(address));
}

static int64_t list_interfaces(struct ifconf *list)
{
	struct ifreq *to = list->ifc_req;
	uint64_t room = (uint64_t)list->ifc_len / sizeof(*to), count = 0;
	for (int i = 1; i <= 2; i++) {
		const struct netif *netif = netif_at(i);
		if (!netif || ip4_addr_isany(netif_ip4_addr(netif)))
			continue;
		if (to && count == room)
			break;
		if (to) {
			memset(&to[count], 0, sizeof(*to));
			memcpy(to[count].ifr_name, name_of(i), strlen(name_of(i)));
			set_address(&to[count].ifr_addr, netif_ip4_addr(netif)->addr);
		}
		count++;
	}
	list->ifc_len = (int)(count * sizeof(*to));
	return 0;
}

static int64_t tell(const struct netif *netif, int index, uint64_t request, struct ifreq *to)
{
	uint32_t address = netif_ip4_addr(netif)->addr, mask = netif_ip4_netmask(netif)->addr;
	switch (request) {
	case SIOCGIFADDR:
		if (!address)
			return -EADDRNOTAVAIL;
		set_address(&to->ifr_addr, address);
		return 0;
	case SIOCGIFNETMASK:
		set_address(&to->ifr_netmask, mask);
		return 0;
	case SIOCGIFBRDADDR:
		set_address(&to->ifr_broadaddr, address | ~mask);
		return 0;
	case SIOCGIFFLAGS:
		to->ifr_flags = index == 1 ? IFF_UP | IFF_LOOPBACK | IFF_RUNNING
					   : IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST;
		return 0;
	case SIOCGIFMTU:
		to->ifr_mtu = index == 1 ? 65535 : netif->mtu;
		return 0;
	case SIOCGIFINDEX:
		to->ifr_ifindex = index;
		return 0;
	case SIOCGIFMETRIC:
		to->ifr_metric = 0;
		return 0;
	case SIOCGIFTXQLEN:
		to->ifr_qlen = 1000;
		return 0;
	case SIOCGIFHWADDR:
		memset(&to->ifr_hwaddr, 0, sizeof(to->ifr_hwaddr));
		to->ifr_hwaddr.sa_family = index == 1 ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
		if (index == 2)
			memcpy(to->ifr_hwaddr.sa_data, netif->hwaddr, 6);
		return 0;
	default:
		return -ENOTTY;
	}
}

int64_t net_ioctl(uint64_t request, uint64_t argument)
{
	struct ifreq *to = at(argument);
	if (request < SIOCGIFNAME || request > 0x89ff)
		return -ENOTTY;
	if (request == SIOCGIFCONF)
		return list_interfaces(at(argument));
	if (request == SIOCGIFNAME) {
		int number = to->ifr_ifindex;
		if (number < 1 || number > 2 || !netif_at(number))
			return -ENODEV;
		memset(to->ifr_name, 0, sizeof(to->ifr_name));
		memcpy(to->ifr_name, name_of(number), strlen(name_of(number)));
		return 0;
	}
	int index = find_name(to->ifr_name);
	const struct netif *netif = netif_at(index);
	if (!netif)
		return -ENODEV;
	if (wait_address)
		wait_address();
	return tell(netif, index, request, to);
}

static void write_devices(struct writer *w)
{
	writer_put(w,
		"Inter-|   Receive                                                |  Transmit\n"
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets "
		"errs drop fifo colls carrier compressed\n");
	for (int i = 1; i <= 2; i++)
		if (netif_at(i))
			writer_put(w, "@: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", name_of(i));
}

/* Eight hexadecimal digits in capitals, the lowest byte of the address last, as the kernel prints it. */
static void write_word(struct writer *w, uint32_t value)
{
	char digits[9] = {};
	for (int i = 0; i < 8; i++)
		digits[i] = "0123456789ABCDEF"[value >> (28 - 4 * i) & 15];
	writer_put(w, "@", digits);
}

static void write_route(struct writer *w, uint32_t to, uint32_t gateway, uint32_t mask)
{
	writer_put(w, "eth0\t");
	write_word(w, to);
	writer_put(w, "\t");
	write_word(w, gateway);
	writer_put(w, gateway ? "\t0003\t0\t0\t0\t" : "\t0001\t0\t0\t0\t");
	write_word(w, mask);
	writer_put(w, "\t0\t0\t0\n");
}

static void write_routes(struct writer *w)
{
	writer_put(w,
		"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n");
	if (!net_has_card)
		return;
	uint32_t address = netif_ip4_addr(&net_card)->addr,
		 mask = netif_ip4_netmask(&net_card)->addr;
	if (netif_ip4_gw(&net_card)->addr)
		write_route(w, 0, netif_ip4_gw(&net_card)->addr, 0);
	if (address)
		write_route(w, address & mask, 0, mask);
}

static void write_address6(struct writer *w, const struct netif *netif, int index)
{
	for (int i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++) {
		if (!ip6_addr_isvalid(netif_ip6_addr_state(netif, i)))
			continue;
		const uint8_t *bytes = (const uint8_t *)netif_ip6_addr(netif, i)->addr;
		for (int k = 0; k < 16; k++) {
			writer_put(w, "#", (uint64_t)bytes[k] >> 4);
			writer_put(w, "#", (uint64_t)bytes[k] & 15);
		}
		writer_put(w,
			index == 1       ? " 01 80 10 80       lo\n"
				: i == 0 ? " 02 40 20 80     eth0\n"
					 : " 02 40 00 80     eth0\n");
	}
}

int64_t net_proc(const char *name, char *to, uint64_t size)
{
	struct writer writer = { to, size, 0 };
	if (text_is(name, "dev"))
		write_devices(&writer);
	else if (text_is(name, "route"))
		write_routes(&writer);
	else if (text_is(name, "if_inet6"))
		for (int i = 1; i <= 2; i++)
			if (netif_at(i))
				write_address6(&writer, netif_at(i), i);
	return (int64_t)writer.length;
}
