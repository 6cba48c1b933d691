/* SPDX-License-Identifier: Apache-2.0 */
/*
 * networks.c - /1.0/networks: our own, and the host's interfaces beside them, which can be looked at.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if_arp.h>
#include <string.h>

#include "daemon/api.h"
#include "daemon/api/collections.h"
#include "daemon/events.h"
#include "daemon/network/dnsmasq.h"
#include "daemon/network/network.h"
#include "daemon/projects.h"
#include "host/route.h"
#include "model/json.h"

static const char *project_in(struct service *service, const struct request *request)
{
	return project_of(service, request_project(request), "networks");
}

static int find(struct service *service, const struct request *request, struct network **ret,
	struct error *e)
{
	const char *name = request_param(request, "name");
	*ret = network_find(service->networks, project_in(service, request), name);
	if (!*ret)
		return error_set(e, -ENOENT, "network \"%s\" does not exist", name);
	return 0;
}

/* What can be PUT: {description, config}. */
static json_t *seen(const struct network *network)
{
	return json_pack("{s:s,s:O}", "description",
		json_text(network->object, "description") ?: "", "config",
		json_object_get(network->object, "config"));
}

static json_t *shown(struct service *service, const struct network *network)
{
	json_t *object = seen(network);
	json_t *used_by = used_by_list(service, "network", network->project, network->name);
	json_object_update_new(object,
		json_pack("{s:s,s:s,s:b,s:s,s:[s],s:s,s:o}", "name", network->name, "type",
			"bridge", "managed", 1, "status",
			network->is_up ? "Created" : "Unavailable", "locations", "none", "project",
			network->project, "used_by", used_by));
	return object;
}

static const char *type_of(const struct link_info *link)
{
	if (link->hardware == ARPHRD_LOOPBACK)
		return "loopback";
	if (text_equal(link->kind, "bridge") || text_equal(link->kind, "bond") ||
		text_equal(link->kind, "vlan"))
		return link->kind;
	if (text_equal(link->kind, "") && link->hardware == ARPHRD_ETHER)
		return "physical";
	return "unknown";
}

static json_t *shown_link(const struct link_info *link)
{
	return json_pack("{s:s,s:s,s:b,s:s,s:[],s:{},s:s,s:[]}", "name", link->name, "type",
		type_of(link), "managed", 0, "status", "", "locations", "config", "description", "",
		"used_by");
}

struct listing {
	struct service *service;
	json_t *objects;
};

/* Ours have a network's name already; ends of pairs, taps and the like are not networks. */
static bool is_listed(const struct service *service, const struct link_info *link)
{
	static const char *const kinds[] = { "", "bridge", "bond", "vlan" };
	if (strchr("bvi", link->name[0]) && text_starts(link->name + 1, service->id))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (text_equal(link->kind, kinds[i]))
			return true;
	return false;
}

static int list_link(void *data, const struct link_info *link)
{
	struct listing *listing = data;
	if (is_listed(listing->service, link))
		json_array_append_new(listing->objects, shown_link(link));
	return 0;
}

static int list_networks(struct service *service, struct request *request, struct error *e)
{
	struct networks *networks = service->networks;
	const char *project = project_in(service, request);
	struct listing listing = { service, json_array() };
	for (const struct network *network = networks->list; network; network = network->next)
		if (request_all_projects(request) || text_equal(network->project, project))
			json_array_append_new(listing.objects, shown(service, network));
	int r = networks->route ? link_list(networks->route, list_link, &listing, e) : 0;
	if (r < 0) {
		json_decref(listing.objects);
		return r;
	}
	return reply_collection(request, listing.objects, "/1.0/networks", "name", e);
}

static void tell(struct service *service, const char *action, const struct network *network)
{
	cleanup(free) char *url = url_for("/1.0/networks", network->name, NULL);
	events_lifecycle(service, action, network->project, url, NULL);
}

static int create(struct service *service, struct request *request, struct error *e)
{
	static const char *const known[] = { "name", "type", "description", "config", "managed",
		"status", "locations", "used_by", "project", NULL };
	const char *project = project_in(service, request);
	const json_t *body = request_json(request);
	const char *name = NULL, *type = "", *description = "";
	cleanup(json_decref) json_t *none = json_object();
	json_t *config = none;
	int r = json_read_known(body, "", known, e);
	if (r == 0)
		r = json_require_text(body, "", "name", &name, e);
	if (r == 0)
		r = network_check_name(name, e);
	if (r == 0)
		r = json_read_text(body, "", "type", &type, e);
	if (r == 0)
		r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r < 0)
		return r;
	if (type[0] && !text_equal(type, "bridge"))
		return error_set(e, -EINVAL, "type: \"%s\" is not offered, only bridge", type);
	r = network_create(service->networks, project, name, description, config, e);
	if (r < 0)
		return r;
	tell(service, "network-created", network_find(service->networks, project, name));
	cleanup(free) char *url = url_for("/1.0/networks", name, request_project(request));
	return reply_created(request, "%s", url);
}

