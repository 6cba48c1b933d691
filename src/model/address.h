/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.h - IP and interface addresses: read strictly, counted with, written for people.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* An IPv4 or IPv6 address and the length of its network's prefix. Zeroed: none. */
struct address {
	uint8_t family; /* AF_INET, AF_INET6, or 0 */
	uint8_t prefix; /* at most 32 or 128 */
	uint8_t bytes[16];
};

#define ADDRESS_TEXT 50 /* room for any address, "/", its prefix and a NUL */

/* "10.1.2.3" or "fd00::1"; the prefix is the whole address. -EINVAL. */
int address_parse(const char *text, struct address *ret) must_use;
/* "10.1.2.3/24": the prefix must be there. -EINVAL. */
int address_parse_cidr(const char *text, struct address *ret) must_use;

char *address_format(const struct address *address, char buffer[ADDRESS_TEXT]);
char *address_format_cidr(const struct address *address, char buffer[ADDRESS_TEXT]);

/* Bits of an address of its family; bytes likewise. */
unsigned address_bits(const struct address *address);
size_t address_size(const struct address *address);

/* By family, then as numbers; prefixes don't count. */
int address_compare(const struct address *a, const struct address *b);

/* The network it stands in: all bits behind the prefix are 0. */
struct address address_network(const struct address *address);
/* All bits behind the prefix are 1. */
struct address address_last(const struct address *address);
bool address_is_in(const struct address *address, const struct address *network);
bool address_overlaps(const struct address *a, const struct address *b);

/* The address `count` further on, with the same prefix; it wraps around. */
struct address address_plus(const struct address *address, uint64_t count);
/* How far `a` is behind `b`: UINT64_MAX if that is more; 0 if it stands before `b`. */
uint64_t address_minus(const struct address *a, const struct address *b);

/* From `first` to `last`, both of it. */
struct address_range {
	struct address first, last;
};
/* "10.1.2.10-10.1.2.20", first not behind last; -EINVAL. */
int address_range_parse(const char *text, struct address_range *ret) must_use;
/* A list as above, with commas and spaces around them; -EINVAL, -E2BIG over `count`. The number read. */
int address_ranges_parse(const char *text, struct address_range *ret, size_t count) must_use;
bool address_range_has(const struct address_range *range, const struct address *address);
/* Addresses in it; UINT64_MAX if there are more. */
uint64_t address_range_count(const struct address_range *range);

#define MAC_SIZE 6
#define MAC_TEXT 18 /* "00:16:3e:01:02:03" and its NUL */

/* Strict; -EINVAL, also for a group address. */
int mac_parse(const char *text, uint8_t ret[MAC_SIZE]) must_use;
char *mac_format(const uint8_t mac[MAC_SIZE], char buffer[MAC_TEXT]);
/* A new one with the prefix 00:16:3e, which instances have. */
void mac_random(uint8_t ret[MAC_SIZE]);

/* The address that stateless configuration gives `mac` in a network of 64 bits (RFC 4291, appendix A). */
struct address address_from_mac(const struct address *network, const uint8_t mac[MAC_SIZE]);
