/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - plan.json: every member is known or the plan is refused.
 */
#include "vmm/plan.h"

#include <errno.h>
#include <string.h>

#define PLAN_VERSION 1
#define CPUS_LIMIT   64

enum member_type { TEXT, FLAG, NUMBER32, NUMBER64, READ };

struct member {
	const char *name;
	enum member_type type;
	size_t offset;
	uint64_t max;
	int (*read)(void *object, const json_t *value, const char *path, struct error *e);
};

static int refuse(struct error *e, const char *path, const char *name, const char *why)
{
	return error_set(e, -EINVAL, "plan: %s%s%s: %s", path, *path ? "." : "", name, why);
}

static int read_number(const struct member *member, const json_t *value, uint64_t *ret)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		(uint64_t)json_integer_value(value) > member->max)
		return -EINVAL;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

static int read_member(const struct member *member, void *object, const json_t *value,
	const char *path, struct error *e)
{
	void *field = (char *)object + member->offset;
	uint64_t number;
	switch (member->type) {
	case TEXT:
		if (!json_is_string(value))
			return refuse(e, path, member->name, "not a text");
		*(const char **)field = json_string_value(value);
		return 0;
	case FLAG:
		if (!json_is_boolean(value))
			return refuse(e, path, member->name, "neither true nor false");
		*(bool *)field = json_is_true(value);
		return 0;
	case NUMBER32:
	case NUMBER64:
		if (read_number(member, value, &number) < 0)
			return refuse(e, path, member->name, "not a whole number, or too large");
		if (member->type == NUMBER32)
			*(uint32_t *)field = (uint32_t)number;
		else
			*(uint64_t *)field = number;
		return 0;
	case READ:
		return member->read(object, value, member->name, e);
	}
	return -EINVAL;
}

