/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.c - the networks of this daemon: loaded, made, changed, and brought back after a restart.
 *
 * Theory of operation. What was asked for is in the store's collection "network"; a network's number gives
 * its bridge's name. At start new firewall tables are loaded beside those of an earlier daemon, each network
 * is brought up, and the modules that come later lease their cards again. When the loop turns for the
 * first time, settle() attaches the cards that have an interface, removes interfaces that nobody leased, and
 * only then the old tables: an instance that runs on is never without its filters.
 *
 * At the end, networks that instances run on stay as they are, with their dnsmasq; if there are no such
 * instances all is taken away.
 */
#include "daemon/network/network.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/network/bridge.h"
#include "daemon/network/card.h"
#include "daemon/network/dns_port.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/forward.h"
#include "daemon/network/lease.h"
#include "daemon/network/leave.h"
#include "daemon/network/metadata.h"
#include "daemon/network/nat.h"
#include "daemon/profiles.h"
#include "daemon/projects.h"
#include "daemon/service.h"
#include "daemon/warnings.h"
#include "model/json.h"

#define COLLECTION    "network"
#define LEFTOVERS_MAX 256
#define WARNING       "Network not operational"

static void set_names(const struct networks *networks, struct network *network)
{
	snprintf(network->bridge, sizeof(network->bridge), "b%s-%u", networks->service->id,
		network->number % 100000);
}

static void network_free(struct network *network)
{
	if (!network)
		return;
	network_config_done(&network->config);
	json_decref(network->object);
	free(network->project);
	free(network->name);
	free(network);
}
DEFINE_CLEANUP(struct network *, network_free);

static void insert(struct networks *networks, struct network *network)
{
	struct network **at = &networks->list;
	while (*at && (*at)->number < network->number)
		at = &(*at)->next;
	network->next = *at;
	*at = network;
	networks->count++;
}

static void take_out(struct networks *networks, struct network *network)
{
	struct network **at = &networks->list;
	while (*at != network)
		at = &(*at)->next;
	*at = network->next;
	networks->count--;
}

static uint32_t free_number(const struct networks *networks)
{
	uint32_t number = 1;
	for (const struct network *network = networks->list; network; network = network->next)
		if (network->number == number)
			number++;
	return number;
}

/* Up, or a warning that says why not. */
static int try_up(struct networks *networks, struct network *network, struct error *e)
{
	cleanup(free) char *url = alloc_printf("/1.0/networks/%s", network->name);
	struct error why = {};
	int r = network_up(networks, network, &why);
	if (r == 0) {
		service_warning_resolve(networks->service, WARNING, network->project, url);
		return 0;
	}
	service_warning(networks->service, WARNING, "high", network->project, url, "%s", why.text);
	return error_set(e, r, "%s", why.text);
}

static int make(struct networks *networks, const char *project, const char *name,
	const char *description, json_t *config, bool needs_dns, struct error *e)
{
	struct store *store = networks->service->store;
	if (networks->count == NETWORKS_MAX)
		return error_set(e, -ENOSPC, "more than %d networks", NETWORKS_MAX);
	if (network_find(networks, project, name))
		return error_set(e, -EEXIST, "network \"%s\" exists already", name);
	cleanup(network_free) struct network *network = alloc(struct network);
	network->project = alloc_text(project);
	network->name = alloc_text(name);
	network->number = free_number(networks);
	network->object = json_pack("{s:s,s:o,s:I}", "description", description, "config",
		json_copy(config), "number", (json_int_t)network->number);
	set_names(networks, network);
	json_t *own = json_object_get(network->object, "config");
	int r = network_config_read(own, &network->config, e);
	if (r == 0)
		r = network_choose_subnets(networks, network, &network->config, e);
	if (r < 0)
		return r;
	network_write_config(own, &network->config);
	network_config_done(&network->config);
	r = network_config_read(own, &network->config, e);
	if (r == 0 && needs_dns)
		r = dns_port_check(&network->config, NULL, e);
	if (r == 0)
		r = store_add(store, COLLECTION, project, name, network->object, e);
	if (r < 0)
		return r;
	r = network_up(networks, network, e);
	if (r < 0) {
		network_down(networks, network);
		dnsmasq_remove_files(networks->service, name);
		(void)!store_remove(store, COLLECTION, project, name, NULL);
		return r;
	}
	insert(networks, TAKE_PTR(network));
	return 0;
}

