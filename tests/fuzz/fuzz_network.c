/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_network.c - configs of networks, forwards and addresses, whatever they say.
 *
 * A document with `listen_address` is a forward, any other a config; each of its texts is an address, too.
 */
#include <arpa/inet.h>
#include <string.h>

#include "model/json.h"
#include "model/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_free(void *data, const struct address *address)
{
	uint32_t *tries = data;
	(void)address;
	return ++*tries < 4;
}

static void read_text(const char *text)
{
	char written[ADDRESS_TEXT];
	struct address address, again;
	struct address_range ranges[4];
	uint8_t mac[MAC_SIZE];
	if (address_parse_cidr(text, &address) == 0) {
		address_format_cidr(&address, written);
		if (address_parse_cidr(written, &again) < 0 ||
			address_compare(&address, &again) != 0 || address.prefix != again.prefix)
			abort();
		struct address first = address_network(&address), last = address_last(&address);
		if (!address_is_in(&last, &address) || !address_is_in(&first, &address) ||
			address_compare(&first, &last) > 0)
			abort();
	}
	(void)!address_ranges_parse(text, ranges, ARRAY_SIZE(ranges));
	(void)!mac_parse(text, mac);
	(void)!network_check_name(text, NULL);
}

static void read_config(const json_t *json)
{
	struct network_config config;
	struct address address;
	uint32_t tries = 0;
	if (network_config_read(json, &config, NULL) < 0)
		return;
	if (config.ipv4.address.family)
		(void)!network_choose_address(&config.ipv4, 12345, is_free, &tries, &address);
	if (config.ipv6.address.family &&
		network_choose_address(&config.ipv6, 12345, is_free, &tries, &address) &&
		!address_is_in(&address, &config.ipv6.address))
		abort();
	network_config_done(&config);
}

static void read_forward(const json_t *json)
{
	struct network_config config = {};
	struct network_forward forward;
	if (address_parse_cidr("10.5.0.1/16", &config.ipv4.address) < 0 ||
		address_parse_cidr("fd42::1/64", &config.ipv6.address) < 0)
		abort();
	if (network_forward_read(json, &config, &forward, NULL) < 0)
		return;
	for (size_t i = 0; i < forward.count; i++)
		if (forward.ports[i].protocol != 0 &&
			(forward.ports[i].listen == 0 || forward.ports[i].target == 0))
			abort();
	network_forward_done(&forward);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json;
	const char *key;
	json_t *value;
	if (json_parse((const char *)data, size, &json, NULL) < 0)
		return 0;
	json_object_foreach(json, key, value)
	{
		read_text(key);
		if (json_is_string(value))
			read_text(json_string_value(value));
	}
	if (json_object_get(json, "listen_address"))
		read_forward(json);
	else
		read_config(json);
	json_decref(json);
	return 0;
}