static int find_link(struct service *service, const struct request *request, struct link_info *ret,
	struct error *e)
{
	const char *name = request_param(request, "name");
	if (strlen(name) < LINK_NAME_SIZE && service->networks->route &&
		link_get(service->networks->route, name, ret, NULL) == 0 && is_listed(service, ret))
		return 0;
	return error_set(e, -ENOENT, "network \"%s\" does not exist", name);
}

static int get(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	struct link_info link = {};
	if (find(service, request, &network, NULL) == 0) {
		cleanup(json_decref) json_t *can_be_put = seen(network);
		return reply_object_seen(request, shown(service, network), can_be_put);
	}
	int r = find_link(service, request, &link, e);
	return r < 0 ? r : reply_object(request, shown_link(&link));
}

static int change(struct service *service, struct request *request, bool is_patch, struct error *e)
{
	struct network *network = NULL;
	int r = find(service, request, &network, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *old = seen(network);
	r = request_if_match(request, old, e);
	if (r < 0)
		return r;
	cleanup(json_decref) json_t *body = is_patch ? json_patched(old, request_json(request))
						     : json_incref(request_json(request));
	cleanup(json_decref) json_t *none = json_object();
	const char *description = "";
	json_t *config = none;
	r = json_read_text(body, "", "description", &description, e);
	if (r == 0)
		r = json_read_text_map(body, "", "config", &config, e);
	if (r == 0)
		r = network_change(service->networks, network, description, config, e);
	if (r < 0)
		return r;
	tell(service, "network-updated", network);
	return reply_sync(request, NULL);
}

static int put(struct service *service, struct request *request, struct error *e)
{
	return change(service, request, false, e);
}

static int patch(struct service *service, struct request *request, struct error *e)
{
	return change(service, request, true, e);
}

static int check_unused(struct service *service, const struct network *network, struct error *e)
{
	cleanup(json_decref) json_t *used_by =
		used_by_list(service, "network", network->project, network->name);
	if (json_array_size(used_by) > 0)
		return error_set(e, -EINVAL, "The network is currently in use");
	return 0;
}

static int rename_network(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	const char *new_name = NULL;
	cleanup(free) char *old_name = alloc_text(request_param(request, "name"));
	int r = find(service, request, &network, e);
	if (r == 0)
		r = json_require_text(request_json(request), "", "name", &new_name, e);
	if (r == 0)
		r = check_unused(service, network, e);
	if (r == 0)
		r = network_rename(service->networks, network, new_name, e);
	if (r < 0)
		return r;
	cleanup(free) char *url = url_for("/1.0/networks", new_name, NULL);
	events_lifecycle(service, "network-renamed", network->project, url,
		json_pack("{s:s}", "old_name", old_name));
	cleanup(free) char *location = url_for("/1.0/networks", new_name, request_project(request));
	return reply_created(request, "%s", location);
}

static int delete_network(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	const char *project = project_in(service, request);
	int r = find(service, request, &network, e);
	if (r == 0)
		r = check_unused(service, network, e);
	if (r == 0)
		r = network_remove(service->networks, network, e);
	if (r < 0)
		return r;
	cleanup(free) char *url = url_for("/1.0/networks", request_param(request, "name"), NULL);
	events_lifecycle(service, "network-deleted", project, url, NULL);
	return reply_sync(request, NULL);
}

static int add_address(void *data, int link, const struct address *address)
{
	char text[ADDRESS_TEXT], prefix[8];
	bool is_four = address->family == AF_INET;
	bool is_local = is_four ? address->bytes[0] == 127 : address->bytes[0] == 0xfe;
	(void)link;
	snprintf(prefix, sizeof(prefix), "%u", address->prefix);
	json_array_append_new(data,
		json_pack("{s:s,s:s,s:s,s:s}", "family", is_four ? "inet" : "inet6", "address",
			address_format(address, text), "netmask", prefix, "scope",
			is_local ? (is_four ? "local" : "link") : "global"));
	return 0;
}

static json_t *counters_json(const struct link_counters *counters)
{
	return json_pack("{s:I,s:I,s:I,s:I}", "bytes_received",
		(json_int_t)counters->received_bytes, "bytes_sent",
		(json_int_t)counters->sent_bytes, "packets_received",
		(json_int_t)counters->received_packets, "packets_sent",
		(json_int_t)counters->sent_packets);
}

struct ports {
	int bridge;
	json_t *names;
};

static int add_port(void *data, const struct link_info *link)
{
	struct ports *ports = data;
	if (link->master == ports->bridge)
		json_array_append_new(ports->names, json_string(link->name));
	return 0;
}

static int bridge_json(
	struct networks *networks, const struct link_info *link, json_t **ret, struct error *e)
{
	char mac[MAC_TEXT];
	struct ports ports = { link->index, json_array() };
	int r = link_list(networks->route, add_port, &ports, e);
	if (r < 0) {
		json_decref(ports.names);
		return r;
	}
	cleanup(free) char *id = alloc_printf("8000.%s", mac_format(link->mac, mac));
	for (char *from = id + 5, *to = from;; from++) {
		if (*from != ':')
			*to++ = *from;
		if (!*from)
			break;
	}
	*ret = json_pack("{s:s,s:b,s:I,s:I,s:b,s:o}", "id", id, "stp", 0, "forward_delay",
		(json_int_t)0, "vlan_default", (json_int_t)1, "vlan_filtering", 0, "upper_devices",
		ports.names);
	return 0;
}

static int state(struct service *service, struct request *request, struct error *e)
{
	struct networks *networks = service->networks;
	struct network *network = NULL;
	struct link_info link = {};
	char mac[MAC_TEXT];
	if (!networks->route)
		return error_set(e, -EPERM, "networks can't be looked at: %s", networks->why_not);
	int r = find(service, request, &network, NULL) == 0
		? link_get(networks->route, network->bridge, &link, e)
		: find_link(service, request, &link, e);
	if (r == -ENODEV)
		return error_set(
			e, -ENOENT, "network \"%s\" is not up", request_param(request, "name"));
	cleanup(json_decref) json_t *addresses = json_array();
	cleanup(json_decref) json_t *bridge = NULL;
	if (r == 0)
		r = route_list_addresses(networks->route, link.name, add_address, addresses, e);
	if (r == 0 && text_equal(link.kind, "bridge"))
		r = bridge_json(networks, &link, &bridge, e);
	if (r < 0)
		return r;
	json_t *answer = json_pack("{s:O,s:o,s:s,s:I,s:s,s:s,s:s,s:O*,s:n,s:n,s:n}", "addresses",
		addresses, "counters", counters_json(&link.counters), "hwaddr",
		mac_format(link.mac, mac), "mtu", (json_int_t)link.mtu, "state",
		link.flags & IFF_UP ? "up" : "down", "type",
		link.hardware == ARPHRD_LOOPBACK ? "loopback" : "broadcast", "host_name", link.name,
		"bridge", bridge, "bond", "vlan", "ovn");
	return reply_sync(request, answer);
}

struct leases {
	struct networks *networks;
	const struct network *network;
	const char *project; /* of the request; NULL: all */
	json_t *found;
};

static void add_lease(
	json_t *found, const char *name, const char *mac, const char *address, const char *type)
{
	json_array_append_new(found,
		json_pack("{s:s,s:s,s:s,s:s,s:s}", "hostname", name, "hwaddr", mac, "address",
			address, "type", type, "location", "none"));
}

static void add_card(void *data, struct card *card)
{
	struct leases *leases = data;
	char mac[MAC_TEXT], text[ADDRESS_TEXT];
	if (card->network != leases->network || !text_equal(card->project, leases->project))
		return;
	mac_format(card->mac, mac);
	if (card->ipv4.family)
		add_lease(leases->found, card->instance, mac, address_format(&card->ipv4, text),
			"static");
	if (card->ipv6.family)
		add_lease(leases->found, card->instance, mac, address_format(&card->ipv6, text),
			"static");
}

/* What dnsmasq gave to those that are no instance's cards: guests of guests, other machines. */
static void add_dynamic(void *data, const char *mac, const char *address, const char *name)
{
	struct leases *leases = data;
	struct address read;
	if (address_parse(address, &read) == 0 &&
		!card_find_address(leases->networks, leases->network, &read, NULL))
		add_lease(leases->found, name, mac, address, "dynamic");
}

static int leases(struct service *service, struct request *request, struct error *e)
{
	struct network *network = NULL;
	int r = find(service, request, &network, e);
	if (r < 0)
		return r;
	struct leases all = { service->networks, network, request_project(request), json_array() };
	char text[ADDRESS_TEXT];
	if (network->config.ipv4.address.family)
		add_lease(all.found, "", "", address_format(&network->config.ipv4.address, text),
			"gateway");
	if (network->config.ipv6.address.family)
		add_lease(all.found, "", "", address_format(&network->config.ipv6.address, text),
			"gateway");
	cards_each(service->networks, add_card, &all);
	dnsmasq_leases(service, network->name, add_dynamic, &all);
	return reply_sync(request, all.found);
}

const struct route networks_routes[] = {
	{ "GET", "/1.0/networks", REQUEST_NONE, list_networks, 0 },
	{ "POST", "/1.0/networks", REQUEST_JSON, create, 0 },
	{ "GET", "/1.0/networks/{name}", REQUEST_NONE, get, 0 },
	{ "PUT", "/1.0/networks/{name}", REQUEST_JSON, put, 0 },
	{ "PATCH", "/1.0/networks/{name}", REQUEST_JSON, patch, 0 },
	{ "POST", "/1.0/networks/{name}", REQUEST_JSON, rename_network, 0 },
	{ "DELETE", "/1.0/networks/{name}", REQUEST_NONE, delete_network, 0 },
	{ "GET", "/1.0/networks/{name}/state", REQUEST_NONE, state, 0 },
	{ "GET", "/1.0/networks/{name}/leases", REQUEST_NONE, leases, 0 },
	{},
};
