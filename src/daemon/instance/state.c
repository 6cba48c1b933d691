/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - what an instance uses now, and how lists show it: as JSON text.
 */
#include "daemon/instance/state.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "daemon/instance/report.h"
#include "daemon/instance/supervisor.h"
#include "daemon/instance/volume.h"
#include "daemon/server/instance.h"
#include "daemon/server/usage.h"
#include "daemon/storage/storage.h"
#include "host/cgroup_usage.h"
#include "model/json.h"

#define TABLE_BYTES_MAX (64 * MIB)

/* As the host sees it: what it received the instance has sent. */
struct state_link {
	const char *name;
	unsigned long long in_bytes, in_packets, in_errors, in_dropped;
	unsigned long long out_bytes, out_packets, out_errors, out_dropped;
};

static int link_compare(const void *a, const void *b)
{
	const struct state_link *left = a, *right = b;
	return strcmp(left->name, right->name);
}

void state_reader_init(struct state_reader *reader)
{
	size_t lines = 0;
	*reader = (struct state_reader){};
	if (file_read(AT_FDCWD, "/proc/thread-self/net/dev", TABLE_BYTES_MAX, &reader->table, NULL,
		    NULL) < 0)
		return;
	for (const char *c = reader->table; *c; c++)
		lines += *c == '\n';
	reader->links = alloc_array(lines + 1, struct state_link);
	char *line, *rest = reader->table;
	while ((line = strsep(&rest, "\n"))) {
		char *colon = strchr(line, ':');
		unsigned long long numbers[12] = {};
		if (!colon)
			continue;
		char *at = colon + 1;
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
			numbers[i] = strtoull(at, &at, 10);
		*colon = '\0';
		reader->links[reader->count++] = (struct state_link){ line + strspn(line, " "),
			numbers[0], numbers[1], numbers[2], numbers[3], numbers[8], numbers[9],
			numbers[10], numbers[11] };
	}
	if (reader->count)
		qsort(reader->links, reader->count, sizeof(*reader->links), link_compare);
}

void state_reader_done(struct state_reader *reader)
{
	free(reader->table);
	free(reader->links);
	*reader = (struct state_reader){};
}

static const struct state_link *link_find(const struct state_reader *reader, const char *name)
{
	struct state_link key = { .name = name };
	if (!name || !reader->count)
		return NULL;
	return bsearch(&key, reader->links, reader->count, sizeof(key), link_compare);
}

/* A JSON string, quoted. */
static void add_quoted(struct text *text, const char *value)
{
	text_add_char(text, '"');
	for (const char *c = value ?: ""; *c; c++) {
		if (*c == '"' || *c == '\\')
			text_printf(text, "\\%c", *c);
		else if ((unsigned char)*c < 0x20)
			text_printf(text, "\\u%04x", (unsigned int)*c);
		else
			text_add_char(text, *c);
	}
	text_add_char(text, '"');
}

/* "10.0.0.2/24" */
static void add_address(struct text *text, const char *address)
{
	size_t length = strcspn(address, "/");
	bool is_six = strchr(address, ':') != NULL;
	bool is_local = strncasecmp(address, "fe80:", 5) == 0;
	text_printf(text,
		"{\"family\":\"%s\",\"address\":\"%.*s\",\"netmask\":\"%s\",\"scope\":\"%s\"}",
		is_six ? "inet6" : "inet", (int)length, address,
		address[length] ? address + length + 1 : "", is_local ? "link" : "global");
}

