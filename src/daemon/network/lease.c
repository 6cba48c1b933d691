/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.c - which addresses the card of an instance has, chosen or asked for, and its names.
 *
 * A wish is what a card is to be; it is made and checked before anything changes.
 */
#include "daemon/network/lease.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/projects.h"
#include "daemon/service.h"

#define MAC_TRIES 1000

/* What a card is to be, before it is. */
struct wish {
	struct network *network; /* NULL: `bridge` is the host's */
	uint8_t mac[MAC_SIZE];
	struct address ipv4, ipv6;
};

struct search {
	struct networks *networks;
	const struct network *network;
	const struct card *but;
};

static bool is_address_taken(void *data, const struct address *address)
{
	const struct search *search = data;
	return card_find_address(search->networks, search->network, address, search->but) != NULL;
}

static uint64_t seed_of(const struct networks *networks, const struct network_card *wanted)
{
	uint64_t hash = network_hash(0, networks->service->id);
	hash = network_hash(hash, wanted->project);
	hash = network_hash(hash, wanted->instance);
	return network_hash(hash, wanted->nic->device);
}

static bool is_set(const char *text)
{
	return text && text[0];
}

static int wish_mac(struct networks *networks, const struct network_card *wanted,
	const struct card *but, struct wish *wish, struct error *e)
{
	const char *device = wanted->nic->device;
	const char *text = is_set(wanted->nic->hwaddr) ? wanted->nic->hwaddr : wanted->hwaddr;
	uint64_t seed = seed_of(networks, wanted);
	if (is_set(text)) {
		if (mac_parse(text, wish->mac) < 0)
			return error_set(e, -EINVAL, "devices.%s.hwaddr: \"%s\" is no address",
				device, text);
		const struct card *other = card_find_mac(networks, wish->network, wish->mac, but);
		if (other)
			return error_set(e, -EEXIST, "devices.%s.hwaddr: %s is that of instance %s",
				device, text, other->instance);
		return 0;
	}
	memcpy(wish->mac, (uint8_t[]){ 0x00, 0x16, 0x3e }, 3);
	for (int i = 0; i < MAC_TRIES; i++, seed = network_hash(seed, "")) {
		memcpy(wish->mac + 3, &seed, 3);
		if (!card_find_mac(networks, wish->network, wish->mac, but))
			return 0;
	}
	return error_set(e, -ENOSPC, "devices.%s.hwaddr: no free one was found", device);
}

/* With or without its prefix; the prefix becomes the network's. */
static int read_address(
	const char *text, const struct network_family *family, int number, struct address *ret)
{
	struct address address;
	int r = strchr(text, '/') ? address_parse_cidr(text, &address)
				  : address_parse(text, &address);
	if (r < 0 || address.family != number)
		return -EINVAL;
	if (family)
		address.prefix = family->address.prefix;
	*ret = address;
	return 0;
}

static int check_address(const struct search *search, const struct network_family *family,
	const struct address *address, struct error *e)
{
	char text[ADDRESS_TEXT];
	struct address first = address_network(&family->address);
	struct address last = address_last(&family->address);
	address_format(address, text);
	if (!address_is_in(address, &family->address))
		return error_set(
			e, -EINVAL, "%s is not in the network %s", text, search->network->name);
	if (address_compare(address, &family->address) == 0)
		return error_set(e, -EINVAL, "%s is the network's gateway", text);
	if (address_compare(address, &first) == 0 ||
		(address->family == AF_INET && address_compare(address, &last) == 0))
		return error_set(e, -EINVAL, "%s is no host's address", text);
	const struct card *other =
		card_find_address(search->networks, search->network, address, search->but);
	if (other)
		return error_set(e, -EEXIST, "%s is that of instance %s", text, other->instance);
	return 0;
}

