/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nics.c - the network cards of an instance: from what was asked for to what its runner makes.
 */
#include "daemon/network/nics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "abi/runner.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/instance/machine_change.h"
#include "daemon/instance/supervisor.h"
#include "daemon/network/lease.h"
#include "model/address.h"
#include "model/json.h"

static const char *kept(const struct instance *instance, const char *device, const char *what)
{
	cleanup(free) char *key = alloc_printf("volatile.%s.%s", device, what);
	return instance_config(instance, key);
}

static void keep(struct instance *instance, const char *device, const char *what, const char *value)
{
	cleanup(free) char *key = alloc_printf("volatile.%s.%s", device, what);
	const char *old = instance_config(instance, key);
	if (!text_equal(old ?: "", value))
		instance_set(instance, key, value[0] ? value : NULL);
}

static struct network_card card_of(const struct instance *instance, const struct nic_device *nic)
{
	return (struct network_card){ .project = instance->project,
		.instance = instance->name,
		.nic = nic,
		.hwaddr = kept(instance, nic->device, "hwaddr"),
		.ipv4 = kept(instance, nic->device, "ipv4.address"),
		.ipv6 = kept(instance, nic->device, "ipv6.address"),
		.host_name = kept(instance, nic->device, "host_name") };
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static struct plan_link link_asked(const struct nic_device *nic)
{
	return (struct plan_link){ .device = nic->device,
		.name = nic->name,
		.network = nic->network,
		.parent = nic->parent,
		.hwaddr = nic->hwaddr,
		.ipv4 = nic->ipv4,
		.ipv6 = nic->ipv6,
		.mtu = nic->mtu,
		.ingress_bits = nic->ingress_bits,
		.egress_bits = nic->egress_bits,
		.mac_filtering = nic->mac_filtering,
		.ipv4_filtering = nic->ipv4_filtering,
		.ipv6_filtering = nic->ipv6_filtering,
		.port_isolation = nic->port_isolation };
}

static int card_lease(struct instance *instance, const struct nic_device *nic,
	struct network_lease *lease, struct plan_link *link, json_t *hosts, struct error *e)
{
	struct network_card card = card_of(instance, nic);
	int r = network_card_lease(instance->service, &card, lease, e);
	if (r < 0)
		return r;
	keep(instance, nic->device, "hwaddr", lease->hwaddr);
	keep(instance, nic->device, "ipv4.address", lease->ipv4);
	keep(instance, nic->device, "ipv6.address", lease->ipv6);
	keep(instance, nic->device, "host_name", lease->host_name);
	link->hwaddr = lease->hwaddr;
	link->ipv4 = or_null(lease->ipv4);
	link->ipv6 = or_null(lease->ipv6);
	link->ipv4_gateway = or_null(lease->ipv4_gateway);
	link->ipv6_gateway = or_null(lease->ipv6_gateway);
	link->mtu = lease->mtu;
	link->host = network_card_plan(lease, nic);
	json_array_append_new(hosts, json_mutable(link->host));
	return 0;
}

static void resolver_fill(struct nics *nics)
{
	size_t count = 0;
	nics->nameservers = alloc_array(nics->count + 1, const char *);
	for (size_t i = 0; i < nics->count; i++) {
		const struct network_lease *lease = &nics->leases[i];
		if (lease->nameserver[0])
			nics->nameservers[count++] = lease->nameserver;
		if (lease->domain[0] && !nics->search)
			nics->search = lease->domain;
	}
}

int nics_plan(struct instance *instance, const struct spec *spec, bool is_trial, struct nics *ret,
	struct error *e)
{
	size_t count = spec->devices.nic_count;
	cleanup(nics_done) struct nics nics = { .links = alloc_array(count + 1, struct plan_link),
		.count = count,
		.leases = alloc_array(count + 1, struct network_lease),
		.hosts = json_array() };
	for (size_t i = 0; i < count; i++) {
		const struct nic_device *nic = &spec->devices.nics[i];
		struct network_card card = card_of(instance, nic);
		nics.links[i] = link_asked(nic);
		int r = is_trial
			? network_card_check(instance->service, &card, e)
			: card_lease(instance, nic, &nics.leases[i], &nics.links[i], nics.hosts, e);
		if (r < 0)
			return r;
	}
	resolver_fill(&nics);
	*ret = nics;
	nics = (struct nics){};
	return 0;
}

void nics_done(struct nics *nics)
{
	free(nics->links);
	free(nics->leases);
	free(nics->nameservers);
	json_decref(nics->hosts);
	*nics = (struct nics){};
}

/* Calls for the card of a device as the expanded config has it. */
static int card_call(struct instance *instance, const char *device,
	int (*call)(struct service *, const struct network_card *, struct error *), struct error *e)
{
	cleanup(spec_done) struct spec spec = {};
	int r = instance_spec(instance, &spec, e);
	for (size_t i = 0; r == 0 && i < spec.devices.nic_count; i++) {
		struct network_card card = card_of(instance, &spec.devices.nics[i]);
		if (text_equal(device, spec.devices.nics[i].device))
			r = call(instance->service, &card, e);
	}
	return r;
}

int nics_attach(struct instance *instance, const struct plan_link *link, struct error *e)
{
	return card_call(instance, link->device, network_card_attach, e);
}

void nics_detach(struct instance *instance, const char *device)
{
	network_card_detach(instance->service, instance->project, instance->name, device, false);
}

static void forget_link(struct live *live, const char *device)
{
	for (size_t i = json_array_size(live->links); i > 0; i--)
		if (text_equal(json_text(json_array_get(live->links, i - 1), "device"), device))
			json_array_remove(live->links, i - 1);
}

static void unplug_machine(struct instance *instance, const char *device);

static void unplug(struct instance *instance, const char *device)
{
	if (instance->kind->can & KIND_IS_MACHINE)
		unplug_machine(instance, device);
	network_card_detach(instance->service, instance->project, instance->name, device, true);
	network_card_release(instance->service, instance->project, instance->name, device);
	forget_link(instance->live, device);
	keep(instance, device, "host_name", "");
}

struct unwanted {
	struct instance *instance;
	const struct spec *spec;
};

/* The spec has it no more, or has it otherwise. */
static void unplug_unwanted(void *data, const char *device)
{
	const struct unwanted *unwanted = data;
	const struct devices *devices = &unwanted->spec->devices;
	for (size_t i = 0; i < devices->nic_count; i++) {
		struct network_card card = card_of(unwanted->instance, &devices->nics[i]);
		if (text_equal(devices->nics[i].device, device) &&
			network_card_fits(unwanted->instance->service, &card))
			return;
	}
	cleanup(free) char *copy = alloc_text(device);
	unplug(unwanted->instance, copy);
}

/* It could not be told before: the record names the card then, and the next start has it. */
static void plugged(void *data, int code, const struct error *e, const void *bytes, size_t length,
	const int *fds, size_t fd_count)
{
	(void)data;
	(void)bytes;
	(void)length;
	for (size_t i = 0; i < fd_count; i++)
		close(fds[i]);
	if (code < 0 && code != -EAGAIN)
		log_warning("a card is not plugged: %s", e->text);
}

static char *configure_lines(const struct network_lease *lease)
{
	const char *const addresses[] = { lease->ipv4, lease->ipv6 };
	const char *const gateways[] = { lease->ipv4_gateway, lease->ipv6_gateway };
	struct text text = {};
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		if (addresses[i][0])
			text_printf(&text, "address %s %s\n", lease->hwaddr, addresses[i]);
		if (addresses[i][0] && gateways[i][0])
			text_printf(&text, "gateway %s %s\n", lease->hwaddr, gateways[i]);
	}
	return text_take(&text);
}

