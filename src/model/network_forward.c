/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network_forward.c - what a listen address of a network forwards, read port by port.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"
#include "model/network.h"

#define PATH_MAX_BYTES 64
#define TEXT_MAX_BYTES 4096 /* of a list of ports */

struct port_range {
	uint16_t first, last;
};

/* What grows while a forward is read. */
struct reading {
	const struct network_config *config;
	struct network_forward forward;
};

static int read_port(const char *text, uint16_t *ret)
{
	uint64_t number;
	if (text_to_u64(text, &number) < 0 || number == 0 || number > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)number;
	return 0;
}

/* "80" or "8000-8010". */
static int read_range(char *text, struct port_range *ret)
{
	char *dash = strchr(text, '-');
	if (dash)
		*dash = '\0';
	if (read_port(text, &ret->first) < 0 || read_port(dash ? dash + 1 : text, &ret->last) < 0)
		return -EINVAL;
	return ret->first <= ret->last ? 0 : -EINVAL;
}

/* The next port of a list of ranges, from `at` on. */
struct port_list {
	struct port_range *ranges; /* owned */
	size_t count;
	uint32_t total; /* ports */
};

static void port_list_done(struct port_list *list)
{
	free(list->ranges);
}

static void port_list_done_cleanup(struct port_list *local)
{
	port_list_done(local);
}

static int read_list(const char *text, const char *path, struct port_list *ret, struct error *e)
{
	cleanup(port_list_done) struct port_list list = {};
	if (strlen(text) > TEXT_MAX_BYTES)
		return error_set(e, -EINVAL, "%s: longer than %d bytes", path, TEXT_MAX_BYTES);
	cleanup(free) char *copy = alloc_text(text);
	char *rest = copy;
	for (char *one = strsep(&rest, ","); one; one = strsep(&rest, ",")) {
		struct port_range range;
		one += strspn(one, " ");
		if (read_range(one, &range) < 0)
			return error_set(e, -EINVAL,
				"%s: \"%s\" is no list of ports like 80,8000-8010", path, text);
		list.total += (uint32_t)(range.last - range.first) + 1;
		if (list.total > NETWORK_PORTS_MAX)
			return error_set(
				e, -EINVAL, "%s: more than %d ports", path, NETWORK_PORTS_MAX);
		list.ranges = alloc_resize(list.ranges, list.count + 1, sizeof(list.ranges[0]));
		list.ranges[list.count++] = range;
	}
	*ret = list;
	list = (struct port_list){};
	return 0;
}

/* The port number `index` of the list; the only one of a list of one for every index. */
static uint16_t port_at(const struct port_list *list, uint32_t index)
{
	if (list->total == 1)
		return list->ranges[0].first;
	for (size_t i = 0; i < list->count; i++) {
		uint32_t count = (uint32_t)(list->ranges[i].last - list->ranges[i].first) + 1;
		if (index < count)
			return (uint16_t)(list->ranges[i].first + index);
		index -= count;
	}
	return 0;
}

static int read_target(const struct reading *reading, const char *text, const char *path,
	struct address *ret, struct error *e)
{
	struct address address;
	if (address_parse(text, &address) < 0)
		return error_set(e, -EINVAL, "%s: \"%s\" is no address", path, text);
	if (address.family != reading->forward.listen.family)
		return error_set(e, -EINVAL, "%s: not of the listen address's family", path);
	const struct network_family *family =
		address.family == AF_INET ? &reading->config->ipv4 : &reading->config->ipv6;
	if (!family->address.family || !address_is_in(&address, &family->address))
		return error_set(e, -EINVAL, "%s: %s is not in the network", path, text);
	if (address_compare(&address, &family->address) == 0)
		return error_set(e, -EINVAL, "%s: %s is the network's gateway", path, text);
	*ret = address;
	return 0;
}

static bool is_there(const struct network_forward *forward, uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < forward->count; i++)
		if (forward->ports[i].protocol == protocol && forward->ports[i].listen == port)
			return true;
	return false;
}

static int add_ports(struct reading *reading, uint8_t protocol, const struct port_list *listen,
	const struct port_list *target, const struct address *to, const char *path, struct error *e)
{
	struct network_forward *forward = &reading->forward;
	if (forward->count + listen->total > NETWORK_PORTS_MAX)
		return error_set(e, -EINVAL, "ports: more than %d in all", NETWORK_PORTS_MAX);
	forward->ports = alloc_resize(
		forward->ports, forward->count + listen->total + 1, sizeof(forward->ports[0]));
	for (uint32_t i = 0; i < listen->total; i++) {
		struct network_port port = {
			.protocol = protocol,
			.listen = port_at(listen, i),
			.target = target->total ? port_at(target, i) : port_at(listen, i),
			.to = *to,
		};
		if (is_there(forward, protocol, port.listen))
			return error_set(e, -EINVAL, "%s.listen_port: port %u is there twice", path,
				port.listen);
		forward->ports[forward->count++] = port;
	}
	return 0;
}

