/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.h - where a proxy device listens and connects: "tcp:127.0.0.1:80", "udp:[::1]:53", "unix:/run/x.sock".
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define PROXY_PORTS_MAX 64
#define PROXY_HOST_MAX  46
#define PROXY_PATH_MAX  108

enum proxy_protocol { PROXY_TCP, PROXY_UDP, PROXY_UNIX };

struct proxy_address {
	enum proxy_protocol protocol;
	bool is_ipv6;
	char host[PROXY_HOST_MAX];       /* of tcp and udp */
	uint16_t ports[PROXY_PORTS_MAX]; /* likewise */
	size_t port_count;
	char path[PROXY_PATH_MAX]; /* of unix; "@name" is an abstract one */
};

/*
 * Ports are "80", "80-90" or "80,443,8000-8010", at most PROXY_PORTS_MAX; an address is a number, never a
 * name. -EINVAL with a sentence that does not name the field.
 */
int proxy_address_parse(const char *text, struct proxy_address *ret, struct error *e) must_use;

/* Each port has its partner, or all go to the only one. */
int proxy_check_pair(const struct proxy_address *listen, const struct proxy_address *connect,
	struct error *e) must_use;
