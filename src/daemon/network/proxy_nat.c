/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_nat.c - from proxy devices to forwards.
 */
#include "daemon/network/proxy_nat.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/network/nat.h"

struct gathering {
	struct instance *instance;
	struct firewall_forward *rules;
	size_t count;
};

static bool is_any(const struct proxy_address *address)
{
	return text_equal(address->host, "0.0.0.0") || text_equal(address->host, "::");
}

/* The address of one of its cards; with a wildcard that of the first card of the spec that has one. */
static int find_target(struct instance *instance, const struct spec *spec,
	const struct proxy_device *proxy, struct address *ret, struct error *e)
{
	const struct proxy_address *connect = &proxy->connect;
	struct address wanted = {};
	if (!is_any(connect) && address_parse(connect->host, &wanted) < 0)
		return error_set(e, -EINVAL, "devices.%s.connect: no address", proxy->device);
	for (size_t i = 0; i < spec->devices.nic_count; i++) {
		const struct card *card = card_find(instance->service->networks, instance->project,
			instance->name, spec->devices.nics[i].device);
		if (!card)
			continue;
		const struct address *its = connect->is_ipv6 ? &card->ipv6 : &card->ipv4;
		if (its->family == 0 || (wanted.family && address_compare(its, &wanted) != 0))
			continue;
		*ret = *its;
		ret->prefix = 0;
		return 0;
	}
	return error_set(e, -EINVAL,
		"devices.%s.connect: with nat it is the address that a card of the instance has on a "
		"network, not %s",
		proxy->device, connect->host);
}

static int add_proxy(struct gathering *gathering, const struct spec *spec,
	const struct proxy_device *proxy, struct error *e)
{
	struct address listen, target;
	if (address_parse(proxy->listen.host, &listen) < 0)
		return error_set(e, -EINVAL, "devices.%s.listen: no address", proxy->device);
	const struct network *network = network_of_address(gathering->instance->service, &listen);
	bool is_gateway = network &&
		(address_compare(&listen, &network->config.ipv4.address) == 0 ||
			address_compare(&listen, &network->config.ipv6.address) == 0);
	if (network && !is_gateway)
		return error_set(e, -EINVAL,
			"devices.%s.listen: stands within the network \"%s\"; an address of this host "
			"is wanted",
			proxy->device, network->name);
	int r = find_target(gathering->instance, spec, proxy, &target, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < proxy->listen.port_count; i++) {
		size_t partner = proxy->connect.port_count == 1 ? 0 : i;
		gathering->rules = alloc_resize(
			gathering->rules, gathering->count + 1, sizeof(*gathering->rules));
		struct firewall_forward *rule = &gathering->rules[gathering->count++];
		/* Compared as bytes: no hole may differ. */
		memset(rule, 0, sizeof(*rule));
		rule->listen = listen;
		rule->target = target;
		rule->protocol = proxy->listen.protocol == PROXY_UDP ? IPPROTO_UDP : IPPROTO_TCP;
		rule->listen_port = proxy->listen.ports[i];
		rule->target_port = proxy->connect.ports[partner];
	}
	return 0;
}

int proxy_nat_apply(struct instance *instance, const struct spec *spec, struct error *e)
{
	struct gathering gathering = { .instance = instance };
	int r = 0;
	const char *device = NULL;
	for (size_t i = 0; r == 0 && i < spec->devices.proxy_count; i++) {
		const struct proxy_device *proxy = &spec->devices.proxies[i];
		if (!proxy->is_nat)
			continue;
		device = device ?: proxy->device;
		r = add_proxy(&gathering, spec, proxy, e);
	}
	if (r == 0) {
		r = network_nat_set(instance->service, instance->project, instance->name,
			gathering.rules, gathering.count, e);
		if (r < 0)
			error_prefix(e, r, "devices.%s.listen", device ?: "");
	}
	free(gathering.rules);
	return r;
}

void proxy_nat_end(struct instance *instance)
{
	struct error e = {};
	if (network_nat_set(instance->service, instance->project, instance->name, NULL, 0, &e) < 0)
		log_error("forwards are left instance=%s: %s", instance->name, e.text);
}
