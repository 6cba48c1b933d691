/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - the disks, network cards, device nodes and proxies that an instance asked for, read and checked.
 */
#include "model/device.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/address.h"
#include "model/field.h"
#include "model/json.h"

#define NAME_MAX_BYTES      64
#define INTERFACE_MAX_BYTES 15 /* what the kernel takes */
#define MTU_MAX             65535
#define MTU_MIN             68

/* As read, before it is known what belongs together. */
struct raw_device {
	const char *device, *type;
	struct disk_device disk;
	struct nic_device nic;
	struct node_device node;
	struct match_device match;
	struct proxy_device proxy;
	const char *gputype, *bind;
	const char *nictype, *parent_type;
	uint64_t max_bits;
	bool is_required, is_required_set;
};

static int read_rate_read(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	(void)key;
	return resources_read_disk_rate(text, &raw->disk.read, e);
}

static int read_rate_write(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	(void)key;
	return resources_read_disk_rate(text, &raw->disk.write, e);
}

static int read_rate_both(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	(void)key;
	int r = resources_read_disk_rate(text, &raw->disk.read, e);
	if (r == 0)
		raw->disk.write = raw->disk.read;
	return r;
}

static int read_required(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	(void)key;
	raw->is_required_set = true;
	return resources_read_bool(text, &raw->is_required, e);
}

static int read_hwaddr(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	uint8_t mac[MAC_SIZE];
	(void)key;
	if (mac_parse(text, mac) < 0)
		return error_set(e, -EINVAL,
			"\"%s\" is no address of one card like 00:16:3e:01:02:03", text);
	raw->nic.hwaddr = text;
	return 0;
}

static int read_address(int family, const char *text, const char **ret, struct error *e)
{
	unsigned char address[16];
	if (!text_equal(text, "none") && inet_pton(family, text, address) != 1)
		return error_set(e, -EINVAL, "\"%s\" is neither an IPv%d address nor none", text,
			family == AF_INET ? 4 : 6);
	*ret = text;
	return 0;
}

static int read_ipv4(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	(void)key;
	return read_address(AF_INET, text, &raw->nic.ipv4, e);
}

static int read_ipv6(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	(void)key;
	return read_address(AF_INET6, text, &raw->nic.ipv6, e);
}

static int read_interface(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	if (strlen(text) > INTERFACE_MAX_BYTES || strpbrk(text, "/ \t\n:%") ||
		text_equal(text, ".") || text_equal(text, ".."))
		return error_set(e, -EINVAL, "\"%s\" is no name of an interface", text);
	if (text_equal(key, "name") && text_equal(text, "lo"))
		return error_set(e, -EINVAL, "\"lo\" is taken");
	if (text_equal(key, "name"))
		raw->nic.name = text;
	else
		raw->nic.parent = text;
	return 0;
}

/* "046d" */
static int read_hex_id(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	if (strlen(text) != 4 || strspn(text, "0123456789abcdefABCDEF") != 4)
		return error_set(e, -EINVAL, "\"%.16s\" is not four hex digits", text);
	*(text_equal(key, "vendorid") ? &raw->match.vendor : &raw->match.product) = text;
	return 0;
}

static int read_proxy(void *object, const char *key, const char *text, struct error *e)
{
	struct raw_device *raw = object;
	return proxy_address_parse(
		text, text_equal(key, "listen") ? &raw->proxy.listen : &raw->proxy.connect, e);
}

#define DISK(member)  offsetof(struct raw_device, disk.member)
#define NIC(member)   offsetof(struct raw_device, nic.member)
#define NODE(member)  offsetof(struct raw_device, node.member)
#define MATCH(member) offsetof(struct raw_device, match.member)
#define PROXY(member) offsetof(struct raw_device, proxy.member)
#define RAW(member)   offsetof(struct raw_device, member)

/* What a machine's device is to its guest; `other` is for guests without virtio. */
static int read_bus(
	const char *text, const char *const *usual, const char *other, bool *ret, struct error *e)
{
	*ret = text_equal(text, other);
	for (size_t i = 0; usual[i]; i++)
		if (*ret || text_equal(text, usual[i]))
			return 0;
	return error_set(
		e, -EINVAL, "\"%.40s\" is not offered, only %s and %s", text, usual[0], other);
}

static int read_disk_bus(void *object, const char *key, const char *text, struct error *e)
{
	static const char *const usual[] = { "virtio-blk", "auto", NULL };
	struct raw_device *raw = object;
	(void)key;
	return read_bus(text, usual, "sata", &raw->disk.is_sata, e);
}

