/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firewall.c - what may pass: rules once by libnftables, their elements by netlink.
 *
 * libnftables reads its language in 5 to 10 ms and asks the kernel for all there is first. An instance's
 * start can't wait for that, so elements are written as the kernel takes them: a key is its parts one after
 * the other, each filled up to four bytes.
 */
#include "host/firewall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <string.h>

#include "base/text.h"
#include "host/firewall_rules.h"
#include "host/netlink.h"

#define NAME_SIZE  (FIREWALL_NAME_MAX + 16)
#define TABLES_MAX 32
#define ELEMENT_MAX \
	40 /* bytes of the longest key: the name of an interface, a MAC and an IPv6 address */
#define ELEMENTS_PER_MESSAGE 64

struct firewall {
	struct netlink *netlink;
	char name[NAME_SIZE]; /* of the tables that are filled */
	size_t base;          /* characters of it without the number */
};

/* One element of a set or map. */
struct element {
	uint8_t family; /* NFPROTO_INET or NFPROTO_BRIDGE */
	const char *set;
	uint8_t key[ELEMENT_MAX];
	size_t key_length;
	uint8_t value[ELEMENT_MAX];
	size_t value_length; /* 0: a set, or `chain` */
	const char *chain;   /* the verdict: goto this one */
	bool is_end;         /* of an interval: the first key behind it */
};

static void begin_batch(struct netlink *netlink)
{
	struct nfgenmsg header = { .res_id = htons(NFNL_SUBSYS_NFTABLES) };
	netlink_begin(netlink);
	netlink_message_unanswered(netlink, NFNL_MSG_BATCH_BEGIN, &header, sizeof(header));
}

static int send_batch(struct netlink *netlink, struct error *e)
{
	struct nfgenmsg header = { .res_id = htons(NFNL_SUBSYS_NFTABLES) };
	netlink_message_unanswered(netlink, NFNL_MSG_BATCH_END, &header, sizeof(header));
	return netlink_send(netlink, e);
}

static void nft_message(struct netlink *netlink, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nfgenmsg header = { .nfgen_family = family };
	netlink_message(netlink, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, &header,
		sizeof(header));
}

/* The tables with our name and a number behind it. */
struct tables {
	const char *name;
	size_t length;
	uint64_t numbers[TABLES_MAX];
	uint8_t families[TABLES_MAX];
	size_t count;
};

static int find_table(void *data, uint16_t type, const void *message, size_t length)
{
	struct tables *tables = data;
	const struct nfgenmsg *header = message;
	const struct nlattr *attributes[NFTA_TABLE_MAX + 1];
	char name[128];
	uint64_t number;
	size_t skip = NLMSG_ALIGN(sizeof(*header));
	if (type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE) || length < skip)
		return 0;
	int r = netlink_attributes(
		(const uint8_t *)message + skip, length - skip, attributes, ARRAY_SIZE(attributes));
	if (r < 0)
		return r;
	netlink_text(attributes[NFTA_TABLE_NAME], name, sizeof(name));
	if (strncmp(name, tables->name, tables->length) != 0 || name[tables->length] != '_' ||
		text_to_u64(name + tables->length + 1, &number) < 0 || tables->count == TABLES_MAX)
		return 0;
	tables->numbers[tables->count] = number;
	tables->families[tables->count++] = header->nfgen_family;
	return 0;
}

static int list_tables(struct netlink *netlink, const char *name, size_t length, struct tables *ret,
	struct error *e)
{
	struct nfgenmsg header = { .nfgen_family = NFPROTO_UNSPEC };
	*ret = (struct tables){ .name = name, .length = length };
	netlink_begin(netlink);
	netlink_message(netlink, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE, NLM_F_DUMP, &header,
		sizeof(header));
	int r = netlink_get(netlink, find_table, ret, e);
	if (r < 0)
		return error_prefix(e, r, "list the nf_tables tables");
	return 0;
}

/* Deletes the tables of the list but those called `keep`. */
static int delete_tables(
	struct netlink *netlink, const struct tables *tables, const char *keep, struct error *e)
{
	begin_batch(netlink);
	for (size_t i = 0; i < tables->count; i++) {
		cleanup(free) char *name = alloc_printf(
			"%.*s_%" PRIu64, (int)tables->length, tables->name, tables->numbers[i]);
		if (text_equal(name, keep))
			continue;
		nft_message(netlink, NFT_MSG_DELTABLE, 0, tables->families[i]);
		netlink_put_text(netlink, NFTA_TABLE_NAME, name);
	}
	int r = send_batch(netlink, e);
	if (r < 0)
		return error_prefix(e, r, "delete the nf_tables tables %s", tables->name);
	return 0;
}

