/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.c - the cards of running instances: their filters, limits and counters.
 */
#include "daemon/network/card.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/text.h"
#include "daemon/network/leave.h"
#include "daemon/network/metadata.h"
#include "daemon/service.h"
#include "host/nic.h"
#include "host/route.h"
#include "model/json.h"

static struct card *find_wanted(struct networks *networks, const struct network_card *wanted)
{
	return card_find(networks, wanted->project, wanted->instance, wanted->nic->device);
}

void card_set(struct card *card, const struct nic_device *nic)
{
	card->mac_filtering = nic->mac_filtering;
	card->ipv4_filtering = nic->ipv4_filtering;
	card->ipv6_filtering = nic->ipv6_filtering;
	card->port_isolation = nic->port_isolation;
	snprintf(card->name, sizeof(card->name), "%s", nic->name);
	card->rates = (struct shape_rates){ nic->ingress_bits, nic->egress_bits };
	card->mtu = nic->mtu;
}

static int check_rate(const char *device, const char *key, uint64_t bits, struct error *e)
{
	if (bits != 0 && (bits < SHAPE_BITS_MIN || bits > SHAPE_BITS_MAX))
		return error_set(
			e, -EINVAL, "devices.%s.%s: a limit is from 8kbit to 1Tbit", device, key);
	return 0;
}

int card_check_rates(const struct nic_device *nic, struct error *e)
{
	int r = check_rate(nic->device, "limits.ingress", nic->ingress_bits, e);
	return r < 0 ? r : check_rate(nic->device, "limits.egress", nic->egress_bits, e);
}

/* What the card may send: its leased addresses, and those that IPv6 derives from its interface address. */
static struct firewall_port port_of(const struct card *card)
{
	struct firewall_port port = {
		.link = card->host_name,
		.check_mac = card->mac_filtering,
		.check_ipv4 = card->ipv4_filtering,
		.check_ipv6 = card->ipv6_filtering,
	};
	memcpy(port.mac, card->mac, MAC_SIZE);
	if (card->ipv4.family)
		port.addresses[port.address_count++] = card->ipv4;
	if (card->ipv6.family)
		port.addresses[port.address_count++] = card->ipv6;
	/* A network of ours has the service, a bridge of the host's own has not. */
	port.has_metadata = card->network != NULL;
	port.metadata = card->ipv4;
	struct address local = { .family = AF_INET6, .prefix = 64, .bytes = { 0xfe, 0x80 } };
	port.addresses[port.address_count++] = address_from_mac(&local, card->mac);
	const struct network_family *family = card->network ? &card->network->config.ipv6 : NULL;
	if (family && family->address.family && family->address.prefix == 64) {
		struct address stateless = address_from_mac(&family->address, card->mac);
		if (address_compare(&stateless, &card->ipv6) != 0)
			port.addresses[port.address_count++] = stateless;
	}
	return port;
}

static int need_shaper(struct networks *networks, const struct card *card, struct error *e)
{
	if (card->rates.out_of_bits == 0 || networks->has_shaper)
		return 0;
	int r = shape_add_shaper(networks->route, networks->shaper, e);
	if (r == 0)
		networks->has_shaper = true;
	return r;
}

int card_attach(struct networks *networks, struct card *card, struct error *e)
{
	if (card->is_attached)
		return 0;
	if (!networks->route || !networks->firewall)
		return error_set(e, -EPERM, "networks can't be set up here: %s", networks->why_not);
	struct network *network = card->network;
	if (network && !network->is_up)
		return error_set(e, -EINVAL, "network \"%s\" is not up", network->name);
	if (network && network->attached >= LINK_BRIDGE_PORTS_MAX - NETWORK_INTERFACES_MAX)
		return error_set(e, -ENOSPC,
			"network \"%s\" has %zu running instances and a Linux bridge takes no more: "
			"use another network",
			network->name, network->attached);
	card->port = port_of(card);
	int r = need_shaper(networks, card, e);
	if (r == 0)
		r = firewall_add_port(networks->firewall, &card->port, e);
	if (r < 0)
		return r;
	card->is_attached = true;
	networks->attached_count++;
	if (network) {
		network->attached++;
		metadata_start(networks, network);
	}
	return 0;
}