static int read_object(const struct member *members, size_t count, const json_t *json,
	const char *path, void *object, struct error *e)
{
	const char *key;
	json_t *value;
	if (!json_is_object(json))
		return refuse(e, path, "", "not an object");
	/* jansson's iterators want it writable and do not write. */
	union {
		const json_t *in;
		json_t *out;
	} both = { .in = json };
	json_object_foreach(both.out, key, value)
	{
		size_t i = 0;
		while (i < count && strcmp(members[i].name, key) != 0)
			i++;
		if (i == count)
			return refuse(e, path, key, "unknown");
		if (json_is_null(value))
			continue;
		int r = read_member(&members[i], object, value, path, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A member that is "virtio" or the one other word. */
static int read_model(
	const json_t *value, const char *other, const char *path, bool *ret, struct error *e)
{
	const char *text = json_string_value(value);
	if (!text || (strcmp(text, "virtio") != 0 && strcmp(text, other) != 0))
		return error_set(
			e, -EINVAL, "plan: %s: neither \"virtio\" nor \"%s\"", path, other);
	*ret = strcmp(text, other) == 0;
	return 0;
}

static int read_disk_bus(void *object, const json_t *value, const char *path, struct error *e)
{
	struct plan_disk *disk = object;
	const char *text = json_string_value(value) ?: "";
	disk->is_cd = strcmp(text, "cdrom") == 0;
	disk->is_sata = disk->is_cd || strcmp(text, "sata") == 0;
	if (!disk->is_sata && strcmp(text, "virtio") != 0)
		return error_set(
			e, -EINVAL, "plan: %s: neither \"virtio\", \"sata\" nor \"cdrom\"", path);
	return 0;
}

static int read_nic_model(void *object, const json_t *value, const char *path, struct error *e)
{
	struct plan_nic *nic = object;
	return read_model(value, "e1000", path, &nic->is_e1000, e);
}

#define DISK(name, type, field, max) \
	{ \
		name, type, offsetof(struct plan_disk, field), max, NULL \
	}
static const struct member disk_members[] = {
	DISK("file", TEXT, file, 0),
	DISK("id", TEXT, id, 0),
	DISK("readonly", FLAG, read_only, 0),
	{ "bus", READ, 0, 0, read_disk_bus },
	DISK("bytes_per_second", NUMBER64, bytes_per_second, INT64_MAX),
	DISK("operations_per_second", NUMBER64, operations_per_second, INT64_MAX),
};

static int read_disks(void *object, const json_t *value, const char *path, struct error *e)
{
	struct plan *plan = object;
	if (!json_is_array(value) || json_array_size(value) > PLAN_DISKS_MAX)
		return refuse(e, "", path, "not an array, or too long");
	plan->disk_count = (uint32_t)json_array_size(value);
	for (uint32_t i = 0; i < plan->disk_count; i++) {
		int r = read_object(disk_members, ARRAY_SIZE(disk_members),
			json_array_get(value, i), path, &plan->disks[i], e);
		if (r < 0)
			return r;
		if (!plan->disks[i].file)
			return refuse(e, path, "file", "missing");
	}
	return 0;
}

#define NIC(name, type, field, max) \
	{ \
		name, type, offsetof(struct plan_nic, field), max, NULL \
	}
static const struct member nic_members[] = {
	NIC("tap", TEXT, tap, 0),
	NIC("mac", TEXT, mac, 0),
	NIC("id", TEXT, id, 0),
	NIC("queues", NUMBER32, queues, 8),
	{ "model", READ, 0, 0, read_nic_model },
};

static int read_nics(void *object, const json_t *value, const char *path, struct error *e)
{
	struct plan *plan = object;
	if (!json_is_array(value) || json_array_size(value) > PLAN_NICS_MAX)
		return refuse(e, "", path, "not an array, or too long");
	plan->nic_count = (uint32_t)json_array_size(value);
	for (uint32_t i = 0; i < plan->nic_count; i++) {
		int r = read_object(nic_members, ARRAY_SIZE(nic_members), json_array_get(value, i),
			path, &plan->nics[i], e);
		if (r < 0)
			return r;
		if (!plan->nics[i].tap)
			return refuse(e, path, "tap", "missing");
	}
	return 0;
}

static int read_version(void *object, const json_t *value, const char *path, struct error *e)
{
	(void)object;
	if (json_integer_value(value) != PLAN_VERSION)
		return refuse(e, "", path, "this monitor reads version 1");
	return 0;
}

static int read_kind(void *object, const json_t *value, const char *path, struct error *e)
{
	(void)object;
	const char *kind = json_string_value(value);
	if (!kind || (strcmp(kind, "vm") != 0 && strcmp(kind, "microvm") != 0))
		return refuse(e, "", path, "neither \"vm\" nor \"microvm\"");
	return 0;
}

static int read_console(void *object, const json_t *value, const char *path, struct error *e)
{
	static const char *const names[] = { "none", "stdio", "runner" };
	struct plan *plan = object;
	for (size_t i = 0; json_is_string(value) && i < ARRAY_SIZE(names); i++)
		if (strcmp(json_string_value(value), names[i]) == 0) {
			plan->console = (enum plan_console)i;
			return 0;
		}
	return refuse(e, "", path, "not one of none, stdio, runner");
}

static int read_vsock(void *object, const json_t *value, const char *path, struct error *e)
{
	static const struct member members[] = {
		{ "cid", NUMBER64, offsetof(struct plan, vsock_cid), UINT32_MAX - 1, NULL },
		{ "dir", TEXT, offsetof(struct plan, vsock_dir), 0, NULL },
	};
	struct plan *plan = object;
	int r = read_object(members, ARRAY_SIZE(members), value, path, plan, e);
	if (r < 0)
		return r;
	if (plan->vsock_cid < 3 || !plan->vsock_dir)
		return refuse(e, "", path, "it needs a cid of 3 or more and a dir");
	return 0;
}

#define PLAN(name, type, field, max) \
	{ \
		name, type, offsetof(struct plan, field), max, NULL \
	}
static const struct member plan_members[] = {
	{ "version", READ, 0, 0, read_version },
	{ "kind", READ, 0, 0, read_kind },
	PLAN("name", TEXT, name, 0),
	PLAN("engine", TEXT, engine, 0),
	PLAN("cpus", NUMBER32, cpus, CPUS_LIMIT),
	PLAN("memory_bytes", NUMBER64, memory_bytes, INT64_MAX),
	PLAN("memory_max_bytes", NUMBER64, memory_max_bytes, INT64_MAX),
	PLAN("kernel", TEXT, kernel, 0),
	PLAN("initrd", TEXT, initrd, 0),
	PLAN("shared_page", TEXT, shared_page, 0),
	PLAN("initrd_mapped", FLAG, is_initrd_mapped, 0),
	PLAN("append", TEXT, append, 0),
	PLAN("firmware", TEXT, firmware, 0),
	PLAN("firmware_vars", TEXT, firmware_vars, 0),
	PLAN("firmware_log", TEXT, firmware_log, 0),
	PLAN("cache", TEXT, cache, 0),
	PLAN("restore", TEXT, restore, 0),
	{ "disks", READ, 0, 0, read_disks },
	{ "nics", READ, 0, 0, read_nics },
	{ "vsock", READ, 0, 0, read_vsock },
	PLAN("rng", FLAG, has_rng, 0),
	PLAN("balloon", FLAG, has_balloon, 0),
	{ "console", READ, 0, 0, read_console },
	PLAN("exit_port", NUMBER32, exit_port, 0xffff),
	PLAN("keep_port", NUMBER32, keep_port, 0xfffe),
	PLAN("exit_plain", FLAG, is_exit_plain, 0),
	PLAN("exit_on_reset", FLAG, exit_on_reset, 0),
	PLAN("test_device", FLAG, has_test_device, 0),
	PLAN("jail", FLAG, is_jailed, 0),
	PLAN("uid", NUMBER32, uid, UINT32_MAX - 1),
};

int plan_read(const json_t *json, struct plan *ret, struct error *e)
{
	struct plan plan = {
		.name = "vm",
		.engine = "auto",
		.cpus = 1,
		.append = "",
		.has_rng = true,
		.has_balloon = true,
		.console = PLAN_CONSOLE_RUNNER,
		.is_jailed = true,
	};
	int r = read_object(plan_members, ARRAY_SIZE(plan_members), json, "", &plan, e);
	if (r < 0)
		return r;
	if (!json_object_get(json, "version"))
		return refuse(e, "", "version", "missing");
	if (!plan.memory_bytes)
		return refuse(e, "", "memory_bytes", "missing");
	if (plan.cpus == 0)
		return refuse(e, "", "cpus", "at least 1");
	if (!plan.kernel && !plan.firmware)
		return refuse(e, "", "kernel", "missing, and there is no firmware");
	if (plan.kernel && plan.firmware)
		return refuse(e, "", "firmware", "there is a kernel, too");
	if (plan.keep_port && !plan.is_initrd_mapped)
		return refuse(e, "", "keep_port", "goes with an initrd_mapped");
	if (plan.is_initrd_mapped && !plan.initrd)
		return refuse(e, "", "initrd_mapped", "there is no initrd");
	if (plan.is_initrd_mapped && plan.restore && !plan.keep_port)
		return refuse(e, "", "restore", "with an initrd_mapped it needs a keep_port");
	if (!plan.firmware && (plan.firmware_vars || plan.firmware_log))
		return refuse(e, "", "firmware", "missing, but its variables or its log are there");
	*ret = plan;
	return 0;
}