/* What the user asked for, then what it had, then what is chosen. */
static int wish_address(const struct search *search, const struct network_card *wanted, int number,
	const struct wish *wish, struct address *ret, struct error *e)
{
	bool four = number == AF_INET;
	const char *asked = four ? wanted->nic->ipv4 : wanted->nic->ipv6;
	const char *had = four ? wanted->ipv4 : wanted->ipv6;
	const struct network_family *family =
		four ? &search->network->config.ipv4 : &search->network->config.ipv6;
	if (text_equal(asked, "none"))
		return 0;
	if (is_set(asked)) {
		if (!family->address.family)
			return error_set(e, -EINVAL, "the network %s has no IPv%c",
				search->network->name, four ? '4' : '6');
		if (read_address(asked, family, number, ret) < 0)
			return error_set(e, -EINVAL, "\"%s\" is no address", asked);
		return check_address(search, family, ret, e);
	}
	if (!family->address.family)
		return 0;
	if (is_set(had) && read_address(had, family, number, ret) == 0 &&
		check_address(search, family, ret, NULL) == 0)
		return 0;
	if (!four && family->address.prefix == 64 && family->range_count == 0) {
		*ret = address_from_mac(&family->address, wish->mac);
		ret->prefix = 64;
		if (check_address(search, family, ret, NULL) == 0)
			return 0;
	}
	uint64_t seed = seed_of(search->networks, wanted);
	struct search own = *search;
	if (!network_choose_address(family, seed, is_address_taken, &own, ret))
		return error_set(
			e, -ENOSPC, "the network %s has no address left", search->network->name);
	return 0;
}

static int wish_addresses(struct networks *networks, const struct network_card *wanted,
	const struct card *but, struct wish *wish, struct error *e)
{
	struct search search = { networks, wish->network, but };
	const char *device = wanted->nic->device;
	int r = wish_address(&search, wanted, AF_INET, wish, &wish->ipv4, e);
	if (r < 0)
		return error_prefix(e, r, "devices.%s.ipv4.address", device);
	r = wish_address(&search, wanted, AF_INET6, wish, &wish->ipv6, e);
	if (r < 0)
		return error_prefix(e, r, "devices.%s.ipv6.address", device);
	return 0;
}

/* On a bridge of the host's own only what the user said is known. */
static int wish_host_bridge(struct networks *networks, const struct network_card *wanted,
	struct wish *wish, struct error *e)
{
	const struct nic_device *nic = wanted->nic;
	struct link_info link;
	if (!networks->route)
		return error_set(
			e, -EPERM, "devices.%s.parent: %s", nic->device, networks->why_not);
	int r = link_get(networks->route, nic->parent, &link, NULL);
	if (r < 0)
		return error_set(e, -EINVAL, "devices.%s.parent: this host has no interface %s",
			nic->device, nic->parent);
	if (!text_equal(link.kind, "bridge"))
		return error_set(e, -EINVAL, "devices.%s.parent: %s is not a bridge", nic->device,
			nic->parent);
	if (is_set(nic->ipv4) && !text_equal(nic->ipv4, "none") &&
		read_address(nic->ipv4, NULL, AF_INET, &wish->ipv4) < 0)
		return error_set(e, -EINVAL, "devices.%s.ipv4.address: \"%s\" is no address",
			nic->device, nic->ipv4);
	if (is_set(nic->ipv6) && !text_equal(nic->ipv6, "none") &&
		read_address(nic->ipv6, NULL, AF_INET6, &wish->ipv6) < 0)
		return error_set(e, -EINVAL, "devices.%s.ipv6.address: \"%s\" is no address",
			nic->device, nic->ipv6);
	return 0;
}

static int make_wish(struct networks *networks, const struct network_card *wanted,
	const struct card *but, struct wish *ret, struct error *e)
{
	const struct nic_device *nic = wanted->nic;
	int r = card_check_rates(nic, e);
	if (r < 0)
		return r;
	*ret = (struct wish){};
	const char *project = project_of(networks->service, wanted->project, "networks");
	/* Older clients name a network of ours as the bridge that it was to them. */
	ret->network = network_find(networks, project, nic->network ?: nic->parent);
	if (!ret->network && nic->network)
		return error_set(e, -ENOENT, "devices.%s.network: network \"%s\" does not exist",
			nic->device, nic->network);
	r = wish_mac(networks, wanted, but, ret, e);
	if (r < 0)
		return r;
	return ret->network ? wish_addresses(networks, wanted, but, ret, e)
			    : wish_host_bridge(networks, wanted, ret, e);
}