static int read_nic_bus(void *object, const char *key, const char *text, struct error *e)
{
	static const char *const usual[] = { "virtio", NULL };
	struct raw_device *raw = object;
	(void)key;
	return read_bus(text, usual, "e1000", &raw->nic.is_e1000, e);
}

static const struct field disk_fields[] = {
	{ "type", FIELD_TEXT, RAW(type) },
	{ "path", FIELD_TEXT, DISK(path) },
	{ "pool", FIELD_TEXT, DISK(pool) },
	{ "source", FIELD_TEXT, DISK(source) },
	{ "size", FIELD_BYTES, DISK(size_bytes) },
	{ "readonly", FIELD_BOOL, DISK(is_readonly) },
	{ "recursive", FIELD_BOOL, DISK(is_recursive) },
	{ "shift", FIELD_BOOL, DISK(is_shifted) },
	{ "required", FIELD_READ, .read = read_required },
	{ "limits.read", FIELD_READ, .read = read_rate_read },
	{ "limits.write", FIELD_READ, .read = read_rate_write },
	{ "limits.max", FIELD_READ, .read = read_rate_both },
	{ "boot.priority", FIELD_KEPT },
	{ "io.bus", FIELD_READ, .read = read_disk_bus },
	{ "io.cache", FIELD_REFUSED, .why = "a flush of the guest is one; there is no other mode" },
	{ "io.threads", FIELD_REFUSED, .why = "io_uring reads and writes" },
	{ "size.state", FIELD_REFUSED, .why = "only virtual machines have a state volume" },
	{ "propagation", FIELD_REFUSED, .why = "mounts of an instance are always private" },
	{ "raw.mount.options", FIELD_REFUSED, .why = "mount options can't be given raw" },
	{ "ceph.*", FIELD_REFUSED, .why = "there are no Ceph disks" },
};

static const struct field nic_fields[] = {
	{ "type", FIELD_TEXT, RAW(type) },
	{ "nictype", FIELD_TEXT, RAW(nictype) },
	{ "network", FIELD_TEXT, NIC(network) },
	{ "parent", FIELD_READ, .read = read_interface },
	{ "name", FIELD_READ, .read = read_interface },
	{ "hwaddr", FIELD_READ, .read = read_hwaddr },
	{ "mtu", FIELD_SMALL, NIC(mtu), .max = MTU_MAX },
	{ "ipv4.address", FIELD_READ, .read = read_ipv4 },
	{ "ipv6.address", FIELD_READ, .read = read_ipv6 },
	{ "limits.ingress", FIELD_BITS, NIC(ingress_bits) },
	{ "limits.egress", FIELD_BITS, NIC(egress_bits) },
	{ "limits.max", FIELD_BITS, RAW(max_bits) },
	{ "security.mac_filtering", FIELD_BOOL, NIC(mac_filtering) },
	{ "security.ipv4_filtering", FIELD_BOOL, NIC(ipv4_filtering) },
	{ "security.ipv6_filtering", FIELD_BOOL, NIC(ipv6_filtering) },
	{ "security.port_isolation", FIELD_BOOL, NIC(port_isolation) },
	{ "boot.priority", FIELD_KEPT },
	{ "io.bus", FIELD_READ, .read = read_nic_bus },
	{ "vlan*", FIELD_REFUSED, .why = "VLANs are not offered" },
	{ "ipv4.routes*", FIELD_REFUSED, .why = "routes of a card are not offered" },
	{ "ipv6.routes*", FIELD_REFUSED, .why = "routes of a card are not offered" },
	{ "security.acls*", FIELD_REFUSED, .why = "lists of access rules are not offered" },
	{ "host_name", FIELD_REFUSED, .why = "the name on the host is berth's to choose" },
};

static const struct field node_fields[] = {
	{ "type", FIELD_TEXT, RAW(type) },
	{ "path", FIELD_TEXT, NODE(path) },
	{ "source", FIELD_TEXT, NODE(source) },
	{ "mode", FIELD_OCTAL, NODE(mode), .max = 0777 },
	{ "uid", FIELD_SMALL, NODE(uid), .max = 65535 },
	{ "gid", FIELD_SMALL, NODE(gid), .max = 65535 },
	{ "required", FIELD_READ, .read = read_required },
	{ "major", FIELD_REFUSED, .why = "give the host's node by its path in `source`" },
	{ "minor", FIELD_REFUSED, .why = "give the host's node by its path in `source`" },
};