static int load_rules(const char *name, struct error *e)
{
	cleanup(free) char *commands =
		alloc_printf("table inet %s {\n%s}\ntable bridge %s {\n%s}\n", name,
			firewall_rules_inet, name, firewall_rules_bridge);
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return error_set(e, -ENOMEM, "libnftables does not start");
	int r = 0;
	if (nft_ctx_buffer_error(nft) != 0 || nft_ctx_buffer_output(nft) != 0)
		r = error_set(e, -ENOMEM, "libnftables does not start");
	else if (nft_run_cmd_from_buffer(nft, commands) != 0)
		r = error_set(e, -EOPNOTSUPP, "nf_tables does not take our rules: %s",
			nft_ctx_get_error_buffer(nft));
	nft_ctx_free(nft);
	return r;
}

int firewall_open(const char *name, struct firewall **ret, struct error *e)
{
	assert(strlen(name) <= FIREWALL_NAME_MAX);
	cleanup(netlink_close) struct netlink *netlink = NULL;
	int r = netlink_open(NETLINK_NETFILTER, &netlink, e);
	if (r < 0)
		return r;
	struct tables tables;
	r = list_tables(netlink, name, strlen(name), &tables, e);
	if (r < 0)
		return r;
	uint64_t number = 0;
	for (size_t i = 0; i < tables.count; i++)
		if (tables.numbers[i] >= number)
			number = tables.numbers[i] + 1;
	struct firewall *firewall = alloc(struct firewall);
	firewall->base = strlen(name);
	snprintf(firewall->name, sizeof(firewall->name), "%s_%u", name, (unsigned)number % 1000000);
	r = load_rules(firewall->name, e);
	if (r < 0) {
		free(firewall);
		return r;
	}
	firewall->netlink = TAKE_PTR(netlink);
	*ret = firewall;
	return 0;
}

int firewall_retire(struct firewall *firewall, struct error *e)
{
	struct tables tables;
	int r = list_tables(firewall->netlink, firewall->name, firewall->base, &tables, e);
	if (r < 0)
		return r;
	return delete_tables(firewall->netlink, &tables, firewall->name, e);
}

void firewall_close(struct firewall *firewall)
{
	if (!firewall)
		return;
	netlink_close(firewall->netlink);
	free(firewall);
}

int firewall_remove(const char *name, struct error *e)
{
	cleanup(netlink_close) struct netlink *netlink = NULL;
	int r = netlink_open(NETLINK_NETFILTER, &netlink, e);
	struct tables tables;
	if (r == 0)
		r = list_tables(netlink, name, strlen(name), &tables, e);
	if (r == 0)
		r = delete_tables(netlink, &tables, NULL, e);
	return r;
}

static void put_value(struct netlink *netlink, uint16_t type, const uint8_t *value, size_t length)
{
	size_t nest = netlink_nest(netlink, type);
	netlink_put(netlink, NFTA_DATA_VALUE, value, length);
	netlink_nest_end(netlink, nest);
}

static void put_verdict(struct netlink *netlink, const char *chain)
{
	size_t nest = netlink_nest(netlink, NFTA_SET_ELEM_DATA);
	size_t verdict = netlink_nest(netlink, NFTA_DATA_VERDICT);
	netlink_put_u32(netlink, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_GOTO));
	netlink_put_text(netlink, NFTA_VERDICT_CHAIN, chain);
	netlink_nest_end(netlink, verdict);
	netlink_nest_end(netlink, nest);
}

