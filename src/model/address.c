/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.c - IP and interface addresses: read strictly, counted with, written for people.
 */
#include "model/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"

int address_parse(const char *text, struct address *ret)
{
	struct address address = {};
	if (strlen(text) >= ADDRESS_TEXT)
		return -EINVAL;
	if (inet_pton(AF_INET, text, address.bytes) == 1) {
		address.family = AF_INET;
		address.prefix = 32;
	} else if (inet_pton(AF_INET6, text, address.bytes) == 1) {
		address.family = AF_INET6;
		address.prefix = 128;
	} else {
		return -EINVAL;
	}
	*ret = address;
	return 0;
}

int address_parse_cidr(const char *text, struct address *ret)
{
	char copy[ADDRESS_TEXT];
	size_t length = strlen(text);
	if (length >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, length + 1);
	char *slash = strchr(copy, '/');
	if (!slash)
		return -EINVAL;
	*slash = '\0';
	uint64_t prefix;
	struct address address;
	int r = address_parse(copy, &address);
	if (r < 0 || text_to_u64(slash + 1, &prefix) < 0 || prefix > address_bits(&address))
		return -EINVAL;
	address.prefix = (uint8_t)prefix;
	*ret = address;
	return 0;
}

char *address_format(const struct address *address, char buffer[ADDRESS_TEXT])
{
	if (!address->family || !inet_ntop(address->family, address->bytes, buffer, ADDRESS_TEXT))
		buffer[0] = '\0';
	return buffer;
}

char *address_format_cidr(const struct address *address, char buffer[ADDRESS_TEXT])
{
	address_format(address, buffer);
	size_t length = strlen(buffer);
	if (length > 0)
		snprintf(buffer + length, ADDRESS_TEXT - length, "/%u", address->prefix);
	return buffer;
}

size_t address_size(const struct address *address)
{
	return address->family == AF_INET ? 4 : 16;
}

unsigned address_bits(const struct address *address)
{
	return (unsigned)address_size(address) * 8;
}

int address_compare(const struct address *a, const struct address *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, address_size(a));
}

/* Sets all bits behind the prefix to `ones`. */
static struct address fill(const struct address *address, bool ones)
{
	struct address filled = *address;
	for (unsigned bit = address->prefix; bit < address_bits(address); bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);
		if (ones)
			filled.bytes[bit / 8] |= mask;
		else
			filled.bytes[bit / 8] &= (uint8_t)~mask;
	}
	return filled;
}

struct address address_network(const struct address *address)
{
	return fill(address, false);
}

struct address address_last(const struct address *address)
{
	return fill(address, true);
}

bool address_is_in(const struct address *address, const struct address *network)
{
	if (address->family != network->family)
		return false;
	struct address mine = *address;
	mine.prefix = network->prefix;
	struct address of_mine = fill(&mine, false), of_network = fill(network, false);
	return address_compare(&of_mine, &of_network) == 0;
}

bool address_overlaps(const struct address *a, const struct address *b)
{
	return a->prefix < b->prefix ? address_is_in(b, a) : address_is_in(a, b);
}

struct address address_plus(const struct address *address, uint64_t count)
{
	struct address sum = *address;
	for (size_t i = address_size(address); i-- > 0 && count > 0;) {
		/* 64 bits and a byte: the carry is added to what is left of the count. */
		unsigned digit = (unsigned)(count & 0xff) + sum.bytes[i];
		sum.bytes[i] = (uint8_t)digit;
		count = (count >> 8) + (digit >> 8);
	}
	return sum;
}

uint64_t address_minus(const struct address *a, const struct address *b)
{
	if (address_compare(a, b) <= 0)
		return 0;
	unsigned __int128 high = 0, low = 0;
	for (size_t i = 0; i < address_size(a); i++) {
		high = high << 8 | a->bytes[i];
		low = low << 8 | b->bytes[i];
	}
	unsigned __int128 distance = high - low;
	return distance > UINT64_MAX ? UINT64_MAX : (uint64_t)distance;
}

int address_range_parse(const char *text, struct address_range *ret)
{
	char copy[2 * ADDRESS_TEXT];
	size_t length = strlen(text);
	if (length >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, length + 1);
	char *dash = strchr(copy, '-');
	if (!dash)
		return -EINVAL;
	*dash = '\0';
	struct address_range range;
	if (address_parse(copy, &range.first) < 0 || address_parse(dash + 1, &range.last) < 0 ||
		range.first.family != range.last.family ||
		address_compare(&range.first, &range.last) > 0)
		return -EINVAL;
	*ret = range;
	return 0;
}

int address_ranges_parse(const char *text, struct address_range *ret, size_t count)
{
	size_t read = 0;
	for (;;) {
		text += strspn(text, " ");
		size_t length = strcspn(text, ",");
		size_t part = length;
		while (part > 0 && text[part - 1] == ' ')
			part--;
		if (read == count)
			return -E2BIG;
		cleanup(free) char *one = alloc_text_n(text, part);
		int r = address_range_parse(one, &ret[read]);
		if (r < 0)
			return r;
		read++;
		if (!text[length])
			return (int)read;
		text += length + 1;
	}
}

bool address_range_has(const struct address_range *range, const struct address *address)
{
	return address->family == range->first.family &&
		address_compare(&range->first, address) <= 0 &&
		address_compare(address, &range->last) <= 0;
}

uint64_t address_range_count(const struct address_range *range)
{
	uint64_t distance = address_minus(&range->last, &range->first);
	return distance == UINT64_MAX ? distance : distance + 1;
}

int mac_parse(const char *text, uint8_t ret[MAC_SIZE])
{
	uint8_t mac[MAC_SIZE];
	if (strlen(text) != MAC_TEXT - 1)
		return -EINVAL;
	for (size_t i = 0; i < MAC_SIZE; i++) {
		char digits[3] = { text[3 * i], text[3 * i + 1] };
		char after = text[3 * i + 2];
		if (after != (i < MAC_SIZE - 1 ? ':' : '\0') ||
			text_from_hex(digits, &mac[i], 1) < 0)
			return -EINVAL;
	}
	static const uint8_t none[MAC_SIZE] = {};
	if (mac[0] & 1 || memcmp(mac, none, MAC_SIZE) == 0)
		return -EINVAL;
	memcpy(ret, mac, MAC_SIZE);
	return 0;
}

char *mac_format(const uint8_t mac[MAC_SIZE], char buffer[MAC_TEXT])
{
	snprintf(buffer, MAC_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		mac[4], mac[5]);
	return buffer;
}

void mac_random(uint8_t ret[MAC_SIZE])
{
	ret[0] = 0x00;
	ret[1] = 0x16;
	ret[2] = 0x3e;
	/* At most 256 bytes are never cut short. */
	(void)!getrandom(ret + 3, 3, 0);
}

struct address address_from_mac(const struct address *network, const uint8_t mac[MAC_SIZE])
{
	struct address address = address_network(network);
	const uint8_t id[8] = { mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5] };
	memcpy(address.bytes + 8, id, sizeof(id));
	return address;
}
