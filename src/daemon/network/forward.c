/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward.c - what networks forward from addresses of this host to instances.
 *
 * Stored in the collection "network-forward" under the name NETWORK/LISTEN-ADDRESS, as it was said.
 */
#include "daemon/network/forward.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/service.h"
#include "model/json.h"

#define COLLECTION "network-forward"

/* The address in its usual form, whatever way it was written. */
static char *key_of(const struct network *network, const char *listen)
{
	struct address address;
	char text[ADDRESS_TEXT];
	if (address_parse(listen, &address) < 0)
		return alloc_printf("%s/%s", network->name, listen);
	return alloc_printf("%s/%s", network->name, address_format(&address, text));
}

static struct firewall_forward *rules_of(const struct network_forward *forward)
{
	struct firewall_forward *rules = alloc_array(forward->count + 1, struct firewall_forward);
	for (size_t i = 0; i < forward->count; i++)
		rules[i] = (struct firewall_forward){
			.listen = forward->listen,
			.target = forward->ports[i].to,
			.protocol = forward->ports[i].protocol,
			.listen_port = forward->ports[i].listen,
			.target_port = forward->ports[i].target,
		};
	return rules;
}

/* Puts what a stored forward says into the firewall, or takes it out. */
static int carry_out(struct networks *networks, const struct network *network, const json_t *stored,
	bool is_added, struct error *e)
{
	cleanup(network_forward_done) struct network_forward forward = {};
	int r = network_forward_read(stored, &network->config, &forward, e);
	if (r < 0 || !networks->firewall)
		return r;
	cleanup(free) struct firewall_forward *rules = rules_of(&forward);
	return is_added ? firewall_add_forwards(networks->firewall, rules, forward.count, e)
			: firewall_delete_forwards(networks->firewall, rules, forward.count, e);
}

struct walk {
	const struct network *network;
	json_t *found; /* an array */
};

static int collect(void *data, const char *project, const char *name, const json_t *object)
{
	struct walk *walk = data;
	size_t length = strlen(walk->network->name);
	(void)project;
	if (strncmp(name, walk->network->name, length) == 0 && name[length] == '/')
		json_array_append_new(walk->found, json_deep_copy(object));
	return 0;
}

int forwards_list(
	struct networks *networks, const struct network *network, json_t **ret, struct error *e)
{
	struct walk walk = { network, json_array() };
	int r = store_each(
		networks->service->store, COLLECTION, network->project, collect, &walk, e);
	if (r < 0)
		json_decref(walk.found);
	else
		*ret = walk.found;
	return r;
}

/* One that no longer fits the network, whose addresses were changed, is told of and passed over. */
int forwards_up(struct networks *networks, struct network *network, struct error *e)
{
	cleanup(json_decref) json_t *stored = NULL;
	int r = forwards_list(networks, network, &stored, e);
	for (size_t i = 0; r == 0 && i < json_array_size(stored); i++) {
		struct error why = {};
		if (carry_out(networks, network, json_array_get(stored, i), true, &why) < 0)
			log_warning("forward left out network=%s listen=%s: %s", network->name,
				json_text(json_array_get(stored, i), "listen_address"), why.text);
	}
	return r;
}

void forwards_down(struct networks *networks, struct network *network, bool is_final)
{
	cleanup(json_decref) json_t *stored = NULL;
	if (forwards_list(networks, network, &stored, NULL) < 0)
		return;
	for (size_t i = 0; i < json_array_size(stored); i++) {
		const json_t *one = json_array_get(stored, i);
		(void)!carry_out(networks, network, one, false, NULL);
		if (!is_final)
			continue;
		cleanup(free) char *key = key_of(network, json_text(one, "listen_address"));
		(void)!store_remove(
			networks->service->store, COLLECTION, network->project, key, NULL);
	}
}

void forwards_rename(struct networks *networks, const struct network *network, const char *name)
{
	cleanup(json_decref) json_t *stored = NULL;
	if (forwards_list(networks, network, &stored, NULL) < 0)
		return;
	for (size_t i = 0; i < json_array_size(stored); i++) {
		const char *listen = json_text(json_array_get(stored, i), "listen_address");
		cleanup(free) char *key = key_of(network, listen);
		cleanup(free) char *new_key = alloc_printf("%s%s", name, strchr(key, '/'));
		(void)!store_rename(
			networks->service->store, COLLECTION, network->project, key, new_key, NULL);
	}
}

/* A listen address belongs to one network: two would fight over its ports. */
static int check_listen(struct networks *networks, const struct network *network,
	const struct address *listen, struct error *e)
{
	for (const struct network *other = networks->list; other; other = other->next) {
		const struct address *address = listen->family == other->config.ipv4.address.family
			? &other->config.ipv4.address
			: &other->config.ipv6.address;
		if (address->family == listen->family && address_is_in(listen, address))
			return error_set(e, -EINVAL,
				"listen_address: stands within the network \"%s\"; an address of this "
				"host is wanted",
				other->name);
		if (other == network)
			continue;
		char text[ADDRESS_TEXT];
		cleanup(free) char *key = key_of(other, address_format(listen, text));
		if (store_has(networks->service->store, COLLECTION, other->project, key))
			return error_set(e, -EEXIST,
				"listen_address: network \"%s\" forwards it already", other->name);
	}
	return 0;
}

int forward_get(struct networks *networks, const struct network *network, const char *listen,
	json_t **ret, struct error *e)
{
	cleanup(free) char *key = key_of(network, listen);
	int r = store_get(networks->service->store, COLLECTION, network->project, key, ret, NULL);
	if (r == -ENOENT)
		return error_set(
			e, r, "network \"%s\" forwards nothing of %s", network->name, listen);
	return r < 0 ? error_code(e, r, "read what network \"%s\" forwards", network->name) : 0;
}

int forward_put(struct networks *networks, struct network *network, const json_t *forward,
	bool is_new, struct error *e)
{
	struct store *store = networks->service->store;
	cleanup(network_forward_done) struct network_forward read = {};
	int r = network_forward_read(forward, &network->config, &read, e);
	if (r == 0)
		r = check_listen(networks, network, &read.listen, e);
	if (r < 0)
		return r;
	cleanup(free) char *key = key_of(network, json_text(forward, "listen_address"));
	cleanup(json_decref) json_t *before = NULL;
	if (store_get(store, COLLECTION, network->project, key, &before, NULL) == 0 && is_new)
		return error_set(e, -EEXIST, "listen_address: network \"%s\" forwards it already",
			network->name);
	if (before && network->is_up)
		(void)!carry_out(networks, network, before, false, NULL);
	if (network->is_up)
		r = carry_out(networks, network, forward, true, e);
	if (r == 0)
		r = store_put(store, COLLECTION, network->project, key, forward, e);
	if (r < 0 && before && network->is_up)
		(void)!carry_out(networks, network, before, true, NULL);
	return r;
}

int forward_remove(
	struct networks *networks, struct network *network, const char *listen, struct error *e)
{
	cleanup(json_decref) json_t *stored = NULL;
	int r = forward_get(networks, network, listen, &stored, e);
	if (r < 0)
		return r;
	cleanup(free) char *key = key_of(network, listen);
	r = store_remove(networks->service->store, COLLECTION, network->project, key, e);
	if (r == 0 && network->is_up)
		r = carry_out(networks, network, stored, false, e);
	return r;
}