static void put_element(struct netlink *netlink, const struct element *element)
{
	size_t nest = netlink_nest(netlink, NFTA_LIST_ELEM);
	put_value(netlink, NFTA_SET_ELEM_KEY, element->key, element->key_length);
	if (element->is_end)
		netlink_put_u32(netlink, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	if (element->value_length > 0)
		put_value(netlink, NFTA_SET_ELEM_DATA, element->value, element->value_length);
	else if (element->chain)
		put_verdict(netlink, element->chain);
	netlink_nest_end(netlink, nest);
}

/* The number of elements from `elements` on that are of one set, at most what a message should hold. */
static size_t same_set(const struct element *elements, size_t count)
{
	size_t same = 1;
	while (same < count && same < ELEMENTS_PER_MESSAGE &&
		elements[same].family == elements[0].family &&
		text_equal(elements[same].set, elements[0].set))
		same++;
	return same;
}

static void put_elements(
	struct firewall *firewall, uint16_t type, const struct element *elements, size_t count)
{
	struct netlink *netlink = firewall->netlink;
	for (size_t i = 0; i < count;) {
		size_t same = same_set(elements + i, count - i);
		nft_message(netlink, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0,
			elements[i].family);
		netlink_put_text(netlink, NFTA_SET_ELEM_LIST_TABLE, firewall->name);
		netlink_put_text(netlink, NFTA_SET_ELEM_LIST_SET, elements[i].set);
		size_t nest = netlink_nest(netlink, NFTA_SET_ELEM_LIST_ELEMENTS);
		for (size_t j = 0; j < same; j++)
			put_element(netlink, &elements[i + j]);
		netlink_nest_end(netlink, nest);
		i += same;
	}
}

static int send_elements(struct firewall *firewall, uint16_t type, const struct element *elements,
	size_t count, struct error *e)
{
	begin_batch(firewall->netlink);
	put_elements(firewall, type, elements, count);
	return send_batch(firewall->netlink, e);
}

static int add_elements(
	struct firewall *firewall, const struct element *elements, size_t count, struct error *e)
{
	int r = send_elements(firewall, NFT_MSG_NEWSETELEM, elements, count, e);
	return r == -EBUSY ? -EEXIST : r;
}

/* What is not there need not be deleted, but the kernel refuses all for it: then one by one. */
static int delete_elements(
	struct firewall *firewall, const struct element *elements, size_t count, struct error *e)
{
	int r = send_elements(firewall, NFT_MSG_DELSETELEM, elements, count, e);
	if (r != -ENOENT)
		return r;
	for (size_t i = 0; i < count; i++) {
		r = send_elements(firewall, NFT_MSG_DELSETELEM, elements + i, 1, e);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static struct element *add(struct element *elements, size_t *count, uint8_t family, const char *set)
{
	struct element *element = &elements[(*count)++];
	*element = (struct element){ .family = family, .set = set };
	return element;
}

static void key_add(struct element *element, const void *data, size_t length)
{
	memcpy(element->key + element->key_length, data, length);
	element->key_length += (length + 3) & ~(size_t)3;
}

static void key_add_link(struct element *element, const char *link)
{
	char name[IFNAMSIZ] = "";
	memcpy(name, link, strnlen(link, sizeof(name) - 1));
	key_add(element, name, sizeof(name));
}

static void key_add_address(struct element *element, const struct address *address)
{
	key_add(element, address->bytes, address_size(address));
}

static void value_add(struct element *element, const void *data, size_t length)
{
	memcpy(element->value + element->value_length, data, length);
	element->value_length += (length + 3) & ~(size_t)3;
}

static bool is_four(const struct address *address)
{
	return address->family == AF_INET;
}

#define NETWORK_ELEMENTS_MAX 16

static void add_gateway(
	struct element *elements, size_t *count, const char *bridge, const struct address *gateway)
{
	if (!gateway->family)
		return;
	bool four = is_four(gateway);
	key_add_address(
		add(elements, count, NFPROTO_INET, four ? "gateways4" : "gateways6"), gateway);
	struct element *own = add(elements, count, NFPROTO_INET, four ? "gateway4" : "gateway6");
	key_add_link(own, bridge);
	key_add_address(own, gateway);
	struct address first = address_network(gateway), last = address_last(gateway);
	struct address behind = address_plus(&last, 1);
	const char *nets = four ? "nets4" : "nets6";
	key_add_address(add(elements, count, NFPROTO_INET, nets), &first);
	struct element *end = add(elements, count, NFPROTO_INET, nets);
	key_add_address(end, &behind);
	end->is_end = true;
}

static void add_nat(struct element *elements, size_t *count, const char *bridge, bool is_nat,
	bool four, const struct address *to)
{
	if (!is_nat)
		return;
	struct element *element;
	if (to->family) {
		element = add(elements, count, NFPROTO_INET, four ? "snat4" : "snat6");
		value_add(element, to->bytes, address_size(to));
	} else {
		element = add(elements, count, NFPROTO_INET, four ? "nat4" : "nat6");
	}
	key_add_link(element, bridge);
}

static size_t network_elements(
	const struct firewall_network *network, struct element elements[NETWORK_ELEMENTS_MAX])
{
	size_t count = 0;
	const char *bridge = network->bridge;
	key_add_link(add(elements, &count, NFPROTO_INET, "bridges"), bridge);
	struct element *same = add(elements, &count, NFPROTO_INET, "same");
	key_add_link(same, bridge);
	key_add_link(same, bridge);
	add_gateway(elements, &count, bridge, &network->ipv4);
	add_gateway(elements, &count, bridge, &network->ipv6);
	add_nat(elements, &count, bridge, network->ipv4_nat, true, &network->ipv4_nat_address);
	add_nat(elements, &count, bridge, network->ipv6_nat, false, &network->ipv6_nat_address);
	if (network->ipv4_closed)
		key_add_link(add(elements, &count, NFPROTO_INET, "closed4"), bridge);
	if (network->ipv6_closed)
		key_add_link(add(elements, &count, NFPROTO_INET, "closed6"), bridge);
	return count;
}

int firewall_add_network(
	struct firewall *firewall, const struct firewall_network *network, struct error *e)
{
	struct element elements[NETWORK_ELEMENTS_MAX];
	size_t count = network_elements(network, elements);
	int r = add_elements(firewall, elements, count, e);
	if (r < 0)
		return error_prefix(e, r, "let network %s pass the firewall", network->bridge);
	return 0;
}

int firewall_delete_network(
	struct firewall *firewall, const struct firewall_network *network, struct error *e)
{
	struct element elements[NETWORK_ELEMENTS_MAX];
	size_t count = network_elements(network, elements);
	int r = delete_elements(firewall, elements, count, e);
	if (r < 0)
		return error_prefix(e, r, "take network %s out of the firewall", network->bridge);
	return 0;
}

#define PORT_ELEMENTS_MAX (4 + 3 * FIREWALL_PORT_ADDRESSES_MAX)

/* Checks of addresses need that of the sender, too: an address is bound to it. */
static const char *chain_of(const struct firewall_port *port)
{
	if (port->check_ipv4 && port->check_ipv6)
		return "mac_ip4_ip6";
	if (port->check_ipv4)
		return "mac_ip4";
	if (port->check_ipv6)
		return "mac_ip6";
	return port->check_mac ? "mac" : NULL;
}

static void add_address(struct element *elements, size_t *count, const char *set,
	const struct firewall_port *port, const struct address *address)
{
	struct element *element = add(elements, count, NFPROTO_BRIDGE, set);
	key_add_link(element, port->link);
	key_add_address(element, address);
}

/* Sender and address in one key, of what may be sent with both. */
static void add_known(struct element *elements, size_t *count, const struct firewall_port *port)
{
	for (size_t i = 0; i < port->address_count; i++) {
		const struct address *address = &port->addresses[i];
		bool four = is_four(address);
		if (!(four ? port->check_ipv4 : port->check_ipv6))
			continue;
		struct element *element =
			add(elements, count, NFPROTO_BRIDGE, four ? "known4" : "known6");
		key_add_link(element, port->link);
		key_add(element, port->mac, MAC_SIZE);
		key_add_address(element, address);
	}
}

/* The verdict is last: a port is not looked at before its addresses are known. */
static size_t port_elements(
	const struct firewall_port *port, struct element elements[PORT_ELEMENTS_MAX])
{
	size_t count = 0;
	const char *chain = chain_of(port);
	if (port->has_metadata && port->metadata.family)
		add_address(elements, &count, "metadata", port, &port->metadata);
	if (port->has_metadata)
		key_add_link(add(elements, &count, NFPROTO_BRIDGE, "metadata_links"), port->link);
	if (!chain)
		return count;
	struct element *mac = add(elements, &count, NFPROTO_BRIDGE, "macs");
	key_add_link(mac, port->link);
	key_add(mac, port->mac, MAC_SIZE);
	for (size_t i = 0; i < port->address_count; i++)
		if (is_four(&port->addresses[i]) && port->check_ipv4)
			add_address(elements, &count, "v4", port, &port->addresses[i]);
	for (size_t i = 0; i < port->address_count; i++)
		if (!is_four(&port->addresses[i]) && port->check_ipv6)
			add_address(elements, &count, "v6", port, &port->addresses[i]);
	for (size_t i = 0; i < port->address_count; i++)
		if (!is_four(&port->addresses[i]) && port->check_ipv6)
			add_address(elements, &count, "targets", port, &port->addresses[i]);
	add_known(elements, &count, port);
	struct element *verdict = add(elements, &count, NFPROTO_BRIDGE, "ports");
	key_add_link(verdict, port->link);
	verdict->chain = chain;
	return count;
}

int firewall_add_port(struct firewall *firewall, const struct firewall_port *port, struct error *e)
{
	struct element elements[PORT_ELEMENTS_MAX];
	size_t count = port_elements(port, elements);
	int r = count > 0 ? add_elements(firewall, elements, count, e) : 0;
	if (r < 0)
		return error_prefix(e, r, "filter interface %s", port->link);
	return 0;
}

int firewall_delete_port(
	struct firewall *firewall, const struct firewall_port *port, struct error *e)
{
	struct element elements[PORT_ELEMENTS_MAX];
	size_t count = port_elements(port, elements);
	int r = count > 0 ? delete_elements(firewall, elements, count, e) : 0;
	if (r < 0)
		return error_prefix(e, r, "stop to filter interface %s", port->link);
	return 0;
}

int firewall_replace_port(struct firewall *firewall, const struct firewall_port *old,
	const struct firewall_port *port, struct error *e)
{
	struct element before[PORT_ELEMENTS_MAX], after[PORT_ELEMENTS_MAX];
	begin_batch(firewall->netlink);
	put_elements(firewall, NFT_MSG_DELSETELEM, before, port_elements(old, before));
	put_elements(firewall, NFT_MSG_NEWSETELEM, after, port_elements(port, after));
	int r = send_batch(firewall->netlink, e);
	if (r < 0)
		return error_prefix(e, r, "filter interface %s", port->link);
	return 0;
}

static void metadata_elements(const char *bridge, uint16_t port, struct element elements[2])
{
	uint16_t number = htons(port);
	elements[0] = (struct element){ .family = NFPROTO_INET, .set = "metadata" };
	key_add_link(&elements[0], bridge);
	value_add(&elements[0], &number, sizeof(number));
	/* One that stands alone is not filled up. */
	elements[0].value_length = sizeof(number);
	elements[1] = (struct element){ .family = NFPROTO_INET, .set = "metadata_ports" };
	key_add_link(&elements[1], bridge);
	key_add(&elements[1], &number, sizeof(number));
}

int firewall_add_metadata(
	struct firewall *firewall, const char *bridge, uint16_t port, struct error *e)
{
	struct element elements[2];
	metadata_elements(bridge, port, elements);
	int r = add_elements(firewall, elements, ARRAY_SIZE(elements), e);
	return r < 0 ? error_prefix(e, r, "redirect to the metadata service of %s", bridge) : 0;
}

int firewall_delete_metadata(
	struct firewall *firewall, const char *bridge, uint16_t port, struct error *e)
{
	struct element elements[2];
	metadata_elements(bridge, port, elements);
	int r = delete_elements(firewall, elements, ARRAY_SIZE(elements), e);
	return r < 0 ? error_prefix(e, r, "take out the metadata service of %s", bridge) : 0;
}

static void forward_element(const struct firewall_forward *forward, struct element *ret)
{
	bool four = is_four(&forward->listen);
	uint16_t listen_port = htons(forward->listen_port);
	uint16_t target_port = htons(forward->target_port);
	*ret = (struct element){ .family = NFPROTO_INET };
	key_add_address(ret, &forward->listen);
	value_add(ret, forward->target.bytes, address_size(&forward->target));
	if (!forward->protocol) {
		ret->set = four ? "all4" : "all6";
		return;
	}
	ret->set = four ? "forward4" : "forward6";
	key_add(ret, &forward->protocol, sizeof(forward->protocol));
	key_add(ret, &listen_port, sizeof(listen_port));
	value_add(ret, &target_port, sizeof(target_port));
}

#define FORWARDS_PER_BATCH 64

static int change_forwards(struct firewall *firewall, bool is_new,
	const struct firewall_forward *forwards, size_t count, size_t *ret_done, struct error *e)
{
	struct element elements[FORWARDS_PER_BATCH];
	*ret_done = 0;
	while (*ret_done < count) {
		size_t some = count - *ret_done;
		if (some > FORWARDS_PER_BATCH)
			some = FORWARDS_PER_BATCH;
		for (size_t i = 0; i < some; i++)
			forward_element(&forwards[*ret_done + i], &elements[i]);
		int r = is_new ? add_elements(firewall, elements, some, e)
			       : delete_elements(firewall, elements, some, e);
		if (r < 0)
			return r;
		*ret_done += some;
	}
	return 0;
}

int firewall_add_forwards(struct firewall *firewall, const struct firewall_forward *forwards,
	size_t count, struct error *e)
{
	size_t done, undone;
	if (count > FIREWALL_FORWARDS_MAX)
		return error_set(
			e, -E2BIG, "more than %d ports are forwarded", FIREWALL_FORWARDS_MAX);
	int r = change_forwards(firewall, true, forwards, count, &done, e);
	if (r < 0) {
		(void)!change_forwards(firewall, false, forwards, done, &undone, NULL);
		return error_prefix(e, r, "forward ports");
	}
	return 0;
}

int firewall_delete_forwards(struct firewall *firewall, const struct firewall_forward *forwards,
	size_t count, struct error *e)
{
	size_t done;
	int r = change_forwards(firewall, false, forwards, count, &done, e);
	if (r < 0)
		return error_prefix(e, r, "stop to forward ports");
	return 0;
}
