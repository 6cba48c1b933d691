/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.c - what a network was asked to be: the `config` of a bridge, checked.
 */
#include "model/network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "model/field.h"

#define NAME_MAX_BYTES      63
#define DOMAIN_MAX_BYTES    253
#define INTERFACE_MAX_BYTES 15
#define MTU_MIN             576 /* 1280 with IPv6; below that no IPv4 host must take a packet */
#define MTU_MIN_IPV6        1280
#define MTU_MAX             65535
#define TRIES_MAX           65536

static int read_address(const char *text, int family, struct network_family *ret, struct error *e)
{
	const char *like = family == AF_INET ? "10.1.2.1/24" : "fd42:1:2:3::1/64";
	if (text_equal(text, "none"))
		return 0;
	if (text_equal(text, "auto")) {
		ret->is_auto = true;
		return 0;
	}
	struct address address;
	if (address_parse_cidr(text, &address) < 0 || address.family != family)
		return error_set(
			e, -EINVAL, "\"%s\" is not auto, none or an address like %s", text, like);
	struct address network = address_network(&address), last = address_last(&address);
	if (family == AF_INET && (address.prefix < 8 || address.prefix > 30))
		return error_set(e, -EINVAL, "the prefix must be from 8 to 30");
	if (family == AF_INET6 && (address.prefix < 16 || address.prefix > 126))
		return error_set(e, -EINVAL, "the prefix must be from 16 to 126");
	if (address_compare(&address, &network) == 0 ||
		(family == AF_INET && address_compare(&address, &last) == 0))
		return error_set(e, -EINVAL, "%s is the network's, not a host's address", text);
	if (address.bytes[0] == 0 || address.bytes[0] == (family == AF_INET ? 127 : 0xff) ||
		(family == AF_INET && address.bytes[0] >= 224))
		return error_set(e, -EINVAL, "%s is no address of a network card", text);
	ret->address = address;
	return 0;
}

static int read_ipv4(void *object, const char *key, const char *text, struct error *e)
{
	struct network_config *config = object;
	(void)key;
	return read_address(text, AF_INET, &config->ipv4, e);
}

static int read_ipv6(void *object, const char *key, const char *text, struct error *e)
{
	struct network_config *config = object;
	(void)key;
	return read_address(text, AF_INET6, &config->ipv6, e);
}

static struct network_family *family_of(struct network_config *config, const char *key)
{
	return text_starts(key, "ipv4.") ? &config->ipv4 : &config->ipv6;
}

static int read_nat(void *object, const char *key, const char *text, struct error *e)
{
	struct network_family *family = family_of(object, key);
	bool is_true = text_equal(text, "true") || text_equal(text, "1") ||
		text_equal(text, "yes") || text_equal(text, "on");
	bool is_false = text_equal(text, "false") || text_equal(text, "0") ||
		text_equal(text, "no") || text_equal(text, "off");
	if (!is_true && !is_false)
		return error_set(e, -EINVAL, "\"%s\" is not true or false", text);
	family->nat = is_true;
	family->is_nat_set = true;
	return 0;
}

static int read_one_address(const char *key, const char *text, struct address *ret, struct error *e)
{
	int family = text_starts(key, "ipv4.") ? AF_INET : AF_INET6;
	struct address address;
	if (address_parse(text, &address) < 0 || address.family != family)
		return error_set(e, -EINVAL, "\"%s\" is no IPv%c address", text,
			family == AF_INET ? '4' : '6');
	*ret = address;
	return 0;
}

static int read_nat_address(void *object, const char *key, const char *text, struct error *e)
{
	return read_one_address(key, text, &family_of(object, key)->nat_address, e);
}

static int read_dhcp_gateway(void *object, const char *key, const char *text, struct error *e)
{
	return read_one_address(key, text, &family_of(object, key)->dhcp_gateway, e);
}

static int read_expiry(void *object, const char *key, const char *text, struct error *e)
{
	size_t digits = strspn(text, "0123456789");
	if (!text_equal(text, "infinite") &&
		(digits == 0 || digits > 6 ||
			(text[digits] && (!strchr("smhdw", text[digits]) || text[digits + 1]))))
		return error_set(e, -EINVAL, "\"%s\" is no time like 45m, 1h or infinite", text);
	family_of(object, key)->dhcp_expiry = text;
	return 0;
}

