/* SPDX-License-Identifier: Apache-2.0 */
/*
 * card.c - the options that give a program of the library OS its network card and its addresses.
 */
#include "tender/card.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"
#include "tender/tap.h"

static int take_net(struct card *card, const char *text, struct error *e)
{
	if (card->fd)
		return error_set(e, -EEXIST, "--net=%s: there is one network card", text);
	int r = tap_open(text, &card->fd, &card->net.mtu, &card->has_header, e);
	return r < 0 ? error_prefix(e, r, "--net") : 0;
}

static int take_mac(struct card *card, const char *text, struct error *e)
{
	uint8_t *mac = card->net.mac;
	int end = 0;
	if (strlen(text) != 17 ||
		sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
			&mac[3], &mac[4], &mac[5], &end) != 6 ||
		end != 17)
		return error_set(e, -EINVAL, "--net-mac=%s is no MAC address", text);
	if (mac[0] & 1)
		return error_set(e, -EINVAL, "--net-mac=%s is an address of a group", text);
	return 0;
}

static int take_address(struct card *card, const char *text, struct error *e)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	uint64_t prefix;
	if (!slash || (size_t)(slash - text) >= sizeof(address) ||
		text_to_u64(slash + 1, &prefix) < 0)
		return error_set(e, -EINVAL, "--address=%s: ADDRESS/PREFIX is wanted", text);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	if (prefix >= 1 && prefix <= 32 && inet_pton(AF_INET, address, card->net.address4) == 1) {
		card->net.prefix4 = (uint8_t)prefix;
		return 0;
	}
	if (inet_pton(AF_INET6, address, card->net.address6) == 1) {
		if (prefix != 64)
			return error_set(
				e, -EINVAL, "--address=%s: a prefix of IPv6 is 64 here", text);
		card->net.prefix6 = (uint8_t)prefix;
		return 0;
	}
	return error_set(e, -EINVAL, "--address=%s is no address with its prefix", text);
}

static int take_gateway(struct card *card, const char *text, struct error *e)
{
	if (inet_pton(AF_INET, text, card->net.gateway4) == 1 ||
		inet_pton(AF_INET6, text, card->net.gateway6) == 1)
		return 0;
	return error_set(e, -EINVAL, "--gateway=%s is no address", text);
}

static int take_dns(struct card *card, const char *text, struct error *e)
{
	static const uint8_t none[16];
	for (size_t i = 0; i < BOOT_DNS; i++) {
		uint8_t *to = card->net.dns[i];
		if (memcmp(to, none, sizeof(none)) != 0)
			continue;
		if (inet_pton(AF_INET, text, to + 12) == 1) {
			to[10] = to[11] = 0xff;
			return 0;
		}
		if (inet_pton(AF_INET6, text, to) == 1)
			return 0;
		return error_set(e, -EINVAL, "--dns=%s is no address", text);
	}
	return error_set(e, -E2BIG, "--dns=%s: there are at most %d", text, BOOT_DNS);
}

static int take_host_name(struct card *card, const char *text, struct error *e)
{
	size_t length = strlen(text);
	if (length == 0 || length >= BOOT_HOST_NAME)
		return error_set(e, -EINVAL, "--host-name=%s: from 1 to %d characters", text,
			BOOT_HOST_NAME - 1);
	memset(card->net.host_name, 0, sizeof(card->net.host_name));
	memcpy(card->net.host_name, text, length);
	return 0;
}

int card_take_option(struct card *card, const char *option, struct error *e)
{
	static const struct {
		const char *start;
		int (*take)(struct card *card, const char *text, struct error *e);
	} options[] = {
		{ "--net=", take_net },
		{ "--net-mac=", take_mac },
		{ "--address=", take_address },
		{ "--gateway=", take_gateway },
		{ "--dns=", take_dns },
		{ "--host-name=", take_host_name },
	};
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (text_starts(option, options[i].start))
			return options[i].take(card, option + strlen(options[i].start), e);
	if (text_equal(option, "--no-ip4") || text_equal(option, "--no-ip6")) {
		card->net.flags |=
			text_equal(option, "--no-ip4") ? BOOT_NET_NO_IP4 : BOOT_NET_NO_IP6;
		return 0;
	}
	return -ENOENT;
}

int card_finish(struct card *card, struct error *e)
{
	static const uint8_t none[6];
	if (!card->fd && (card->net.prefix4 || card->net.prefix6))
		return error_set(e, -EINVAL, "--address needs a network card: --net");
	if (!card->fd || memcmp(card->net.mac, none, sizeof(none)) != 0)
		return 0;
	if (getrandom(card->net.mac, sizeof(card->net.mac), 0) != sizeof(card->net.mac))
		return error_errno(e, "a random address");
	card->net.mac[0] = (uint8_t)((card->net.mac[0] & 0xfc) | 0x02); /* local, one receiver */
	return 0;
}
