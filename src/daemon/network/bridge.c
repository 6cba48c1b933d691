/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bridge.c - a network on this host: its bridge, addresses, firewall, DHCP and DNS.
 *
 * Everything can be done again: after a killed daemon part of it is there, with instances on it.
 */
#include "daemon/network/bridge.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/forward.h"
#include "daemon/network/metadata.h"
#include "daemon/service.h"
#include "host/route.h"
#include "model/json.h"

#define SYSCTL_MAX 128
#define TAKEN_MAX  4096

static int write_sysctl(const char *name, const char *value)
{
	cleanup(free) char *path = alloc_printf("/proc/sys/net/%s", name);
	return file_write_value(AT_FDCWD, path, value);
}

static bool is_sysctl(const char *name, const char *value)
{
	cleanup(free) char *path = alloc_printf("/proc/sys/net/%s", name);
	char now[32];
	return file_read_line(AT_FDCWD, path, now, sizeof(now)) > 0 && text_equal(now, value);
}

static bool has_ipv6(void)
{
	return access("/proc/sys/net/ipv6/conf", F_OK) == 0;
}

/* A host that forwards takes no router's advertisements, unless it is told to: 1 becomes 2. */
static void keep_advertisements(void)
{
	DIR *listing = opendir("/proc/sys/net/ipv6/conf");
	for (struct dirent *entry = listing ? readdir(listing) : NULL; entry;
		entry = readdir(listing)) {
		cleanup(free) char *name = alloc_printf("ipv6/conf/%s/accept_ra", entry->d_name);
		if (entry->d_name[0] != '.' && is_sysctl(name, "1"))
			(void)!write_sysctl(name, "2");
	}
	if (listing)
		closedir(listing);
}

static int allow_forwarding(const struct network_config *config, struct error *e)
{
	if (config->ipv4.address.family && !is_sysctl("ipv4/ip_forward", "1")) {
		int r = write_sysctl("ipv4/ip_forward", "1");
		if (r < 0)
			return error_code(e, r, "set net.ipv4.ip_forward to 1");
	}
	if (config->ipv6.address.family && !is_sysctl("ipv6/conf/all/forwarding", "1")) {
		keep_advertisements();
		int r = write_sysctl("ipv6/conf/all/forwarding", "1");
		if (r < 0)
			return error_code(e, r, "set net.ipv6.conf.all.forwarding to 1");
	}
	return 0;
}

/* The same for the same network of the same daemon, so that neighbours need not learn a new one. */
static void choose_mac(
	const struct networks *networks, const struct network *network, uint8_t mac[MAC_SIZE])
{
	if (network->config.is_mac_set) {
		memcpy(mac, network->config.mac, MAC_SIZE);
		return;
	}
	uint64_t hash = network_hash(network_hash(0, networks->service->id), network->bridge);
	memcpy(mac, (uint8_t[]){ 0x00, 0x16, 0x3e }, 3);
	memcpy(mac + 3, &hash, 3);
}

static int make_bridge(struct networks *networks, const struct network *network, struct error *e)
{
	uint8_t mac[MAC_SIZE];
	uint32_t mtu = network->config.mtu ?: 1500;
	choose_mac(networks, network, mac);
	struct link_info link;
	struct link_bridge bridge = { .name = network->bridge, .mac = mac, .mtu = mtu };
	int r = link_get(networks->route, network->bridge, &link, NULL);
	if (r == -ENODEV)
		return link_add_bridge(networks->route, &bridge, e);
	if (r == 0 && memcmp(link.mac, mac, MAC_SIZE) != 0)
		r = link_set_mac(networks->route, network->bridge, mac, e);
	if (r == 0 && link.mtu != mtu)
		r = link_set_mtu(networks->route, network->bridge, mtu, e);
	return r;
}

struct stale {
	const struct network_config *config;
	struct address addresses[16];
	size_t count;
};

static int find_stale(void *data, int link, const struct address *address)
{
	struct stale *stale = data;
	const struct address *wanted = address->family == AF_INET ? &stale->config->ipv4.address
								  : &stale->config->ipv6.address;
	bool is_link_local = address->family == AF_INET6 && address->bytes[0] == 0xfe;
	bool is_wanted = wanted->family == address->family &&
		address_compare(wanted, address) == 0 && wanted->prefix == address->prefix;
	(void)link;
	if (!is_link_local && !is_wanted && stale->count < ARRAY_SIZE(stale->addresses))
		stale->addresses[stale->count++] = *address;
	return 0;
}