#define MATCH_FIELDS \
	{ "type", FIELD_TEXT, RAW(type) }, { "vendorid", FIELD_READ, .read = read_hex_id }, \
		{ "productid", FIELD_READ, .read = read_hex_id }, \
		{ "mode", FIELD_OCTAL, MATCH(mode), .max = 0777 }, \
		{ "uid", FIELD_SMALL, MATCH(uid), .max = 65535 }, \
	{ \
		"gid", FIELD_SMALL, MATCH(gid), .max = 65535 \
	}

static const struct field gpu_fields[] = {
	MATCH_FIELDS,
	{ "gputype", FIELD_TEXT, RAW(gputype) },
	{ "pci", FIELD_TEXT, MATCH(pci) },
	{ "id", FIELD_TEXT, MATCH(card) },
	{ "mdev", FIELD_REFUSED, .why = "only whole cards are passed on" },
	{ "mig.*", FIELD_REFUSED, .why = "only whole cards are passed on" },
};

static const struct field usb_fields[] = {
	MATCH_FIELDS,
	{ "serial", FIELD_TEXT, MATCH(serial) },
	{ "busnum", FIELD_SMALL, MATCH(bus), .max = 255 },
	{ "devnum", FIELD_SMALL, MATCH(number), .max = 255 },
	{ "required", FIELD_BOOL, MATCH(is_required) },
};

static const struct field hotplug_fields[] = {
	MATCH_FIELDS,
	{ "required", FIELD_BOOL, MATCH(is_required) },
};

static const struct field proxy_fields[] = {
	{ "type", FIELD_TEXT, RAW(type) },
	{ "listen", FIELD_READ, .read = read_proxy },
	{ "connect", FIELD_READ, .read = read_proxy },
	{ "bind", FIELD_TEXT, RAW(bind) },
	{ "nat", FIELD_BOOL, PROXY(is_nat) },
	{ "proxy_protocol", FIELD_BOOL, PROXY(has_header) },
	{ "mode", FIELD_OCTAL, PROXY(mode), .max = 0777 },
	{ "uid", FIELD_SMALL, PROXY(uid), .max = UINT32_MAX - 1 },
	{ "gid", FIELD_SMALL, PROXY(gid), .max = UINT32_MAX - 1 },
	{ "security.uid", FIELD_SMALL, PROXY(run_as_uid), .max = UINT32_MAX - 1 },
	{ "security.gid", FIELD_SMALL, PROXY(run_as_gid), .max = UINT32_MAX - 1 },
};

static const struct field none_fields[] = {
	{ "type", FIELD_TEXT, RAW(type) },
};

/* "/", "/a/b": absolute, no "." or ".." part. */
static int path_check(const char *device, const char *key, const char *path, struct error *e)
{
	bool is_good = path[0] == '/' && strlen(path) < 4096;
	for (const char *part = path; is_good && part; part = strchr(part + 1, '/')) {
		size_t length = strcspn(part + 1, "/");
		if ((length == 1 && part[1] == '.') ||
			(length == 2 && part[1] == '.' && part[2] == '.'))
			is_good = false;
	}
	if (!is_good)
		return error_set(e, -EINVAL,
			"devices.%s.%s: \"%s\" must be an absolute path without . and ..", device,
			key, path);
	return 0;
}

static int disk_finish(struct raw_device *raw, struct error *e)
{
	struct disk_device *disk = &raw->disk;
	disk->device = raw->device;
	disk->is_optional = raw->is_required_set && !raw->is_required;
	disk->is_block = !disk->path;
	int r = disk->path ? path_check(raw->device, "path", disk->path, e) : 0;
	if (r < 0)
		return r;
	disk->is_root = text_equal(disk->path, "/");
	if (disk->is_root) {
		if (disk->source)
			return error_set(e, -EINVAL,
				"devices.%s.source: the root comes from an image, not a source",
				raw->device);
		if (!disk->pool)
			return error_set(e, -EINVAL,
				"devices.%s.pool: is missing; the root needs one", raw->device);
		if (disk->size_bytes && disk->size_bytes < MIB)
			return error_set(
				e, -EINVAL, "devices.%s.size: must be at least 1MiB", raw->device);
		return 0;
	}
	if (!disk->source)
		return error_set(e, -EINVAL, "devices.%s.source: is missing", raw->device);
	if (text_equal(disk->source, "tmpfs:") || text_equal(disk->source, "tmpfs")) {
		disk->is_tmpfs = true;
		disk->source = NULL;
		return 0;
	}
	if (disk->size_bytes)
		return error_set(e, -EINVAL,
			"devices.%s.size: only the root and a tmpfs have a size; a volume has its own",
			raw->device);
	return disk->pool ? 0 : path_check(raw->device, "source", disk->source, e);
}

