/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stack.c - lwIP's start, its addresses and its turn to run.
 */

#include "unikernel/net/net.h"

#include <lwip/dhcp.h>
#include <lwip/dns.h>
#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>

#include "unikernel/descriptors.h"
#include "unikernel/devices.h"
#include "unikernel/heap.h"
#include "unikernel/net/card.h"
#include "unikernel/net/clock.h"
#include "unikernel/net/interfaces.h"
#include "unikernel/net/tcp_acks.h"
#include "unikernel/node.h"
#include "unikernel/path.h"

#define ADDRESS_WAIT_NS UINT64_C(10000000000)
#define DRAIN_NS        UINT64_C(2000000000)

static bool wants_dhcp, takes_servers;
static bool was_waited_for;
static struct boot_net given;
static uint8_t known_servers[BOOT_DNS][16];
static ip6_addr_t gateway6;
static char host_name[BOOT_HOST_NAME + 1];

void *net_alloc(unsigned long bytes)
{
	return heap_alloc_raw(bytes);
}

void *net_alloc_zeroed(unsigned long count, unsigned long bytes)
{
	return heap_alloc(count * bytes);
}

void net_free(void *pointer)
{
	heap_free(pointer);
}

uint32_t net_random(void)
{
	uint32_t value;
	devices_random(&value, sizeof(value));
	return value;
}

unsigned int net_first_sequence(void)
{
	return net_random();
}

const struct ip6_addr *net_gateway6(struct netif *netif, const struct ip6_addr *to)
{
	(void)to;
	return netif == &net_card && !ip6_addr_isany(&gateway6) ? &gateway6 : NULL;
}

static void add_address6(const struct boot_net *net)
{
	ip6_addr_t address;
	memcpy(gateway6.addr, net->gateway6, sizeof(net->gateway6));
	ip6_addr_assign_zone(&gateway6, IP6_UNICAST, &net_card);
	s8_t index;
	memcpy(address.addr, net->address6, sizeof(net->address6));
	ip6_addr_clear_zone(&address);
	if (netif_add_ip6_address(&net_card, &address, &index) == ERR_OK)
		netif_ip6_addr_set_state(&net_card, index, IP6_ADDR_PREFERRED);
}

static void set_addresses(const struct boot_net *net)
{
	ip4_addr_t address, mask, gateway;
	if (net->prefix4) {
		memcpy(&address, net->address4, sizeof(address));
		memcpy(&gateway, net->gateway4, sizeof(gateway));
		mask.addr = lwip_htonl(~UINT32_C(0) << (32 - net->prefix4));
		netif_set_addr(&net_card, &address, &mask, &gateway);
	} else if (!(net->flags & BOOT_NET_NO_IP4)) {
		wants_dhcp = dhcp_start(&net_card) == ERR_OK;
	}
	if (net->flags & BOOT_NET_NO_IP6)
		return;
	netif_create_ip6_linklocal_address(&net_card, 1);
	netif_ip6_addr_set_state(&net_card, 0, IP6_ADDR_PREFERRED);
	net_card.ip6_autoconfig_enabled = !net->prefix6;
	if (net->prefix6)
		add_address6(net);
}

const char *net_host_name(void)
{
	return host_name[0] ? host_name : "unikernel";
}

static int start_card(const struct boot *boot)
{
	int r = card_init(boot);
	if (r < 0)
		return r;
	given = boot->net;
	net_card.hostname = net_host_name();
	netif_set_default(&net_card);
	netif_set_up(&net_card);
	set_addresses(&boot->net);
	/* Servers that were given are not replaced by what others say. */
	takes_servers = memcmp(boot->net.dns, known_servers, sizeof(known_servers)) == 0;
	interfaces_set_servers(boot->net.dns, BOOT_DNS);
	return !takes_servers || wants_dhcp ? interfaces_make_resolver(net_wait_address) : 0;
}

static void move(bool takes_frames);

int net_init(const struct boot *boot)
{
	struct netif *loop;
	memcpy(host_name, boot->net.host_name, BOOT_HOST_NAME);
	lwip_init();
	NETIF_FOREACH(loop)
	loop->chksum_flags = NETIF_CHECKSUM_DISABLE_ALL;
	int r = boot->flags & BOOT_NET ? start_card(boot) : 0;
	thread_set_device_poll(move);
	return r;
}