static int set_addresses(struct networks *networks, const struct network *network, struct error *e)
{
	struct stale stale = { .config = &network->config };
	int r = route_list_addresses(networks->route, network->bridge, find_stale, &stale, e);
	for (size_t i = 0; r == 0 && i < stale.count; i++)
		r = route_delete_address(networks->route, network->bridge, &stale.addresses[i], e);
	if (r == 0 && network->config.ipv4.address.family)
		r = route_add_address(
			networks->route, network->bridge, &network->config.ipv4.address, e);
	if (r == 0 && network->config.ipv6.address.family)
		r = route_add_address(
			networks->route, network->bridge, &network->config.ipv6.address, e);
	return r;
}

/* Nobody but us gives this bridge an address, and ours is used at once. */
static void set_ipv6(const struct network *network)
{
	static const char *const settings[][2] = { { "accept_dad", "0" }, { "accept_ra", "0" },
		{ "autoconf", "0" } };
	char name[SYSCTL_MAX];
	if (!has_ipv6())
		return;
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		snprintf(name, sizeof(name), "ipv6/conf/%s/%s", network->bridge, settings[i][0]);
		(void)!write_sysctl(name, settings[i][1]);
	}
	snprintf(name, sizeof(name), "ipv6/conf/%s/disable_ipv6", network->bridge);
	(void)!write_sysctl(name, network->config.ipv6.address.family ? "0" : "1");
}

static int join_interfaces(
	struct networks *networks, const struct network *network, struct error *e)
{
	for (size_t i = 0; i < network->config.interface_count; i++) {
		const char *name = network->config.interfaces[i];
		int r = link_set_master(networks->route, name, network->bridge, e);
		if (r == 0)
			r = link_set_up(networks->route, name, true, e);
		if (r < 0)
			return error_prefix(
				e, r == -ENODEV ? -EINVAL : r, "config.bridge.external_interfaces");
	}
	return 0;
}

static struct firewall_network rules_of(const struct network *network)
{
	const struct network_family *ipv4 = &network->config.ipv4, *ipv6 = &network->config.ipv6;
	return (struct firewall_network){
		.bridge = network->bridge,
		.ipv4 = ipv4->firewall ? ipv4->address : (struct address){},
		.ipv6 = ipv6->firewall ? ipv6->address : (struct address){},
		.ipv4_nat = ipv4->nat && ipv4->address.family,
		.ipv6_nat = ipv6->nat && ipv6->address.family,
		.ipv4_nat_address = ipv4->nat_address,
		.ipv6_nat_address = ipv6->nat_address,
		.ipv4_closed = !ipv4->routing,
		.ipv6_closed = !ipv6->routing,
	};
}

static int serve(struct networks *networks, struct network *network, struct error *e)
{
	struct dnsmasq_options options = {
		.network = network->name,
		.bridge = network->bridge,
		.config = &network->config,
	};
	if (!network->config.ipv4.address.family && !network->config.ipv6.address.family)
		return 0;
	return dnsmasq_start(networks->service, &options, &network->dnsmasq, e);
}

static int bring_up(struct networks *networks, struct network *network, struct error *e)
{
	int r = allow_forwarding(&network->config, e);
	if (r == 0)
		r = make_bridge(networks, network, e);
	if (r < 0)
		return r;
	set_ipv6(network);
	network->rules = rules_of(network);
	r = firewall_add_network(networks->firewall, &network->rules, e);
	if (r == 0)
		r = link_set_up(networks->route, network->bridge, true, e);
	if (r == 0)
		r = set_addresses(networks, network, e);
	if (r == 0)
		r = join_interfaces(networks, network, e);
	if (r == 0)
		r = forwards_up(networks, network, e);
	if (r == 0)
		r = serve(networks, network, e);
	return r;
}

int network_up(struct networks *networks, struct network *network, struct error *e)
{
	if (!networks->route || !networks->firewall)
		return error_set(e, -EPERM, "networks can't be set up here: %s", networks->why_not);
	int r = bring_up(networks, network, e);
	if (r == 0)
		network->is_up = true;
	return r;
}