int network_card_attach(struct service *service, const struct network_card *wanted, struct error *e)
{
	struct card *card = find_wanted(service->networks, wanted);
	if (!card)
		return error_set(e, -ENOENT, "devices.%s: has no lease", wanted->nic->device);
	if (card->is_attached)
		return network_card_update(service, wanted, e);
	card_set(card, wanted->nic);
	int r = card_attach(service->networks, card, e);
	return r < 0 ? error_prefix(e, r, "devices.%s", wanted->nic->device) : 0;
}

json_t *network_card_plan(const struct network_lease *lease, const struct nic_device *nic)
{
	return json_pack("{s:s,s:s,s:s,s:b,s:I,s:I}", "name", lease->host_name, "bridge",
		lease->bridge, "shaper", lease->shaper, "isolated", nic->port_isolation,
		"into_bits", (json_int_t)nic->ingress_bits, "out_of_bits",
		(json_int_t)nic->egress_bits);
}

/* The host's end as it is to be. */
static struct nic nic_of(const struct networks *networks, const struct card *card)
{
	return (struct nic){
		.host = card->host_name,
		.bridge = card->bridge,
		.shaper = networks->shaper,
		.mac = card->mac,
		.mtu = card->mtu
			?: card->network ? card->network->config.mtu
					 : 0,
		.is_isolated = card->port_isolation,
		.rates = card->rates,
	};
}

static int set_up(struct netlink *netlink, const char *name, const char *text,
	const char *gateway_text, struct error *e)
{
	struct address address, gateway;
	if (!text[0])
		return 0;
	if (address_parse_cidr(text, &address) < 0)
		return error_set(e, -EINVAL, "address %s: is none", text);
	int r = route_add_address(netlink, name, &address, e);
	if (r < 0 || address_parse(gateway_text, &gateway) < 0)
		return r;
	struct address all = { .family = gateway.family };
	return route_add(netlink, name, &all, &gateway, e);
}

static int plug(struct networks *networks, const struct card *card, const char *name,
	const struct network_lease *lease, pid_t pid, struct error *e)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	cleanup(close) int netns = open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return error_errno(e, "open %s", path);
	cleanup(netlink_close) struct netlink *inside = NULL;
	struct nic nic = nic_of(networks, card);
	int r = netlink_open_in(netns, NETLINK_ROUTE, &inside, e);
	if (r == 0)
		r = nic_make_veth(networks->route, &nic, netns, name, e);
	if (r < 0)
		return r;
	r = link_set_up(inside, name, true, e);
	if (r == 0)
		r = set_up(inside, name, lease->ipv4, lease->ipv4_gateway, e);
	if (r == 0)
		r = set_up(inside, name, lease->ipv6, lease->ipv6_gateway, e);
	if (r < 0)
		(void)!link_delete(networks->route, card->host_name, NULL);
	return r;
}

int network_card_plug(struct service *service, const struct network_card *wanted,
	const struct network_lease *lease, pid_t pid, struct error *e)
{
	const struct nic_device *nic = wanted->nic;
	const struct card *card = find_wanted(service->networks, wanted);
	if (!card || !card->is_attached)
		return error_set(e, -ENOENT, "devices.%s: is not attached", nic->device);
	int r = plug(service->networks, card, nic->name, lease, pid, e);
	return r < 0 ? error_prefix(e, r, "devices.%s", nic->device) : 0;
}

void network_cards_attached(struct service *service, const char *project, const char *instance,
	network_card_call *call, void *data)
{
	struct card *next;
	for (struct card *card = cards_of(service->networks, project, instance); card;
		card = next) {
		next = card->next[CARD_BY_OWNER];
		if (card->is_attached && text_equal(card->project, project) &&
			text_equal(card->instance, instance))
			call(data, card->device);
	}
}