/*
 * On a network of ours nobody sends in another's name, unless it is said otherwise: to let any hardware
 * address pass lets any IP address pass, too.
 */
static void nic_set_filters(struct nic_device *nic, const json_t *map)
{
	const char *mac = json_string_value(json_object_get(map, "security.mac_filtering"));
	const char *network = json_string_value(json_object_get(map, "network"));
	bool is_filtered = network && network[0];
	if (mac && mac[0])
		(void)!resources_read_bool(mac, &is_filtered, NULL);
	nic->mac_filtering = nic->ipv4_filtering = nic->ipv6_filtering =
		is_filtered && network && network[0];
}

static int nic_finish(struct raw_device *raw, struct error *e)
{
	struct nic_device *nic = &raw->nic;
	nic->device = raw->device;
	if (!nic->name)
		nic->name = raw->device;
	if (strlen(nic->name) > INTERFACE_MAX_BYTES)
		return error_set(e, -EINVAL,
			"devices.%s.name: an interface has at most %d characters", raw->device,
			INTERFACE_MAX_BYTES);
	if (raw->nictype && !text_equal(raw->nictype, "bridged"))
		return error_set(e, -EINVAL,
			"devices.%s.nictype: \"%s\" is not offered, only bridged", raw->device,
			raw->nictype);
	if (nic->network && (nic->parent || raw->nictype))
		return error_set(
			e, -EINVAL, "devices.%s.network: excludes parent and nictype", raw->device);
	if (!nic->network && !nic->parent)
		return error_set(e, -EINVAL, "devices.%s.network: is missing", raw->device);
	if (nic->mtu && nic->mtu < MTU_MIN)
		return error_set(
			e, -EINVAL, "devices.%s.mtu: is less than %d", raw->device, MTU_MIN);
	if (raw->max_bits && (nic->ingress_bits || nic->egress_bits))
		return error_set(e, -EINVAL,
			"devices.%s.limits.max: excludes limits.ingress and limits.egress",
			raw->device);
	if (raw->max_bits)
		nic->ingress_bits = nic->egress_bits = raw->max_bits;
	return 0;
}

static int node_finish(struct raw_device *raw, struct error *e)
{
	struct node_device *node = &raw->node;
	node->device = raw->device;
	node->is_block = text_equal(raw->type, "unix-block");
	node->is_optional = raw->is_required_set && !raw->is_required;
	if (!node->source)
		node->source = node->path;
	if (!node->path)
		node->path = node->source;
	if (!node->path)
		return error_set(e, -EINVAL, "devices.%s.source: is missing", raw->device);
	int r = path_check(raw->device, "path", node->path, e);
	if (r == 0)
		r = path_check(raw->device, "source", node->source, e);
	if (r == 0 && !text_starts(node->source, "/dev/"))
		return error_set(e, -EINVAL, "devices.%s.source: must be below /dev", raw->device);
	return r;
}

static int match_finish(struct raw_device *raw, struct error *e)
{
	struct match_device *match = &raw->match;
	match->device = raw->device;
	match->kind = text_equal(raw->type, "gpu") ? MATCH_GPU
		: text_equal(raw->type, "usb")     ? MATCH_USB
						   : MATCH_HOTPLUG;
	if (match->kind == MATCH_GPU) {
		match->is_required = true;
		if (raw->gputype && !text_equal(raw->gputype, "physical"))
			return error_set(e, -EINVAL,
				"devices.%s.gputype: \"%.32s\" is not offered, only physical",
				raw->device, raw->gputype);
	}
	if (match->kind == MATCH_HOTPLUG && !match->vendor && !match->product)
		return error_set(e, -EINVAL,
			"devices.%s.vendorid: is missing; without it and productid every device fits",
			raw->device);
	return 0;
}