static int read_ports(
	struct reading *reading, const json_t *port, const char *path, struct error *e)
{
	static const char *const known[] = { "description", "protocol", "listen_port",
		"target_port", "target_address", NULL };
	const char *protocol = "", *listen = "", *target = "", *to = "";
	char field[PATH_MAX_BYTES + 32];
	int r = json_read_known(port, path, known, e);
	if (r == 0)
		r = json_require_text(port, path, "protocol", &protocol, e);
	if (r == 0)
		r = json_require_text(port, path, "listen_port", &listen, e);
	if (r == 0)
		r = json_require_text(port, path, "target_address", &to, e);
	if (r == 0)
		r = json_read_text(port, path, "target_port", &target, e);
	if (r < 0)
		return r;
	bool is_tcp = text_equal(protocol, "tcp");
	if (!is_tcp && !text_equal(protocol, "udp"))
		return error_set(
			e, -EINVAL, "%s.protocol: \"%s\" is not tcp or udp", path, protocol);
	cleanup(port_list_done) struct port_list listens = {}, targets = {};
	struct address address = {};
	snprintf(field, sizeof(field), "%s.listen_port", path);
	r = read_list(listen, field, &listens, e);
	snprintf(field, sizeof(field), "%s.target_port", path);
	if (r == 0 && target[0])
		r = read_list(target, field, &targets, e);
	if (r == 0 && targets.total > 1 && targets.total != listens.total)
		return error_set(
			e, -EINVAL, "%s: %u ports for %u", field, targets.total, listens.total);
	snprintf(field, sizeof(field), "%s.target_address", path);
	if (r == 0)
		r = read_target(reading, to, field, &address, e);
	if (r < 0)
		return r;
	return add_ports(
		reading, is_tcp ? IPPROTO_TCP : IPPROTO_UDP, &listens, &targets, &address, path, e);
}

static int read_rest(struct reading *reading, json_t *config, struct error *e)
{
	const char *key;
	json_t *value;
	struct address target;
	json_object_foreach(config, key, value)
	{
		if (text_starts(key, "user."))
			continue;
		if (!text_equal(key, "target_address"))
			return error_set(e, -EINVAL, "config.%s: unknown key", key);
		const char *text = json_string_value(value);
		if (!text[0])
			continue;
		int r = read_target(reading, text, "config.target_address", &target, e);
		if (r < 0)
			return r;
		struct network_forward *forward = &reading->forward;
		forward->ports =
			alloc_resize(forward->ports, forward->count + 1, sizeof(forward->ports[0]));
		forward->ports[forward->count++] = (struct network_port){ .to = target };
	}
	return 0;
}

static int read_all(struct reading *reading, const json_t *forward, struct error *e)
{
	const char *listen = "";
	json_t *config = NULL, *ports = NULL;
	int r = json_require_text(forward, "", "listen_address", &listen, e);
	if (r == 0)
		r = json_read_text_map(forward, "", "config", &config, e);
	if (r == 0)
		r = json_read_array(forward, "", "ports", &ports, e);
	if (r < 0)
		return r;
	if (address_parse(listen, &reading->forward.listen) < 0)
		return error_set(e, -EINVAL, "listen_address: \"%s\" is no address", listen);
	for (size_t i = 0; i < json_array_size(ports); i++) {
		char path[PATH_MAX_BYTES];
		snprintf(path, sizeof(path), "ports.%zu", i);
		const json_t *port = json_array_get(ports, i);
		if (!json_is_object(port))
			return error_set(e, -EINVAL, "%s: an object is wanted", path);
		r = read_ports(reading, port, path, e);
		if (r < 0)
			return r;
	}
	return config ? read_rest(reading, config, e) : 0;
}

int network_forward_read(const json_t *forward, const struct network_config *config,
	struct network_forward *ret, struct error *e)
{
	struct reading reading = { .config = config };
	int r = read_all(&reading, forward, e);
	if (r < 0) {
		network_forward_done(&reading.forward);
		return r;
	}
	*ret = reading.forward;
	return 0;
}

void network_forward_done(struct network_forward *forward)
{
	free(forward->ports);
	*forward = (struct network_forward){};
}