int network_card_tap(struct service *service, const struct network_card *wanted, uint32_t queues,
	int *ret, struct error *e)
{
	struct networks *networks = service->networks;
	struct card *card = find_wanted(networks, wanted);
	if (!card || !card->is_attached)
		return error_set(e, -ENOENT, "devices.%s: is not attached", wanted->nic->device);
	struct nic nic = nic_of(networks, card);
	int r = nic_make_tap(networks->route, &nic, queues, ret, e);
	return r < 0 ? error_prefix(e, r, "devices.%s", wanted->nic->device) : 0;
}

static bool is_same(const struct firewall_port *a, const struct firewall_port *b)
{
	bool is_so = a->has_metadata == b->has_metadata &&
		address_compare(&a->metadata, &b->metadata) == 0 && a->check_mac == b->check_mac &&
		a->check_ipv4 == b->check_ipv4 && a->check_ipv6 == b->check_ipv6 &&
		a->address_count == b->address_count && memcmp(a->mac, b->mac, MAC_SIZE) == 0;
	for (size_t i = 0; is_so && i < a->address_count; i++)
		is_so = address_compare(&a->addresses[i], &b->addresses[i]) == 0;
	return is_so;
}

static int update_filters(struct networks *networks, struct card *card, struct error *e)
{
	struct firewall_port port = port_of(card);
	if (is_same(&port, &card->port))
		return 0;
	int r = firewall_replace_port(networks->firewall, &card->port, &port, e);
	if (r == 0)
		card->port = port;
	return r;
}

int network_card_update(struct service *service, const struct network_card *wanted, struct error *e)
{
	struct networks *networks = service->networks;
	const struct nic_device *nic = wanted->nic;
	struct card *card = find_wanted(networks, wanted);
	int r = card_check_rates(nic, e);
	if (r < 0)
		return r;
	if (!card || !card->is_attached)
		return error_set(e, -ENOENT, "devices.%s: is not attached", nic->device);
	struct shape_rates before = card->rates;
	bool was_isolated = card->port_isolation;
	card_set(card, nic);
	r = update_filters(networks, card, e);
	if (r == 0)
		r = need_shaper(networks, card, e);
	bool is_limited = before.into_bits != card->rates.into_bits ||
		before.out_of_bits != card->rates.out_of_bits;
	if (r == 0 && is_limited)
		r = shape_set(networks->route, card->host_name,
			networks->has_shaper ? networks->shaper : NULL, &card->rates, e);
	/* Between its attachment and its start a card has no interface; the runner will make it so. */
	if (r == -ENODEV)
		r = 0;
	if (r == 0 && was_isolated != card->port_isolation) {
		struct link_port port = { .is_isolated = card->port_isolation };
		r = link_set_port(networks->route, card->host_name, &port, e);
	}
	return r < 0 ? error_prefix(e, r, "devices.%s", nic->device) : 0;
}

void card_detach(struct networks *networks, struct card *card, bool is_running)
{
	if (!card->is_attached)
		return;
	if (is_running)
		(void)!link_delete(networks->route, card->host_name, NULL);
	leaving_add(networks, card);
	card->is_attached = false;
	networks->attached_count--;
	if (card->network)
		card->network->attached--;
}

void network_card_detach(struct service *service, const char *project, const char *instance,
	const char *device, bool is_running)
{
	struct card *card = card_find(service->networks, project, instance, device);
	if (card)
		card_detach(service->networks, card, is_running);
}

int network_card_counters(struct service *service, const char *project, const char *instance,
	const char *device, struct link_counters *ret, struct error *e)
{
	struct networks *networks = service->networks;
	struct card *card = card_find(networks, project, instance, device);
	struct link_info link;
	if (!card || !card->is_attached || !networks->route)
		return error_set(e, -ENODEV, "device %s has no interface", device);
	int r = link_get(networks->route, card->host_name, &link, e);
	if (r == 0)
		*ret = link.counters;
	return r;
}