void network_down(struct networks *networks, struct network *network)
{
	dnsmasq_stop(TAKE_PTR(network->dnsmasq));
	metadata_stop(networks, network);
	network->is_up = false;
	if (!networks->route || !networks->firewall)
		return;
	forwards_down(networks, network, false);
	for (size_t i = 0; i < network->config.interface_count; i++)
		(void)!link_set_master(networks->route, network->config.interfaces[i], NULL, NULL);
	(void)!link_delete(networks->route, network->bridge, NULL);
	struct firewall_network rules = rules_of(network);
	(void)!firewall_delete_network(networks->firewall, &rules, NULL);
}

/* Networks that are in use, here or by what this host reaches. */
struct taken {
	struct address addresses[TAKEN_MAX];
	size_t count;
	uint32_t own; /* index of the bridge, whose own routes don't count */
};

static int note_taken(void *data, int link, const struct address *address)
{
	struct taken *taken = data;
	if ((uint32_t)link != taken->own && address->prefix > 0 && taken->count < TAKEN_MAX)
		taken->addresses[taken->count++] = address_network(address);
	return 0;
}

static bool is_taken(void *data, const struct address *network)
{
	const struct taken *taken = data;
	for (size_t i = 0; i < taken->count; i++)
		if (address_overlaps(&taken->addresses[i], network))
			return true;
	return false;
}

static void note_networks(struct networks *networks, const struct network *but, struct taken *taken)
{
	for (const struct network *other = networks->list; other; other = other->next) {
		if (other == but)
			continue;
		if (other->config.ipv4.address.family)
			note_taken(taken, -1, &other->config.ipv4.address);
		if (other->config.ipv6.address.family)
			note_taken(taken, -1, &other->config.ipv6.address);
	}
}

/* A network that was asked for may overlap with nothing of ours. */
static int check_free(struct networks *networks, const struct network *but,
	const struct network_family *family, const char *name, struct error *e)
{
	char mine[ADDRESS_TEXT];
	if (!family->address.family)
		return 0;
	for (const struct network *other = networks->list; other; other = other->next) {
		const struct address *address = family->address.family == AF_INET
			? &other->config.ipv4.address
			: &other->config.ipv6.address;
		if (other != but && address->family && address_overlaps(address, &family->address))
			return error_set(e, -EINVAL,
				"config.%s.address: %s overlaps with network %s", name,
				address_format_cidr(&family->address, mine), other->name);
	}
	return 0;
}

static int choose(struct network_family *family, int number, uint64_t seed, struct taken *taken,
	struct error *e)
{
	if (!family->is_auto)
		return 0;
	if (number == AF_INET6 && !has_ipv6()) {
		family->is_auto = false;
		family->nat = false;
		return 0;
	}
	if (!network_choose(number, seed, is_taken, taken, &family->address))
		return error_set(e, -ENOSPC, "no free network is left: all of %s are in use",
			number == AF_INET ? "10.0.0.0/8" : "fd42::/16");
	family->is_auto = false;
	return 0;
}

int network_choose_subnets(struct networks *networks, const struct network *network,
	struct network_config *config, struct error *e)
{
	int r = check_free(networks, network, &config->ipv4, "ipv4", e);
	if (r == 0)
		r = check_free(networks, network, &config->ipv6, "ipv6", e);
	if (r < 0)
		return r;
	cleanup(free) struct taken *taken = alloc(struct taken);
	if (networks->route) {
		(void)!link_index(networks->route, network->bridge, &taken->own, NULL);
		r = route_list(networks->route, note_taken, taken, e);
		if (r == 0)
			r = route_list_addresses(networks->route, NULL, note_taken, taken, e);
		if (r < 0)
			return r;
	}
	note_networks(networks, network, taken);
	uint64_t seed = network_hash(network_hash(0, networks->service->id), network->bridge);
	r = choose(&config->ipv4, AF_INET, seed, taken, e);
	if (r == 0)
		r = choose(&config->ipv6, AF_INET6, seed, taken, e);
	return r;
}

static void write_family(json_t *config, const struct network_family *family, const char *name)
{
	char text[ADDRESS_TEXT], key[32];
	snprintf(key, sizeof(key), "%s.address", name);
	json_set_text(config, key,
		family->address.family ? address_format_cidr(&family->address, text) : "none");
	snprintf(key, sizeof(key), "%s.nat", name);
	if (family->address.family && family->nat)
		json_set_text(config, key, "true");
}

void network_write_config(json_t *config, const struct network_config *read)
{
	write_family(config, &read->ipv4, "ipv4");
	write_family(config, &read->ipv6, "ipv6");
}