/* A tap for the monitor; the guest's agent sets its addresses when the guest has found the card. */
static int plug_machine(struct instance *instance, const struct network_card *card,
	const struct network_lease *lease, struct error *e)
{
	struct runner_plug message = { .header.type = RUNNER_PLUG, .kind = RUNNER_PLUG_NIC };
	cleanup(close) int tap = -1;
	cleanup(free) char *lines = configure_lines(lease);
	snprintf(message.id, sizeof(message.id), "%s", card->nic->device);
	if (mac_parse(lease->hwaddr, message.mac) < 0)
		return error_set(e, -EINVAL, "devices.%s: no address", card->nic->device);
	int r = network_card_tap(instance->service, card, 1, &tap, e);
	if (r == 0)
		r = live_send(instance->live, &message, sizeof(message), tap, plugged, instance, e);
	if (r == 0 && lines[0])
		machine_tell(instance, json_pack("{s:s}", "configure", lines));
	return r;
}

static void unplug_machine(struct instance *instance, const char *device)
{
	struct runner_plug message = { .header.type = RUNNER_UNPLUG, .kind = RUNNER_PLUG_NIC };
	struct error e = {};
	snprintf(message.id, sizeof(message.id), "%s", device);
	if (live_send(instance->live, &message, sizeof(message), -1, plugged, instance, &e) < 0)
		log_warning("a card is not unplugged: %s", e.text);
}

static int plug(struct instance *instance, const struct nic_device *nic, struct error *e)
{
	cleanup(json_decref) json_t *hosts = json_array();
	struct network_lease lease;
	struct plan_link link;
	int r = card_lease(instance, nic, &lease, &link, hosts, e);
	struct network_card card = card_of(instance, nic);
	if (r == 0)
		r = network_card_attach(instance->service, &card, e);
	if (r < 0)
		return r;
	r = (instance->kind->can & KIND_IS_MACHINE)
		? plug_machine(instance, &card, &lease, e)
		: network_card_plug(instance->service, &card, &lease, instance->live->pid, e);
	if (r < 0) {
		unplug(instance, nic->device);
		return r;
	}
	json_array_append_new(instance->live->links, json_pack("{s:s}", "device", nic->device));
	return 0;
}

int nics_update(struct instance *instance, const struct spec *spec, struct error *e)
{
	struct unwanted unwanted = { instance, spec };
	network_cards_attached(
		instance->service, instance->project, instance->name, unplug_unwanted, &unwanted);
	for (size_t i = 0; i < spec->devices.nic_count; i++) {
		const struct nic_device *nic = &spec->devices.nics[i];
		struct network_card card = card_of(instance, nic);
		int r = network_card_fits(instance->service, &card)
			? network_card_update(instance->service, &card, e)
			: plug(instance, nic, e);
		if (r < 0)
			return r;
	}
	return 0;
}