int network_create(struct networks *networks, const char *project, const char *name,
	const char *description, json_t *config, struct error *e)
{
	return make(networks, project, name, description, config, true, e);
}

static bool is_same_address(const struct network_family *a, const struct network_family *b)
{
	return address_compare(&a->address, &b->address) == 0 &&
		a->address.prefix == b->address.prefix;
}

/* Takes what stands in `object` and puts the network up as it says. */
static int apply(
	struct networks *networks, struct network *network, json_t *object, struct error *e)
{
	struct network_config config;
	int r = network_config_read(json_object_get(object, "config"), &config, e);
	if (r < 0)
		return r;
	/* The bridge and its ports stay; what stands on them is made anew. */
	dnsmasq_stop(TAKE_PTR(network->dnsmasq));
	if (networks->firewall && network->is_up) {
		forwards_down(networks, network, false);
		(void)!firewall_delete_network(networks->firewall, &network->rules, NULL);
	}
	for (size_t i = 0; networks->route && i < network->config.interface_count; i++)
		(void)!link_set_master(networks->route, network->config.interfaces[i], NULL, NULL);
	network_config_done(&network->config);
	network->config = config;
	json_incref(object);
	json_decref(network->object);
	network->object = object;
	r = try_up(networks, network, e);
	cards_publish(networks, network);
	return r;
}

int network_change(struct networks *networks, struct network *network, const char *description,
	json_t *config, struct error *e)
{
	cleanup(network_config_done) struct network_config read = {};
	int r = network_config_read(config, &read, e);
	if (r == 0)
		r = network_choose_subnets(networks, network, &read, e);
	if (r == 0)
		r = dns_port_check(&read, &network->config, e);
	if (r < 0)
		return r;
	if (network->leased > 0 &&
		(!is_same_address(&read.ipv4, &network->config.ipv4) ||
			!is_same_address(&read.ipv6, &network->config.ipv6)))
		return error_set(e, -EBUSY,
			"network \"%s\" keeps its addresses while instances have some of it",
			network->name);
	cleanup(json_decref) json_t *own = json_copy(config);
	network_write_config(own, &read);
	cleanup(json_decref) json_t *object = json_pack("{s:s,s:O,s:I}", "description", description,
		"config", own, "number", (json_int_t)network->number);
	cleanup(json_decref) json_t *before = json_incref(network->object);
	bool is_only_text = json_equal(own, json_object_get(before, "config"));
	r = store_put(
		networks->service->store, COLLECTION, network->project, network->name, object, e);
	if (r < 0)
		return r;
	if (is_only_text) {
		json_decref(network->object);
		network->object = json_incref(object);
		/* Texts of the config are borrowed from it. */
		network_config_done(&network->config);
		return network_config_read(json_object_get(object, "config"), &network->config, e);
	}
	r = apply(networks, network, object, e);
	if (r < 0) {
		(void)!store_put(networks->service->store, COLLECTION, network->project,
			network->name, before, NULL);
		(void)!apply(networks, network, before, NULL);
	}
	return r;
}

