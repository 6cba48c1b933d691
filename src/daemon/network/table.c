/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.c - finds cards by who has them and by their addresses, without a walk over all of them.
 */
#include "daemon/network/table.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/text.h"

struct network *network_find(struct networks *networks, const char *project, const char *name)
{
	struct network *network = networks->list;
	while (network &&
		(!text_equal(network->name, name) || !text_equal(network->project, project)))
		network = network->next;
	return network;
}

static size_t bucket_of(uint64_t hash)
{
	return hash % CARD_BUCKETS;
}

static size_t bucket_of_bytes(const void *bytes, size_t length)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return bucket_of(hash ^ hash >> 32);
}

static size_t bucket_of_owner(const char *project, const char *instance)
{
	return bucket_of(network_hash(network_hash(0, project), instance));
}

static size_t bucket_of_card(const struct card *card, enum card_index index)
{
	switch (index) {
	case CARD_BY_OWNER:
		return bucket_of_owner(card->project, card->instance);
	case CARD_BY_HOST:
		return bucket_of(network_hash(0, card->host_name));
	case CARD_BY_MAC:
		return bucket_of_bytes(card->mac, MAC_SIZE);
	case CARD_BY_IPV4:
		return bucket_of_bytes(card->ipv4.bytes, sizeof(card->ipv4.bytes));
	case CARD_BY_IPV6:
		return bucket_of_bytes(card->ipv6.bytes, sizeof(card->ipv6.bytes));
	case CARD_INDEXES:
		break;
	}
	return 0;
}

void card_link(struct networks *networks, struct card *card)
{
	for (size_t i = 0; i < CARD_INDEXES; i++) {
		struct card **bucket =
			&networks->cards[i][bucket_of_card(card, (enum card_index)i)];
		card->next[i] = *bucket;
		*bucket = card;
	}
}

void card_unlink(struct networks *networks, struct card *card)
{
	for (size_t i = 0; i < CARD_INDEXES; i++) {
		struct card **at = &networks->cards[i][bucket_of_card(card, (enum card_index)i)];
		while (*at != card)
			at = &(*at)->next[i];
		*at = card->next[i];
	}
}

struct card *card_find(
	struct networks *networks, const char *project, const char *instance, const char *device)
{
	struct card *card = networks->cards[CARD_BY_OWNER][bucket_of_owner(project, instance)];
	while (card &&
		(!text_equal(card->project, project) || !text_equal(card->instance, instance) ||
			!text_equal(card->device, device)))
		card = card->next[CARD_BY_OWNER];
	return card;
}

struct card *cards_of(struct networks *networks, const char *project, const char *instance)
{
	return networks->cards[CARD_BY_OWNER][bucket_of_owner(project, instance)];
}

struct card *card_find_host(struct networks *networks, const char *host_name)
{
	struct card *card = networks->cards[CARD_BY_HOST][bucket_of(network_hash(0, host_name))];
	while (card && !text_equal(card->host_name, host_name))
		card = card->next[CARD_BY_HOST];
	return card;
}

void cards_each(struct networks *networks, cards_call *call, void *data)
{
	for (size_t i = 0; i < CARD_BUCKETS; i++) {
		struct card *next;
		for (struct card *card = networks->cards[CARD_BY_OWNER][i]; card; card = next) {
			next = card->next[CARD_BY_OWNER];
			call(data, card);
		}
	}
}

struct card *card_find_mac(struct networks *networks, const struct network *network,
	const uint8_t *mac, const struct card *but)
{
	struct card *card = networks->cards[CARD_BY_MAC][bucket_of_bytes(mac, MAC_SIZE)];
	while (card &&
		(card == but || card->network != network || memcmp(card->mac, mac, MAC_SIZE) != 0))
		card = card->next[CARD_BY_MAC];
	return card;
}

struct card *card_find_address(struct networks *networks, const struct network *network,
	const struct address *address, const struct card *but)
{
	enum card_index index = address->family == AF_INET ? CARD_BY_IPV4 : CARD_BY_IPV6;
	struct card *card =
		networks->cards[index][bucket_of_bytes(address->bytes, sizeof(address->bytes))];
	for (; card; card = card->next[index]) {
		const struct address *its = index == CARD_BY_IPV4 ? &card->ipv4 : &card->ipv6;
		if (card != but && card->network == network && address_compare(its, address) == 0)
			break;
	}
	return card;
}

void card_free(struct card *card)
{
	free(card->project);
	free(card->instance);
	free(card->device);
	free(card);
}

static void free_one(void *data, struct card *card)
{
	(void)data;
	card_free(card);
}

void cards_free(struct networks *networks)
{
	cards_each(networks, free_one, NULL);
	memset(networks->cards, 0, sizeof(networks->cards));
}
