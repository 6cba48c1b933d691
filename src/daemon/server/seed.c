/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed.c - files of the tenant's system.
 */
#include "daemon/server/seed.h"

#include "base/text.h"
#include "daemon/projects.h"
#include "model/json.h"

#define SEED "/var/lib/cloud/seed/nocloud/"

static void add(json_t *files, const char *mode, const char *path, const char *data)
{
	json_array_append_new(files,
		json_pack("{s:s, s:s, s:s}", "mode", mode, "path", path, "data", data ?: ""));
}

uint32_t server_seed_vlan_read(const char *text)
{
	uint64_t vlan;
	return text_to_u64(text, &vlan) == 0 && vlan > 0 && vlan < 4095 ? (uint32_t)vlan : 0;
}

uint32_t server_seed_vlan(const struct instance *instance)
{
	const char *theirs = instance_config(instance, "user.vlan");
	cleanup(json_decref) json_t *project = NULL;
	const char *tenants = project_get(instance->service, instance->project, &project, NULL) < 0
		? NULL
		: json_text(json_object_get(project, "config"), "berth.vlan");
	const char *text = tenants && *tenants ? tenants : theirs;
	return text ? server_seed_vlan_read(text) : 0;
}

/* JSON is YAML. */
static char *network_config(const struct instance *instance, const struct server *server)
{
	const char *theirs = instance_config(instance, "cloud-init.network-config");
	if (theirs)
		return alloc_text(theirs);
	/* In its own network somebody else gives addresses. */
	if (server_seed_vlan(instance)) {
		cleanup(json_decref) json_t *dhcp = json_pack("{s:i, s:{s:{s:{s:s}, s:s, s:b}}}",
			"version", 2, "ethernets", "eth0", "match", "macaddress",
			server_text(server, "mac") ?: "", "set-name", "eth0", "dhcp4", 1);
		return json_dumps(dhcp, JSON_COMPACT);
	}
	cleanup(json_decref) json_t *config =
		json_pack("{s:i, s:{s:{s:{s:s}, s:s, s:[s]}}}", "version", 2, "ethernets", "eth0",
			"match", "macaddress", server_text(server, "mac") ?: "", "set-name", "eth0",
			"addresses", server_text(server, "host") ?: "");
	return json_dumps(config, JSON_COMPACT);
}

json_t *server_seed_files(const struct instance *instance, const struct server *server)
{
	json_t *files = json_array();
	const char *id = instance_config(instance, "volatile.cloud-init.instance-id");
	const char *keys = instance_config(instance, "user.ssh-keys");
	cleanup(free) char *meta = alloc_printf(
		"instance-id: %s\nlocal-hostname: %s\n", id ?: instance->name, instance->name);
	cleanup(free) char *network = network_config(instance, server);
	add(files, "0600", SEED "meta-data", meta);
	add(files, "0600", SEED "user-data",
		instance_config(instance, "cloud-init.user-data") ?: "#cloud-config\n{}\n");
	add(files, "0600", SEED "vendor-data",
		instance_config(instance, "cloud-init.vendor-data") ?: "#cloud-config\n{}\n");
	add(files, "0600", SEED "network-config", network);
	if (keys) {
		cleanup(free) char *lines = alloc_printf("%s\n", keys);
		add(files, "0600", "/root/.ssh/authorized_keys", lines);
	}
	return files;
}