int network_rename(
	struct networks *networks, struct network *network, const char *name, struct error *e)
{
	int r = network_check_name(name, e);
	if (r == 0 && network_find(networks, network->project, name))
		r = error_set(e, -EEXIST, "network \"%s\" exists already", name);
	if (r == 0 && (network->leased > 0 || network->attached > 0))
		r = error_set(e, -EBUSY, "network \"%s\" is in use", network->name);
	if (r == 0)
		r = store_rename(networks->service->store, COLLECTION, network->project,
			network->name, name, e);
	if (r < 0)
		return r;
	bool had_server = network->dnsmasq != NULL;
	dnsmasq_stop(TAKE_PTR(network->dnsmasq));
	dnsmasq_remove_files(networks->service, network->name);
	forwards_rename(networks, network, name);
	free(network->name);
	network->name = alloc_text(name);
	if (had_server)
		r = try_up(networks, network, e);
	return r;
}

int network_remove(struct networks *networks, struct network *network, struct error *e)
{
	if (network->leased > 0)
		return error_set(e, -EBUSY, "network \"%s\" is in use", network->name);
	int r = store_remove(
		networks->service->store, COLLECTION, network->project, network->name, e);
	if (r < 0)
		return r;
	forwards_down(networks, network, true);
	network_down(networks, network);
	dnsmasq_remove_files(networks->service, network->name);
	take_out(networks, network);
	network_free(network);
	return 0;
}

static int load_one(void *data, const char *project, const char *name, const json_t *object)
{
	struct networks *networks = data;
	struct error e = {};
	cleanup(network_free) struct network *network = alloc(struct network);
	network->project = alloc_text(project);
	network->name = alloc_text(name);
	network->object = json_deep_copy(object);
	network->number = (uint32_t)json_integer_value(json_object_get(object, "number"));
	set_names(networks, network);
	int r = network_config_read(
		json_object_get(network->object, "config"), &network->config, &e);
	if (r < 0) {
		log_error("network can't be read network=%s: %s", name, e.text);
		return 0;
	}
	insert(networks, TAKE_PTR(network));
	return 0;
}

/* A new daemon has one network; who deletes it has none. */
static void add_default(struct networks *networks)
{
	struct store *store = networks->service->store;
	struct error e = {};
	if (store_has(store, "network-default", "", "made"))
		return;
	cleanup(json_decref) json_t *config = json_object();
	cleanup(json_decref) json_t *made = json_object();
	int r = 0;
	if (!network_find(networks, PROJECT_DEFAULT, DEFAULT_NETWORK))
		/* One without names is better than none. */
		r = make(networks, PROJECT_DEFAULT, DEFAULT_NETWORK, "Default berth network",
			config, false, &e);
	if (r == 0)
		r = store_put(store, "network-default", "", "made", made, &e);
	if (r < 0)
		service_warning(networks->service, WARNING, "high", PROJECT_DEFAULT,
			"/1.0/networks/" DEFAULT_NETWORK, "%s", e.text);
}

/* Interfaces with our names: the last card's number, and those that nobody has leased. */
struct leftovers {
	struct networks *networks;
	char names[LEFTOVERS_MAX][LINK_NAME_SIZE];
	size_t count;
};

static int note_number(void *data, const struct link_info *link)
{
	struct networks *networks = data;
	const char *id = networks->service->id;
	uint64_t number;
	if (link->name[0] == 'v' && text_starts(link->name + 1, id) &&
		link->name[1 + strlen(id)] == '-' &&
		text_to_u64(link->name + 2 + strlen(id), &number) == 0 &&
		number > networks->next_card && number < CARD_LIST_MAX)
		networks->next_card = (uint32_t)number;
	if (text_equal(link->name, networks->shaper))
		networks->has_shaper = true;
	return 0;
}

static bool is_network_of(const struct networks *networks, const char *bridge)
{
	for (const struct network *network = networks->list; network; network = network->next)
		if (text_equal(network->bridge, bridge))
			return true;
	return false;
}