int network_card_check(struct service *service, const struct network_card *wanted, struct error *e)
{
	struct networks *networks = service->networks;
	struct wish wish;
	return make_wish(networks, wanted,
		card_find(networks, wanted->project, wanted->instance, wanted->nic->device), &wish,
		e);
}

static void choose_host_name(struct networks *networks, char ret[LINK_NAME_SIZE])
{
	do {
		networks->next_card = networks->next_card % CARD_LIST_MAX + 1;
		snprintf(ret, LINK_NAME_SIZE, "v%s-%u", networks->service->id, networks->next_card);
	} while (card_find_host(networks, ret));
}

static bool is_own_host_name(const struct networks *networks, const char *name)
{
	return is_set(name) && strlen(name) < LINK_NAME_SIZE && name[0] == 'v' &&
		text_starts(name + 1, networks->service->id);
}

static void publish(struct network *network, const struct card *card)
{
	char mac[MAC_TEXT];
	struct error e = {};
	if (!network || !network->dnsmasq)
		return;
	cleanup(free) char *name = NULL;
	if (network->config.dns != NETWORK_DNS_NONE)
		name = text_equal(card->project, PROJECT_DEFAULT)
			? alloc_printf("%s.%s", card->instance, network->config.domain)
			: alloc_printf("%s.%s.%s", card->instance, card->project,
				  network->config.domain);
	struct dnsmasq_host host = {
		.file = card->host_name,
		.mac = mac_format(card->mac, mac),
		.ipv4 = card->ipv4,
		.ipv6 = card->ipv6,
		.name = name,
	};
	if (dnsmasq_put(network->dnsmasq, &host, &e) < 0)
		log_warning("no name for a card instance=%s network=%s: %s", card->instance,
			network->name, e.text);
}

struct publish {
	struct network *network;
};

static void publish_one(void *data, struct card *card)
{
	struct publish *one = data;
	if (card->network == one->network)
		publish(one->network, card);
}

void cards_publish(struct networks *networks, struct network *network)
{
	struct publish data = { network };
	cards_each(networks, publish_one, &data);
}

static void unpublish(const struct card *card)
{
	if (card->network && card->network->dnsmasq)
		dnsmasq_delete(card->network->dnsmasq, card->host_name);
}

static bool is_same(const struct card *card, const struct wish *wish)
{
	return card->network == wish->network && memcmp(card->mac, wish->mac, MAC_SIZE) == 0 &&
		address_compare(&card->ipv4, &wish->ipv4) == 0 &&
		address_compare(&card->ipv6, &wish->ipv6) == 0;
}

static void fill_card(struct networks *networks, struct card *card,
	const struct network_card *wanted, const struct wish *wish)
{
	card->network = wish->network;
	memcpy(card->mac, wish->mac, MAC_SIZE);
	card->ipv4 = wish->ipv4;
	card->ipv6 = wish->ipv6;
	snprintf(card->bridge, sizeof(card->bridge), "%s",
		wish->network ? wish->network->bridge : wanted->nic->parent);
	if (is_own_host_name(networks, wanted->host_name) &&
		!card_find_host(networks, wanted->host_name))
		snprintf(card->host_name, sizeof(card->host_name), "%s", wanted->host_name);
	else
		choose_host_name(networks, card->host_name);
	if (card->network)
		card->network->leased++;
}

/* Another host's end at each start: the last one may not be gone when the next is made. */
static void renew(struct networks *networks, struct card *card, const struct network_card *wanted)
{
	if (card->is_attached || (is_set(wanted->host_name) && !networks->is_settled))
		return;
	unpublish(card);
	card_unlink(networks, card);
	choose_host_name(networks, card->host_name);
	card_link(networks, card);
	publish(card->network, card);
}

static void fill_gateway(const struct card *card, const struct network_family *family,
	const struct address *its, char *ret_address, char *ret_gateway)
{
	if (!its->family)
		return;
	address_format_cidr(its, ret_address);
	(void)card;
	if (!family)
		return;
	const struct address *gateway =
		family->dhcp_gateway.family ? &family->dhcp_gateway : &family->address;
	address_format(gateway, ret_gateway);
}