static int read_ranges(void *object, const char *key, const char *text, struct error *e)
{
	struct network_family *family = family_of(object, key);
	int r = address_ranges_parse(text, family->ranges, NETWORK_RANGES_MAX);
	if (r == -E2BIG)
		return error_set(e, -EINVAL, "more than %d ranges", NETWORK_RANGES_MAX);
	if (r < 0)
		return error_set(e, -EINVAL, "\"%s\" is no list of FIRST-LAST,...", text);
	family->range_count = (size_t)r;
	return 0;
}

static int read_dns_mode(void *object, const char *key, const char *text, struct error *e)
{
	static const char *const modes[] = { "managed", "dynamic", "none" };
	struct network_config *config = object;
	(void)key;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (text_equal(text, modes[i])) {
			config->dns = (enum network_dns)i;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "\"%s\" is not managed, dynamic or none", text);
}

/* Labels with dots between; it goes into files that dnsmasq reads. */
static bool is_domain(const char *text)
{
	size_t label = 0;
	if (strlen(text) > DOMAIN_MAX_BYTES)
		return false;
	for (const char *c = text;; c++) {
		if (*c == '.' || *c == '\0') {
			if (label == 0 || label > NAME_MAX_BYTES || c[-1] == '-')
				return false;
			label = 0;
			if (!*c)
				return true;
			continue;
		}
		if (!isalnum((unsigned char)*c) && *c != '_' && (*c != '-' || label == 0))
			return false;
		label++;
	}
}

static int read_domain(void *object, const char *key, const char *text, struct error *e)
{
	struct network_config *config = object;
	(void)key;
	if (!is_domain(text))
		return error_set(e, -EINVAL, "\"%s\" is no domain", text);
	config->domain = text;
	return 0;
}

static int read_search(void *object, const char *key, const char *text, struct error *e)
{
	struct network_config *config = object;
	cleanup(free) char *copy = alloc_text(text);
	(void)key;
	char *rest = copy;
	for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ",")) {
		one += strspn(one, " ");
		if (!is_domain(one))
			return error_set(e, -EINVAL, "\"%s\" is no domain", one);
	}
	config->search = text;
	return 0;
}

static int read_mac(void *object, const char *key, const char *text, struct error *e)
{
	struct network_config *config = object;
	(void)key;
	if (mac_parse(text, config->mac) < 0)
		return error_set(e, -EINVAL, "\"%s\" is no address like 00:16:3e:01:02:03", text);
	config->is_mac_set = true;
	return 0;
}

static int read_native(void *object, const char *key, const char *text, struct error *e)
{
	(void)object;
	const char *only = text_equal(key, "bridge.mode") ? "standard" : "native";
	if (!text_equal(text, only))
		return error_set(e, -EINVAL, "\"%s\" is not offered, only %s", text, only);
	return 0;
}

static int read_interfaces(void *object, const char *key, const char *text, struct error *e)
{
	struct network_config *config = object;
	cleanup(free) char *copy = alloc_text(text);
	(void)key;
	char *rest = copy;
	for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ",")) {
		one += strspn(one, " ");
		if (config->interface_count == NETWORK_INTERFACES_MAX)
			return error_set(
				e, -EINVAL, "more than %d interfaces", NETWORK_INTERFACES_MAX);
		if (!one[0] || strlen(one) > INTERFACE_MAX_BYTES || strpbrk(one, "/ \t\n:%"))
			return error_set(e, -EINVAL, "\"%s\" is no name of an interface", one);
		config->interfaces[config->interface_count++] = alloc_text(one);
	}
	return 0;
}

#define AT(member) offsetof(struct network_config, member)

