/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - addresses of proxy devices.
 */
#include "model/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"

#define PORT_TEXT_MAX 6

/* Digits up to `end`. */
static int read_port(const char *text, size_t length, uint16_t *ret)
{
	char digits[PORT_TEXT_MAX];
	uint64_t number;
	if (length == 0 || length >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, length);
	digits[length] = '\0';
	if (text_to_u64(digits, &number) < 0 || number == 0 || number > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)number;
	return 0;
}

static int read_ports(const char *text, struct proxy_address *address, struct error *e)
{
	for (const char *at = text;;) {
		size_t length = strcspn(at, ",");
		const char *dash = memchr(at, '-', length);
		uint16_t first = 0, last = 0;
		int r = read_port(at, dash ? (size_t)(dash - at) : length, &first);
		last = first;
		if (r == 0 && dash)
			r = read_port(dash + 1, (size_t)(at + length - dash - 1), &last);
		if (r < 0 || last < first)
			return error_set(e, -EINVAL,
				"\"%.40s\" are no ports like 80, 80-90 or 80,443", text);
		if (address->port_count + (size_t)(last - first) + 1 > PROXY_PORTS_MAX)
			return error_set(e, -EINVAL, "are more than %d ports", PROXY_PORTS_MAX);
		for (uint32_t port = first; port <= last; port++)
			address->ports[address->port_count++] = (uint16_t)port;
		if (at[length] == '\0')
			return 0;
		at += length + 1;
	}
}

/* "[::1]:80", "1.2.3.4:80" */
static int read_inet(const char *text, struct proxy_address *address, struct error *e)
{
	unsigned char bytes[16];
	const char *end = text[0] == '[' ? strchr(text, ']') : strrchr(text, ':');
	address->is_ipv6 = text[0] == '[';
	const char *start = text + address->is_ipv6;
	const char *colon = end && address->is_ipv6 ? end + 1 : end;
	size_t length = end ? (size_t)(end - start) : PROXY_HOST_MAX;
	if (length >= PROXY_HOST_MAX || *colon != ':')
		return error_set(e, -EINVAL, "\"%.64s\" is no ADDRESS:PORT", text);
	memcpy(address->host, start, length);
	address->host[length] = '\0';
	if (inet_pton(address->is_ipv6 ? AF_INET6 : AF_INET, address->host, bytes) != 1)
		return error_set(e, -EINVAL,
			"\"%.46s\" is no IP address; one of IPv6 stands in brackets",
			address->host);
	return read_ports(colon + 1, address, e);
}

static int read_path(const char *text, struct proxy_address *address, struct error *e)
{
	size_t length = strlen(text);
	if (length < 2 || length >= sizeof(address->path) || (text[0] != '/' && text[0] != '@'))
		return error_set(e, -EINVAL,
			"\"%.120s\" is no absolute path, nor @NAME, of less than %d bytes", text,
			PROXY_PATH_MAX);
	memcpy(address->path, text, length + 1);
	return 0;
}

int proxy_address_parse(const char *text, struct proxy_address *ret, struct error *e)
{
	static const struct {
		const char *start;
		enum proxy_protocol protocol;
		int (*read)(const char *text, struct proxy_address *address, struct error *e);
	} protocols[] = {
		{ "tcp:", PROXY_TCP, read_inet },
		{ "udp:", PROXY_UDP, read_inet },
		{ "unix:", PROXY_UNIX, read_path },
	};
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
		if (!text_starts(text, protocols[i].start))
			continue;
		struct proxy_address address = { .protocol = protocols[i].protocol };
		int r = protocols[i].read(text + strlen(protocols[i].start), &address, e);
		if (r == 0)
			*ret = address;
		return r;
	}
	return error_set(e, -EINVAL, "\"%.64s\" starts with none of tcp:, udp: and unix:", text);
}

int proxy_check_pair(
	const struct proxy_address *listen, const struct proxy_address *connect, struct error *e)
{
	bool is_packets = listen->protocol == PROXY_UDP;
	if (is_packets != (connect->protocol == PROXY_UDP))
		return error_set(e, -EINVAL, "udp goes to udp only, and nothing else does");
	if (connect->port_count > 1 && connect->port_count != listen->port_count)
		return error_set(e, -EINVAL, "%zu ports to listen at do not go to %zu ports",
			listen->port_count, connect->port_count);
	return 0;
}