static err_t send_nothing(struct netif *netif, struct pbuf *p)
{
	(void)netif;
	(void)p;
	return ERR_OK;
}

/* Its connections end with its addresses; what listens goes on. */
static void stop_card(void)
{
	/* The lease may be another one's now, who goes on with it. */
	net_card.linkoutput = send_nothing;
	dhcp_release_and_stop(&net_card);
	dhcp_cleanup(&net_card);
	netif_remove(&net_card);
	card_done();
	wants_dhcp = false;
}

/* Whether it is the card that was there, with the addresses it had. */
static bool is_same_card(const struct boot *boot)
{
	return memcmp(net_card.hwaddr, boot->net.mac, sizeof(boot->net.mac)) == 0 &&
		memcmp(&given, &boot->net, sizeof(given)) == 0;
}

int net_plug(const struct boot *boot)
{
	bool is_wanted = (boot->flags & BOOT_NET) != 0;
	memcpy(host_name, boot->net.host_name, BOOT_HOST_NAME);
	if (is_wanted && net_has_card && is_same_card(boot)) {
		card_set_offload(boot);
		if (dhcp_supplied_address(&net_card))
			dhcp_network_changed(&net_card); /* asks whether the lease still holds */
		else if (!ip4_addr_isany(netif_ip4_addr(&net_card)))
			etharp_gratuitous(&net_card);
		return 0;
	}
	if (net_has_card)
		stop_card();
	return is_wanted ? start_card(boot) : 0;
}

/* What leases and routers say of name servers goes to where the program's libc looks. */
static void take_servers(void)
{
	uint8_t servers[BOOT_DNS][16] = {};
	for (uint8_t i = 0; i < BOOT_DNS; i++) {
		const ip_addr_t *server = dns_getserver(i);
		if (ip_addr_isany(server))
			continue;
		if (IP_IS_V6(server)) {
			memcpy(servers[i], ip_2_ip6(server)->addr, sizeof(servers[i]));
			continue;
		}
		servers[i][10] = servers[i][11] = 0xff;
		memcpy(servers[i] + 12, ip_2_ip4(server), 4);
	}
	if (memcmp(servers, known_servers, sizeof(servers)) == 0)
		return;
	memcpy(known_servers, servers, sizeof(servers));
	interfaces_set_servers(known_servers, BOOT_DNS);
}

static void move(bool takes_frames)
{
	struct netif *netif;
	tcp_acks_flush();
	bool has_received = takes_frames && net_has_card && card_receive();
	/* What an interface sends to itself was never on a wire: nothing of it is checked. */
	net_card.chksum_flags &= 0xff;
	NETIF_FOREACH(netif)
	netif_poll(netif);
	clock_run(net_has_card);
	if (net_has_card)
		card_flush();
	if (!has_received)
		return;
	if (wants_dhcp && dhcp_supplied_address(&net_card))
		wants_dhcp = false;
	if (takes_servers)
		take_servers();
}

void net_poll(void)
{
	move(true);
}

static void expire_nothing(struct timer *timer)
{
	(void)timer;
}

/* Lets other threads and the network go on for a moment. */
static void pass_time(uint64_t until_ns)
{
	struct timer timer = { .expire = expire_nothing };
	timer_set(&timer, until_ns);
	(void)platform_wait(timer_first(), false);
	timer_cancel(&timer);
	timer_run();
	net_poll();
}

void net_wait_address(void)
{
	uint64_t end = platform_clock_monotonic() + ADDRESS_WAIT_NS;
	if (!wants_dhcp || was_waited_for)
		return;
	while (wants_dhcp && platform_clock_monotonic() < end)
		pass_time(end);
	was_waited_for = true;
}

static bool has_unsent(void)
{
	for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next)
		if (pcb->unsent || pcb->unacked)
			return true;
	return false;
}

void net_drain(void)
{
	uint64_t end = platform_clock_monotonic() + DRAIN_NS;
	for (uint64_t i = descriptor_end(); i-- > 0;)
		if (descriptor_file(i))
			(void)descriptor_close(i);
	net_poll();
	while (has_unsent() && platform_clock_monotonic() < end)
		pass_time(end);
}