static const struct field fields[] = {
	{ "ipv4.address", FIELD_READ, .read = read_ipv4 },
	{ "ipv4.nat", FIELD_READ, .read = read_nat },
	{ "ipv4.nat.address", FIELD_READ, .read = read_nat_address },
	{ "ipv4.nat.order", FIELD_REFUSED, .why = "the order of rules is not offered" },
	{ "ipv4.dhcp", FIELD_BOOL, AT(ipv4.dhcp) },
	{ "ipv4.dhcp.gateway", FIELD_READ, .read = read_dhcp_gateway },
	{ "ipv4.dhcp.expiry", FIELD_READ, .read = read_expiry },
	{ "ipv4.dhcp.ranges", FIELD_READ, .read = read_ranges },
	{ "ipv4.firewall", FIELD_BOOL, AT(ipv4.firewall) },
	{ "ipv4.routing", FIELD_BOOL, AT(ipv4.routing) },
	{ "ipv4.routes", FIELD_REFUSED, .why = "routes of a network are not offered" },
	{ "ipv4.ovn.ranges", FIELD_REFUSED, .why = "OVN is not offered" },
	{ "ipv6.address", FIELD_READ, .read = read_ipv6 },
	{ "ipv6.nat", FIELD_READ, .read = read_nat },
	{ "ipv6.nat.address", FIELD_READ, .read = read_nat_address },
	{ "ipv6.nat.order", FIELD_REFUSED, .why = "the order of rules is not offered" },
	{ "ipv6.dhcp", FIELD_BOOL, AT(ipv6.dhcp) },
	{ "ipv6.dhcp.stateful", FIELD_BOOL, AT(ipv6.is_stateful) },
	{ "ipv6.dhcp.expiry", FIELD_READ, .read = read_expiry },
	{ "ipv6.dhcp.ranges", FIELD_READ, .read = read_ranges },
	{ "ipv6.firewall", FIELD_BOOL, AT(ipv6.firewall) },
	{ "ipv6.routing", FIELD_BOOL, AT(ipv6.routing) },
	{ "ipv6.routes", FIELD_REFUSED, .why = "routes of a network are not offered" },
	{ "ipv6.ovn.ranges", FIELD_REFUSED, .why = "OVN is not offered" },
	{ "dns.mode", FIELD_READ, .read = read_dns_mode },
	{ "dns.domain", FIELD_READ, .read = read_domain },
	{ "dns.search", FIELD_READ, .read = read_search },
	{ "dns.zone.*", FIELD_REFUSED, .why = "DNS zones are not offered" },
	{ "bridge.mtu", FIELD_SMALL, AT(mtu), .max = MTU_MAX },
	{ "bridge.hwaddr", FIELD_READ, .read = read_mac },
	{ "bridge.driver", FIELD_READ, .read = read_native },
	{ "bridge.mode", FIELD_READ, .read = read_native },
	{ "bridge.external_interfaces", FIELD_READ, .read = read_interfaces },
	{ "fan.*", FIELD_REFUSED, .why = "fan networks are not offered" },
	{ "tunnel.*", FIELD_REFUSED, .why = "tunnels are not offered" },
	{ "bgp.*", FIELD_REFUSED, .why = "BGP is not offered" },
	{ "security.acls*", FIELD_REFUSED, .why = "lists of access rules are not offered" },
	{ "raw.dnsmasq", FIELD_REFUSED, .why = "lines for dnsmasq are not offered" },
	{ "user.*", FIELD_KEPT },
	{ "volatile.*", FIELD_KEPT },
};

static int check_family(const struct network_family *family, const char *name, struct error *e)
{
	for (size_t i = 0; i < family->range_count; i++) {
		const struct address_range *range = &family->ranges[i];
		if (!family->address.family)
			return error_set(
				e, -EINVAL, "config.%s.dhcp.ranges: needs %s.address", name, name);
		if (!address_is_in(&range->first, &family->address) ||
			!address_is_in(&range->last, &family->address))
			return error_set(e, -EINVAL,
				"config.%s.dhcp.ranges: not within the network of %s.address", name,
				name);
	}
	if (family->dhcp_gateway.family && !family->is_auto &&
		!address_is_in(&family->dhcp_gateway, &family->address))
		return error_set(e, -EINVAL,
			"config.%s.dhcp.gateway: not within the network of %s.address", name, name);
	if (family->nat_address.family && !family->nat && !family->is_auto)
		return error_set(e, -EINVAL, "config.%s.nat.address: needs %s.nat", name, name);
	if (family->is_auto && family->range_count > 0)
		return error_set(e, -EINVAL, "config.%s.dhcp.ranges: needs an %s.address, not auto",
			name, name);
	return 0;
}

static int check_all(const struct network_config *config, struct error *e)
{
	int r = check_family(&config->ipv4, "ipv4", e);
	if (r == 0)
		r = check_family(&config->ipv6, "ipv6", e);
	if (r < 0)
		return r;
	bool has_six = config->ipv6.is_auto || config->ipv6.address.family;
	uint32_t least = has_six ? MTU_MIN_IPV6 : MTU_MIN;
	if (config->mtu != 0 && config->mtu < least)
		return error_set(e, -EINVAL, "config.bridge.mtu: is less than %u", least);
	/* SLAAC makes the second half of an address out of 64 bits. */
	if (has_six && !config->ipv6.is_auto && config->ipv6.address.prefix != 64 &&
		config->ipv6.dhcp && !config->ipv6.is_stateful)
		return error_set(e, -EINVAL,
			"config.ipv6.address: without ipv6.dhcp.stateful the prefix must be 64");
	return 0;
}