static int adopt(void *data, const struct link_info *link)
{
	struct leftovers *leftovers = data;
	struct networks *networks = leftovers->networks;
	struct error e = {};
	const char *id = networks->service->id;
	if (!strchr("vb", link->name[0]) || !text_starts(link->name + 1, id))
		return 0;
	if (link->name[0] == 'b' && is_network_of(networks, link->name))
		return 0;
	struct card *card = link->name[0] == 'v' ? card_find_host(networks, link->name) : NULL;
	if (!card) {
		if (leftovers->count < LEFTOVERS_MAX)
			memcpy(leftovers->names[leftovers->count++], link->name, LINK_NAME_SIZE);
		return 0;
	}
	/* Netlink is busy with this list, but the firewall's is another one. */
	if (card->rates.out_of_bits == 0 || networks->has_shaper)
		if (card_attach(networks, card, &e) < 0)
			log_error("card not adopted instance=%s: %s", card->instance, e.text);
	return 0;
}

static void settle(void *data)
{
	struct networks *networks = data;
	struct error e = {};
	networks->is_settled = true;
	if (!networks->route || !networks->firewall)
		return;
	cleanup(free) struct leftovers *leftovers = alloc(struct leftovers);
	leftovers->networks = networks;
	int r = link_list(networks->route, adopt, leftovers, &e);
	for (size_t i = 0; r == 0 && i < leftovers->count; i++) {
		log_info("interface removed name=%s: nobody has it", leftovers->names[i]);
		(void)!link_delete(networks->route, leftovers->names[i], NULL);
	}
	if (r == 0)
		r = shape_sweep(networks->route, networks->shaper, &e);
	if (r == 0)
		r = firewall_retire(networks->firewall, &e);
	if (r < 0)
		log_error("networks are not cleared up: %s", e.text);
}

/* What this process may not do is no reason not to start: there are instances without networks. */
static void open_kernel(struct networks *networks)
{
	struct error e = {};
	cleanup(free) char *name = alloc_printf("berth_%s", networks->service->id);
	cleanup(netlink_close) struct netlink *route = NULL;
	int r = netlink_open(NETLINK_ROUTE, &route, &e);
	if (r == 0)
		r = firewall_open(name, &networks->firewall, &e);
	if (r == 0)
		r = link_list(route, note_number, networks, &e);
	if (r < 0) {
		log_warning("networks can't be set up: %s", e.text);
		snprintf(networks->why_not, sizeof(networks->why_not), "%s", e.text);
		return;
	}
	networks->route = TAKE_PTR(route);
}

int networks_start(struct service *service, struct error *e)
{
	struct networks *networks = service->networks = alloc(struct networks);
	networks->service = service;
	snprintf(networks->shaper, sizeof(networks->shaper), "i%s", service->id);
	leaving_start(networks);
	open_kernel(networks);
	dnsmasq_clear(service);
	int r = store_each(service->store, COLLECTION, NULL, load_one, networks, e);
	if (r < 0)
		return r;
	for (struct network *network = networks->list; network; network = network->next) {
		struct error why = {};
		if (try_up(networks, network, &why) < 0)
			log_error("network is not up network=%s: %s", network->name, why.text);
	}
	add_default(networks);
	loop_defer(service->loop, settle, networks);
	return 0;
}

static void remove_all(struct networks *networks)
{
	cleanup(free) char *name = alloc_printf("berth_%s", networks->service->id);
	for (struct network *network = networks->list; network; network = network->next)
		network_down(networks, network);
	if (!networks->route || !networks->firewall)
		return;
	(void)!link_delete(networks->route, networks->shaper, NULL);
	(void)!firewall_remove(name, NULL);
}

void networks_stop(struct service *service)
{
	struct networks *networks = TAKE_PTR(service->networks);
	if (!networks)
		return;
	leaving_stop(networks);
	network_nats_free(networks);
	if (networks->attached_count == 0)
		remove_all(networks);
	while (networks->list) {
		struct network *network = networks->list;
		networks->list = network->next;
		dnsmasq_leave(network->dnsmasq);
		metadata_leave(network);
		network_free(network);
	}
	cards_free(networks);
	firewall_close(networks->firewall);
	netlink_close(networks->route);
	free(networks);
}