/* What a packet filter can do. */
static int nat_finish(const struct proxy_device *proxy, struct error *e)
{
	const struct proxy_address *listen = &proxy->listen, *connect = &proxy->connect;
	if (proxy->listens_inside)
		return error_set(e, -EINVAL, "devices.%s.bind: with nat it is host", proxy->device);
	if (proxy->has_header)
		return error_set(e, -EINVAL,
			"devices.%s.proxy_protocol: not with nat, which writes nothing",
			proxy->device);
	if (listen->protocol == PROXY_UNIX || listen->protocol != connect->protocol)
		return error_set(e, -EINVAL,
			"devices.%s.connect: with nat both sides are tcp or both udp",
			proxy->device);
	if (listen->is_ipv6 != connect->is_ipv6)
		return error_set(e, -EINVAL,
			"devices.%s.connect: with nat both sides are IPv4 or both IPv6",
			proxy->device);
	if (text_equal(listen->host, "0.0.0.0") || text_equal(listen->host, "::"))
		return error_set(e, -EINVAL,
			"devices.%s.listen: with nat it is one address of this host",
			proxy->device);
	return 0;
}

static int proxy_finish(struct raw_device *raw, struct error *e)
{
	static const struct {
		const char *name;
		bool is_inside;
	} sides[] = { { "host", false }, { "instance", true }, { "container", true },
		{ "guest", true } };
	struct proxy_device *proxy = &raw->proxy;
	size_t i = 0;
	proxy->device = raw->device;
	if (!proxy->listen.port_count && !proxy->listen.path[0])
		return error_set(e, -EINVAL, "devices.%s.listen: is missing", raw->device);
	if (!proxy->connect.port_count && !proxy->connect.path[0])
		return error_set(e, -EINVAL, "devices.%s.connect: is missing", raw->device);
	while (raw->bind && i < ARRAY_SIZE(sides) && !text_equal(sides[i].name, raw->bind))
		i++;
	if (i == ARRAY_SIZE(sides))
		return error_set(e, -EINVAL,
			"devices.%s.bind: \"%.32s\" is neither host nor instance", raw->device,
			raw->bind);
	proxy->listens_inside = sides[i].is_inside;
	if (proxy->has_header && proxy->connect.protocol != PROXY_TCP)
		return error_set(e, -EINVAL,
			"devices.%s.proxy_protocol: only a tcp connection begins with it",
			raw->device);
	int r = proxy_check_pair(&proxy->listen, &proxy->connect, e);
	if (r < 0)
		return error_prefix(e, r, "devices.%s.connect", raw->device);
	return proxy->is_nat ? nat_finish(proxy, e) : 0;
}

static int nothing_finish(struct raw_device *raw, struct error *e)
{
	(void)raw;
	(void)e;
	return 0;
}

/* Each type: its fields, what makes it whole, or why there is none. */
static const struct device_type {
	const char *name;
	const struct field *fields;
	size_t field_count;
	int (*finish)(struct raw_device *raw, struct error *e);
	const char *why_not;
} types[] = {
	{ "disk", disk_fields, ARRAY_SIZE(disk_fields), disk_finish, NULL },
	{ "nic", nic_fields, ARRAY_SIZE(nic_fields), nic_finish, NULL },
	{ "unix-char", node_fields, ARRAY_SIZE(node_fields), node_finish, NULL },
	{ "unix-block", node_fields, ARRAY_SIZE(node_fields), node_finish, NULL },
	{ "none", none_fields, ARRAY_SIZE(none_fields), nothing_finish, NULL },
	{ "proxy", proxy_fields, ARRAY_SIZE(proxy_fields), proxy_finish, NULL },
	{ "gpu", gpu_fields, ARRAY_SIZE(gpu_fields), match_finish, NULL },
	{ "usb", usb_fields, ARRAY_SIZE(usb_fields), match_finish, NULL },
	{ "unix-hotplug", hotplug_fields, ARRAY_SIZE(hotplug_fields), match_finish, NULL },
	{ "tpm", NULL, 0, nothing_finish, "is not offered" },
	{ "pci", NULL, 0, nothing_finish, "is not offered" },
	{ "infiniband", NULL, 0, nothing_finish, "is not offered" },
};

const struct proxy_device *devices_proxy(const struct devices *devices)
{
	for (size_t i = 0; i < devices->proxy_count; i++)
		if (!devices->proxies[i].is_nat)
			return &devices->proxies[i];
	return NULL;
}

static const struct device_type *type_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (text_equal(types[i].name, name))
			return &types[i];
	}
	return NULL;
}