int network_config_read(const json_t *json, struct network_config *ret, struct error *e)
{
	struct network_config config = {
		.ipv4 = { .dhcp = true, .firewall = true, .routing = true, .dhcp_expiry = "1h" },
		.ipv6 = { .dhcp = true,
			.is_stateful = true,
			.firewall = true,
			.routing = true,
			.dhcp_expiry = "1h" },
		.domain = "berth",
	};
	const char *four = json_string_value(json_object_get(json, "ipv4.address"));
	const char *six = json_string_value(json_object_get(json, "ipv6.address"));
	config.ipv4.is_auto = !four || !four[0];
	config.ipv6.is_auto = !six || !six[0];
	int r = fields_read(fields, ARRAY_SIZE(fields), json, "config", &config, e);
	if (config.ipv4.is_auto && !config.ipv4.is_nat_set)
		config.ipv4.nat = true;
	if (config.ipv6.is_auto && !config.ipv6.is_nat_set)
		config.ipv6.nat = true;
	if (r == 0)
		r = check_all(&config, e);
	if (r < 0)
		network_config_done(&config);
	else
		*ret = config;
	return r;
}

void network_config_done(struct network_config *config)
{
	for (size_t i = 0; i < config->interface_count; i++)
		free(config->interfaces[i]);
	config->interface_count = 0;
}

int network_check_name(const char *name, struct error *e)
{
	size_t length = strlen(name);
	bool is_good = length > 0 && length <= NAME_MAX_BYTES && isalnum((unsigned char)name[0]);
	for (size_t i = 0; is_good && i < length; i++)
		is_good = isalnum((unsigned char)name[i]) || strchr("-_.", name[i]);
	if (!is_good)
		return error_set(e, -EINVAL,
			"name: \"%.80s\" is not 1 to %d of a-z A-Z 0-9 - _ . with a letter or digit first",
			name, NAME_MAX_BYTES);
	return 0;
}

uint64_t network_hash(uint64_t seed, const char *text)
{
	uint64_t hash = seed ?: UINT64_C(0xcbf29ce484222325);
	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	/* The last byte stirs only the low bits by itself; and "a" "b" is not "ab". */
	hash = (hash ^ 0xff) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 32;
}

bool network_choose(int family, uint64_t seed,
	bool (*is_taken)(void *data, const struct address *network), void *data,
	struct address *ret)
{
	for (uint64_t i = 0; i < TRIES_MAX; i++) {
		struct address address = { .family = (uint8_t)family };
		uint64_t number = seed + i;
		if (family == AF_INET) {
			/* 10.0 and 10.255 are what people take by hand. */
			uint8_t second = (uint8_t)(1 + number / 256 % 254);
			address.prefix = 24;
			memcpy(address.bytes, (uint8_t[]){ 10, second, (uint8_t)number, 1 }, 4);
		} else {
			address.prefix = 64;
			memcpy(address.bytes, (uint8_t[]){ 0xfd, 0x42 }, 2);
			for (unsigned byte = 0; byte < 6; byte++)
				address.bytes[2 + byte] = (uint8_t)(number >> (40 - 8 * byte));
			address.bytes[15] = 1;
		}
		struct address network = address_network(&address);
		if (!is_taken(data, &network)) {
			*ret = address;
			return true;
		}
	}
	return false;
}

/* What addresses may be given out: all of the network but its first, its last and the bridge's. */
static bool is_usable(const struct network_family *family, const struct address *address)
{
	struct address first = address_network(&family->address);
	struct address last = address_last(&family->address);
	return address_compare(address, &first) != 0 && address_compare(address, &last) != 0 &&
		address_compare(address, &family->address) != 0;
}

bool network_choose_address(const struct network_family *family, uint64_t seed,
	bool (*is_taken)(void *data, const struct address *address), void *data,
	struct address *ret)
{
	struct address_range whole = { address_network(&family->address),
		address_last(&family->address) };
	const struct address_range *ranges = family->range_count ? family->ranges : &whole;
	size_t count = family->range_count ?: 1;
	uint64_t all = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t more = address_range_count(&ranges[i]);
		all = more > UINT64_MAX - all ? UINT64_MAX : all + more;
	}
	uint64_t tries = all < TRIES_MAX ? all : TRIES_MAX;
	for (uint64_t i = 0; i < tries; i++) {
		uint64_t at = (seed % all + i) % all;
		size_t range = 0;
		while (at >= address_range_count(&ranges[range]))
			at -= address_range_count(&ranges[range++]);
		struct address address = address_plus(&ranges[range].first, at);
		address.prefix = family->address.prefix;
		if (is_usable(family, &address) && !is_taken(data, &address)) {
			*ret = address;
			return true;
		}
	}
	return false;
}
