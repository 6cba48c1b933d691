/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nat.c - elements of the firewall's maps, kept a list an instance.
 */
#include "daemon/network/nat.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "daemon/service.h"

struct nat {
	struct nat *next;
	char *project, *instance;
	struct firewall_forward *rules;
	size_t count;
};

static struct nat **find(struct networks *networks, const char *project, const char *instance)
{
	struct nat **at = &networks->nats;
	while (*at &&
		(!text_equal((*at)->instance, instance) || !text_equal((*at)->project, project)))
		at = &(*at)->next;
	return at;
}

static void nat_free(struct nat *nat)
{
	free(nat->project);
	free(nat->instance);
	free(nat->rules);
	free(nat);
}

static bool is_same_listen(const struct firewall_forward *a, const struct firewall_forward *b)
{
	return a->protocol == b->protocol && a->listen_port == b->listen_port &&
		a->listen.family == b->listen.family &&
		address_compare(&a->listen, &b->listen) == 0;
}

/* Two instances with one target between them would take it from each other. */
static int check(const struct networks *networks, const struct nat *own,
	const struct firewall_forward *rules, size_t count, struct error *e)
{
	char text[ADDRESS_TEXT];
	for (const struct nat *nat = networks->nats; nat; nat = nat->next) {
		for (size_t i = 0; nat != own && i < nat->count; i++) {
			for (size_t k = 0; k < count; k++) {
				if (is_same_listen(&nat->rules[i], &rules[k]))
					return error_set(e, -EEXIST,
						"port %u of %s is forwarded to instance \"%s\"",
						rules[k].listen_port,
						address_format(&rules[k].listen, text),
						nat->instance);
			}
		}
	}
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < i; k++)
			if (is_same_listen(&rules[i], &rules[k]))
				return error_set(e, -EEXIST, "port %u of %s is said twice",
					rules[i].listen_port,
					address_format(&rules[i].listen, text));
	return 0;
}

int network_nat_set(struct service *service, const char *project, const char *instance,
	const struct firewall_forward *rules, size_t count, struct error *e)
{
	struct networks *networks = service->networks;
	struct nat **at = find(networks, project, instance);
	struct nat *old = *at;
	if (!old && count == 0)
		return 0;
	if (!networks->firewall)
		return error_set(e, -EOPNOTSUPP, "nothing can be forwarded: %s", networks->why_not);
	if (old && old->count == count && memcmp(old->rules, rules, count * sizeof(*rules)) == 0)
		return 0;
	int r = check(networks, old, rules, count, e);
	if (r < 0)
		return r;
	if (old && firewall_delete_forwards(networks->firewall, old->rules, old->count, NULL) < 0)
		log_warning("forwards are left instance=%s", instance);
	r = firewall_add_forwards(networks->firewall, rules, count, e);
	if (r < 0) {
		if (old &&
			firewall_add_forwards(networks->firewall, old->rules, old->count, NULL) < 0)
			log_error("forwards are lost instance=%s", instance);
		return r;
	}
	if (old) {
		*at = old->next;
		nat_free(old);
	}
	if (count == 0)
		return 0;
	struct nat *nat = alloc(struct nat);
	*nat = (struct nat){ .next = networks->nats,
		.project = alloc_text(project),
		.instance = alloc_text(instance),
		.rules = alloc_array(count, struct firewall_forward),
		.count = count };
	memcpy(nat->rules, rules, count * sizeof(*rules));
	networks->nats = nat;
	return 0;
}

const struct network *network_of_address(struct service *service, const struct address *address)
{
	for (const struct network *network = service->networks->list; network;
		network = network->next) {
		const struct address *own = address->family == network->config.ipv4.address.family
			? &network->config.ipv4.address
			: &network->config.ipv6.address;
		if (own->family == address->family && address_is_in(address, own))
			return network;
	}
	return NULL;
}

void network_nats_free(struct networks *networks)
{
	for (struct nat *next; networks->nats; networks->nats = next) {
		next = networks->nats->next;
		nat_free(networks->nats);
	}
}
