/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.c - the network card of an instance: its tap on the host, its addresses inside.
 */
#include "tender/plug.h"

#include <errno.h>

#include "base/text.h"
#include "host/nic.h"
#include "model/address.h"
#include "model/json.h"

static int make_tap(const struct tender_nic *nic, int *ret, struct error *e)
{
	cleanup(netlink_close) struct netlink *netlink = NULL;
	uint8_t mac[6];
	if (mac_parse(nic->mac, mac) < 0)
		return error_set(e, -EINVAL, "nics.mac: no address");
	const struct nic made = {
		.host = nic->host,
		.bridge = nic->bridge,
		.shaper = nic->shaper,
		.mac = mac,
		.mtu = nic->mtu,
		.is_isolated = nic->is_isolated,
		.rates = { nic->into_bits, nic->out_of_bits },
	};
	int r = netlink_open(NETLINK_ROUTE, &netlink, e);
	if (r == 0)
		r = nic_make_tap(netlink, &made, 1, ret, e);
	return r < 0 ? error_prefix(e, r, "nic %s", nic->host) : 0;
}

static int say(struct card *card, struct error *e, const char *option, const char *value)
{
	cleanup(free) char *text = alloc_printf("--%s=%s", option, value);
	return card_take_option(card, text, e);
}

static int say_all(
	struct card *card, struct error *e, const char *option, const json_t *values, size_t limit)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(values) && i < limit; i++)
		r = say(card, e, option, json_string_value(json_array_get(values, i)));
	return r;
}

int plug_card(const struct tender_plan *plan, struct card *ret, struct error *e)
{
	struct card card = {};
	int tap;
	int r = say(&card, e, "host-name", plan->name);
	if (r < 0 || !plan->has_nic) {
		if (r == 0)
			*ret = card;
		return r;
	}
	r = make_tap(&plan->nic, &tap, e);
	if (r < 0)
		return r;
	cleanup(free) char *number = alloc_printf("@%d", tap);
	r = say(&card, e, "net", number);
	close(tap);
	if (r == 0)
		r = say(&card, e, "net-mac", plan->nic.mac);
	if (r == 0)
		r = say_all(&card, e, "address", plan->nic.addresses, 2);
	if (r == 0)
		r = say_all(&card, e, "gateway", plan->nic.gateways, 2);
	if (r == 0)
		r = say_all(&card, e, "dns", plan->nameservers, BOOT_DNS);
	if (r == 0)
		*ret = card;
	return r < 0 ? error_prefix(e, r, "nic %s", plan->nic.host) : 0;
}