static void fill_lease(
	const struct networks *networks, const struct card *card, struct network_lease *ret)
{
	*ret = (struct network_lease){};
	const struct network_config *config = card->network ? &card->network->config : NULL;
	mac_format(card->mac, ret->hwaddr);
	snprintf(ret->host_name, sizeof(ret->host_name), "%s", card->host_name);
	snprintf(ret->bridge, sizeof(ret->bridge), "%s", card->bridge);
	snprintf(ret->shaper, sizeof(ret->shaper), "%s", networks->shaper);
	fill_gateway(
		card, config ? &config->ipv4 : NULL, &card->ipv4, ret->ipv4, ret->ipv4_gateway);
	fill_gateway(
		card, config ? &config->ipv6 : NULL, &card->ipv6, ret->ipv6, ret->ipv6_gateway);
	ret->mtu = card->mtu;
	if (!config)
		return;
	if (!ret->mtu)
		ret->mtu = config->mtu;
	if (config->dns == NETWORK_DNS_NONE)
		return;
	const struct address *server =
		config->ipv4.address.family ? &config->ipv4.address : &config->ipv6.address;
	address_format(server, ret->nameserver);
	snprintf(ret->domain, sizeof(ret->domain), "%s", config->domain);
}

static void drop(struct networks *networks, struct card *card)
{
	card_detach(networks, card, false);
	unpublish(card);
	card_unlink(networks, card);
	if (card->network)
		card->network->leased--;
	networks->card_count--;
	card_free(card);
}

bool network_card_fits(struct service *service, const struct network_card *wanted)
{
	struct networks *networks = service->networks;
	struct card *card =
		card_find(networks, wanted->project, wanted->instance, wanted->nic->device);
	struct wish wish;
	return card && card->is_attached && make_wish(networks, wanted, card, &wish, NULL) == 0 &&
		is_same(card, &wish) && text_equal(card->name, wanted->nic->name);
}

int network_card_lease(struct service *service, const struct network_card *wanted,
	struct network_lease *ret, struct error *e)
{
	struct networks *networks = service->networks;
	struct card *card =
		card_find(networks, wanted->project, wanted->instance, wanted->nic->device);
	struct wish wish;
	int r = make_wish(networks, wanted, card, &wish, e);
	if (r < 0)
		return r;
	if (!card && networks->card_count == CARD_LIST_MAX)
		return error_set(e, -ENOSPC, "more than %d network cards", CARD_LIST_MAX);
	if (card && !is_same(card, &wish)) {
		drop(networks, card);
		card = NULL;
	}
	if (card) {
		renew(networks, card, wanted);
	} else {
		card = alloc(struct card);
		card->project = alloc_text(wanted->project);
		card->instance = alloc_text(wanted->instance);
		card->device = alloc_text(wanted->nic->device);
		fill_card(networks, card, wanted, &wish);
		card_link(networks, card);
		networks->card_count++;
		publish(card->network, card);
	}
	if (!card->is_attached)
		card_set(card, wanted->nic);
	fill_lease(networks, card, ret);
	return 0;
}

void network_card_release(
	struct service *service, const char *project, const char *instance, const char *device)
{
	struct networks *networks = service->networks;
	struct card *next;
	struct card *card = cards_of(networks, project, instance);
	for (; card; card = next) {
		next = card->next[CARD_BY_OWNER];
		if (text_equal(card->project, project) && text_equal(card->instance, instance) &&
			(!device || text_equal(card->device, device)))
			drop(networks, card);
	}
}

void network_card_rename(
	struct service *service, const char *project, const char *instance, const char *new_name)
{
	struct networks *networks = service->networks;
	struct card *next;
	struct card *card = cards_of(networks, project, instance);
	for (; card; card = next) {
		next = card->next[CARD_BY_OWNER];
		if (!text_equal(card->project, project) || !text_equal(card->instance, instance))
			continue;
		card_unlink(networks, card);
		free(card->instance);
		card->instance = alloc_text(new_name);
		card_link(networks, card);
		publish(card->network, card);
	}
}