static void add_network(struct text *text, const json_t *nic, const struct state_reader *reader)
{
	static const struct state_link none;
	const char *host_name = json_text(json_object_get(nic, "host"), "name");
	const struct state_link *link = link_find(reader, host_name) ?: &none;
	const json_t *addresses = json_object_get(nic, "addresses");
	json_int_t mtu = json_integer_value(json_object_get(nic, "mtu"));
	add_quoted(text, json_text(nic, "name"));
	text_add(text, ":{\"addresses\":[");
	for (size_t i = 0; i < json_array_size(addresses); i++) {
		if (i)
			text_add_char(text, ',');
		add_address(text, json_string_value(json_array_get(addresses, i)) ?: "");
	}
	text_printf(text,
		"],\"counters\":{\"bytes_received\":%llu,\"bytes_sent\":%llu,"
		"\"packets_received\":%llu,\"packets_sent\":%llu,\"errors_received\":%llu,"
		"\"errors_sent\":%llu,\"packets_dropped_outbound\":%llu,"
		"\"packets_dropped_inbound\":%llu},\"hwaddr\":",
		link->out_bytes, link->in_bytes, link->out_packets, link->in_packets,
		link->out_errors, link->in_errors, link->in_dropped, link->out_dropped);
	add_quoted(text, json_text(nic, "mac"));
	text_add(text, ",\"host_name\":");
	add_quoted(text, host_name);
	text_printf(text, ",\"mtu\":%lld,\"state\":\"up\",\"type\":\"broadcast\"}",
		mtu ? (long long)mtu : 1500);
}

static void add_networks(
	struct text *text, const struct live *live, const struct state_reader *reader)
{
	const json_t *nics = json_object_get(live->document, "nics");
	text_add(text,
		"{\"lo\":{\"addresses\":[{\"family\":\"inet\",\"address\":\"127.0.0.1\","
		"\"netmask\":\"8\",\"scope\":\"local\"},{\"family\":\"inet6\",\"address\":\"::1\","
		"\"netmask\":\"128\",\"scope\":\"local\"}],\"counters\":{\"bytes_received\":0,"
		"\"bytes_sent\":0,\"packets_received\":0,\"packets_sent\":0},\"hwaddr\":\"\","
		"\"host_name\":\"\",\"mtu\":65536,\"state\":\"up\",\"type\":\"loopback\"}");
	for (size_t i = 0; i < json_array_size(nics); i++) {
		text_add_char(text, ',');
		add_network(text, json_array_get(nics, i), reader);
	}
	text_add_char(text, '}');
}

/* The root's usage and size, as a server's agent has `told` or the pool says; nothing where that can't. */
static void add_disks(struct text *text, struct instance *instance, const struct agent_usage *told)
{
	cleanup(spec_done) struct spec spec = {};
	text_add_char(text, '{');
	if (instance_spec(instance, &spec, NULL) == 0 && devices_root(&spec.devices)) {
		const struct disk_device *root = devices_root(&spec.devices);
		struct volume_ref ref;
		instance_volume(instance, NULL, &ref);
		uint64_t used, size;
		if (told) {
			used = told->disk_total - told->disk_free;
			size = told->disk_total;
		}
		if (told ||
			storage_volume_usage(
				instance->service->storage, &ref, &used, &size, NULL) == 0) {
			add_quoted(text, root->device);
			text_printf(text, ":{\"usage\":%llu,\"total\":%llu}",
				(unsigned long long)used, (unsigned long long)size);
		}
	}
	text_add_char(text, '}');
}

/* Says whether the agent in a server's system has told what is used there. */
static bool is_told(struct instance *instance, struct agent_usage *ret, struct cgroup_usage *usage)
{
	if (!(instance->kind->can & KIND_IS_SERVER) || !instance_state_is_alive(instance->state) ||
		!server_usage_last(instance, ret))
		return false;
	*usage = (struct cgroup_usage){ .cpu_ns = ret->cpu_ns,
		.memory_bytes = ret->memory_total - ret->memory_available,
		.processes = ret->processes };
	return true;
}