static void device_add(struct devices *devices, const struct raw_device *raw)
{
	if (text_equal(raw->type, "disk"))
		devices->disks[devices->disk_count++] = raw->disk;
	else if (text_equal(raw->type, "nic"))
		devices->nics[devices->nic_count++] = raw->nic;
	else if (text_equal(raw->type, "proxy"))
		devices->proxies[devices->proxy_count++] = raw->proxy;
	else if (raw->match.device)
		devices->matches[devices->match_count++] = raw->match;
	else if (!text_equal(raw->type, "none"))
		devices->nodes[devices->node_count++] = raw->node;
}

static int device_read(
	const char *name, const json_t *map, struct devices *devices, struct error *e)
{
	struct raw_device raw = { .device = name,
		.node = { .mode = 0660 },
		.match = { .mode = 0660 },
		.proxy = { .mode = 0644 } };
	nic_set_filters(&raw.nic, map);
	if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES || strpbrk(name, "/\n"))
		return error_set(e, -EINVAL, "devices: \"%s\" is no name of a device", name);
	if (!json_is_object(map))
		return error_set(e, -EINVAL, "devices.%s: must be an object of strings", name);
	const char *type_name = json_string_value(json_object_get(map, "type"));
	if (!type_name)
		return error_set(e, -EINVAL, "devices.%s.type: is missing", name);
	const struct device_type *type = type_find(type_name);
	if (!type)
		return error_set(e, -EINVAL, "devices.%s.type: \"%s\" is unknown", name, type_name);
	if (type->why_not)
		return error_set(
			e, -EINVAL, "devices.%s.type: %s %s", name, type_name, type->why_not);
	char path[NAME_MAX_BYTES + 16];
	snprintf(path, sizeof(path), "devices.%s", name);
	int r = fields_read(type->fields, type->field_count, map, path, &raw, e);
	if (r == 0)
		r = type->finish(&raw, e);
	if (r == 0)
		device_add(devices, &raw);
	return r;
}

/* Two devices can't have one path or one interface. */
static int devices_check_apart(const struct devices *devices, struct error *e)
{
	for (size_t i = 0; i < devices->disk_count; i++) {
		for (size_t k = 0; k < i; k++) {
			if (devices->disks[i].path &&
				text_equal(devices->disks[i].path, devices->disks[k].path))
				return error_set(e, -EINVAL,
					"devices.%s.path: device %s has %s already",
					devices->disks[i].device, devices->disks[k].device,
					devices->disks[i].path);
		}
	}
	for (size_t i = 0; i < devices->nic_count; i++) {
		for (size_t k = 0; k < i; k++) {
			if (text_equal(devices->nics[i].name, devices->nics[k].name))
				return error_set(e, -EINVAL,
					"devices.%s.name: device %s is %s already",
					devices->nics[i].device, devices->nics[k].device,
					devices->nics[i].name);
		}
	}
	return 0;
}

int devices_read(const json_t *map, struct devices *ret, struct error *e)
{
	if (map && !json_is_null(map) && !json_is_object(map))
		return error_set(e, -EINVAL, "devices: must be an object of devices");
	size_t count = json_object_size(map);
	if (count > DEVICES_MAX)
		return error_set(e, -EINVAL, "devices: are more than %d", DEVICES_MAX);
	cleanup(devices_done) struct devices devices = {
		.disks = alloc_array(count + 1, struct disk_device),
		.nics = alloc_array(count + 1, struct nic_device),
		.nodes = alloc_array(count + 1, struct node_device),
		.matches = alloc_array(count + 1, struct match_device),
		.proxies = alloc_array(count + 1, struct proxy_device),
	};
	json_t *all = json_mutable(map);
	for (void *at = json_object_iter(all); at; at = json_object_iter_next(all, at)) {
		int r = device_read(
			json_object_iter_key(at), json_object_iter_value(at), &devices, e);
		if (r < 0)
			return r;
	}
	int r = devices_check_apart(&devices, e);
	if (r < 0)
		return r;
	*ret = devices;
	devices = (struct devices){};
	return 0;
}

void devices_done(struct devices *devices)
{
	free(devices->disks);
	free(devices->nics);
	free(devices->nodes);
	free(devices->matches);
	free(devices->proxies);
	*devices = (struct devices){};
}

const struct disk_device *devices_root(const struct devices *devices)
{
	for (size_t i = 0; i < devices->disk_count; i++) {
		if (devices->disks[i].is_root)
			return &devices->disks[i];
	}
	return NULL;
}