void instance_state_add(struct instance *instance, const struct state_reader *reader, bool is_full,
	struct text *text)
{
	struct live *live = instance_state_is_alive(instance->state) ? instance->live : NULL;
	bool is_server = instance->kind->can & KIND_IS_SERVER;
	struct cgroup_usage usage = {};
	if (live && live->group && cgroup_usage(live->group, is_full, &usage, NULL) < 0)
		usage = (struct cgroup_usage){};
	struct agent_usage told;
	bool has_told = is_told(instance, &told, &usage);
	uint64_t memory_total = instance->service->instances->ledger.memory_bytes;
	if (has_told)
		memory_total = told.memory_total;
	else if (live && live->promised.memory_bytes)
		memory_total = live->promised.memory_bytes;
	text_printf(text, "{\"status\":\"%s\",\"status_code\":%d,\"disk\":",
		instance_state_name(instance->state), instance_state_code(instance->state));
	if (is_full && (has_told || !is_server))
		add_disks(text, instance, has_told ? &told : NULL);
	else
		text_add(text, "null");
	text_printf(text,
		",\"memory\":{\"usage\":%llu,\"usage_peak\":%llu,\"total\":%llu,\"swap_usage\":%llu,"
		"\"swap_usage_peak\":0},\"network\":",
		(unsigned long long)usage.memory_bytes, (unsigned long long)usage.memory_peak_bytes,
		(unsigned long long)memory_total, (unsigned long long)usage.swap_bytes);
	if (live) {
		add_networks(text, live, reader);
	} else if (is_server && instance_state_is_alive(instance->state)) {
		text_add_char(text, '{');
		server_instance_add_network(instance, text);
		text_add_char(text, '}');
	} else {
		text_add(text, "null");
	}
	text_printf(text, ",\"pid\":%d,\"processes\":%lld,\"cpu\":{\"usage\":%llu}",
		live ? live->pid : 0, (long long)usage.processes, (unsigned long long)usage.cpu_ns);
	if (live && live->started_ns) {
		char started[TEXT_TIME_SIZE];
		text_printf(text, ",\"started_at\":\"%s\"",
			text_format_time(live->started_ns, started));
	}
	if (is_full)
		report_add(instance, text);
	text_add_char(text, '}');
}

/* All of the object but what changes by itself, without the last brace. */
static const char *kept_text(struct instance *instance)
{
	if (instance->text)
		return instance->text;
	json_t *object = json_copy(instance->object);
	json_object_set_new(object, "location", json_string("none"));
	json_object_set_new(object, "project", json_string(instance->project));
	json_object_set(object, "expanded_config", instance->expanded_config);
	json_object_set(object, "expanded_devices", instance->expanded_devices);
	if (!json_object_get(object, "last_used_at"))
		json_set_text(object, "last_used_at", "1970-01-01T00:00:00Z");
	json_object_del(object, "half_made");
	json_object_del(object, "renamed_from");
	json_object_del(object, "templates");
	instance->text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(object);
	instance->text[strlen(instance->text) - 1] = '\0';
	return instance->text;
}

static void add_array(struct text *text, const char *name, const json_t *array)
{
	char *dumped = json_dumps(array, JSON_COMPACT);
	text_printf(text, ",\"%s\":%s", name, dumped);
	free(dumped);
}

void instance_add_text(struct instance *instance, const struct state_reader *reader, bool is_full,
	struct text *text)
{
	text_add(text, kept_text(instance));
	text_printf(text, ",\"status\":\"%s\",\"status_code\":%d",
		instance_state_name(instance->state), instance_state_code(instance->state));
	if (reader) {
		text_add(text, ",\"state\":");
		instance_state_add(instance, reader, is_full, text);
		if (json_array_size(instance->snapshots))
			add_array(text, "snapshots", instance->snapshots);
		else
			text_add(text, ",\"snapshots\":[]");
		if (json_array_size(instance->backups))
			add_array(text, "backups", instance->backups);
		else
			text_add(text, ",\"backups\":[]");
	}
	text_add_char(text, '}');
}

json_t *instance_json(struct instance *instance)
{
	cleanup(text_done) struct text text = {};
	instance_add_text(instance, NULL, false, &text);
	return json_loads(text_str(&text), 0, NULL);
}

json_t *instance_full_json(struct instance *instance)
{
	cleanup(text_done) struct text text = {};
	cleanup(state_reader_done) struct state_reader reader = {};
	state_reader_init(&reader);
	instance_add_text(instance, &reader, true, &text);
	return json_loads(text_str(&text), 0, NULL);
}

json_t *instance_seen(const struct instance *instance)
{
	static const char *const fields[] = { "architecture", "config", "description", "devices",
		"ephemeral", "profiles" };
	json_t *seen = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		json_object_set(seen, fields[i], json_object_get(instance->object, fields[i]));
	return seen;
}
