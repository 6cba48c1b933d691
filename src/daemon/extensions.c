/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extensions.c - which API extensions are advertised, and why each one is kept.
 *
 * A line is added with the code that keeps it, by whoever writes that code.
 */
#include "daemon/extensions.h"

#include "base/base.h"

static const struct {
	const char *name;
	const char *why; /* what of ours keeps the promise */
} extensions[] = {
	{ "etag", "every object's GET has one, PUT and PATCH honour If-Match" },
	{ "patch", "objects are changed in part" },
	{ "api_filtering", "reply_collection() filters on the server" },
	{ "certificate_token", "POST /1.0/certificates with `token`; core.remote_token_expiry" },
	{ "certificate_project", "`restricted` and `projects` of a certificate: access.c" },
	{ "certificate_update", "PUT and PATCH of /1.0/certificates/{fingerprint}" },
	{ "projects", "every object belongs to one" },
	{ "project_usage", "GET /1.0/projects/{name}/state" },
	{ "network", "GET, POST, PUT, PATCH and DELETE of /1.0/networks" },
	{ "network_state", "GET /1.0/networks/{name}/state" },
	{ "network_state_vlan", "its `vlan`, null for a bridge" },
	{ "network_leases", "GET /1.0/networks/{name}/leases" },
	{ "network_nat_address", "ipv4.nat.address, ipv6.nat.address" },
	{ "network_dns_search", "dns.search" },
	{ "network_dhcp_gateway", "ipv4.dhcp.gateway" },
	{ "network_dhcp_expiry", "ipv4.dhcp.expiry, ipv6.dhcp.expiry" },
	{ "network_hwaddr", "bridge.hwaddr" },
	{ "instance_nic_network", "`network` of a card names a managed network" },
	{ "network_forward", "/1.0/networks/{name}/forwards" },
	{ "warnings", "GET /1.0/warnings" },
	{ "resources", "GET /1.0/resources" },
	{ "resources_v2", "with sockets, cores and threads" },
	{ "operation_description", "every operation has a description" },
	{ "operation_wait", "GET /1.0/operations/{id}/wait?timeout=" },
	{ "event_lifecycle", "lifecycle events on /1.0/events" },
	{ "event_project", "events say their project" },
	{ "kernel_features", "GET /1.0 says what the kernel has" },
	{ "profile_usedby", "profiles list who uses them" },
	{ "metrics", "GET /1.0/metrics" },
	{ "instances", "/1.0/instances, and /1.0/containers as another name of it" },
	{ "storage", "storage pools and their volumes" },
	{ "storage_api_volume_rename", "custom volumes are renamed" },
	{ "storage_api_local_volume_handling", "volumes are copied within and between pools" },
	{ "storage_api_volume_snapshots", "snapshots of custom volumes" },
	{ "storage_volume_state", "how much a volume holds" },
	{ "custom_volume_backup", "backups of custom volumes" },
	{ "storage_api_project", "custom volumes belong to projects" },
	{ "image_types", "images say what kind of instance they make" },
	{ "image_profiles", "images name the profiles of instances made of them" },
	{ "container_full", "?recursion=2 adds state, snapshots and backups" },
	{ "instance_get_full", "so does ?recursion=1 of one instance" },
	{ "instance_all_projects", "?all-projects=true" },
	{ "instance_create_start", "`start` of POST /1.0/instances" },
	{ "instances_rebuild", "POST /1.0/instances/{name}/rebuild, also empty" },
	{ "instance_bulk_state_change", "PUT /1.0/instances" },
	{ "container_exec_user_group_cwd", "`user`, `group` and `cwd` of exec" },
	{ "container_exec_recording", "`record-output` of exec" },
	{ "container_exec_signal_handling", "signals on the control socket; 128+n returned" },
	{ "directory_manipulation", "directories are listed and made by .../files" },
	{ "file_get_symlink", "a link is told as one" },
	{ "file_symlinks", "links are made by .../files" },
	{ "file_append", "X-LXD-write: append" },
	{ "file_delete", "DELETE .../files" },
	{ "container_edit_metadata", "GET .../metadata" },
	{ "container_only_migration", "instance_only and container_only of a copy" },
	{ "container_backup", "/1.0/instances/{name}/backups" },
	{ "backup_compression_algorithm", "compression_algorithm of a new backup" },
	{ "backup_override_name", "X-LXD-name of an import" },
	{ "console", "/1.0/instances/{name}/console" },
	{ "container_last_used_at", "last_used_at is when it started" },
	{ "container_cpu_time", "cpu.usage in the state" },
	{ "container_snapshot_stateful_migration",
		"a unikernel's copy goes on from a snapshot's state" },
	{ "snapshot_expiry", "snapshots.expiry, expires_at; looked at each minute" },
	{ "snapshot_expiry_creation", "expires_at of a new snapshot" },
	{ "cloud_init", "cloud-init.* keys: templates.c, and a machine's config drive" },
	{ "restrict_devlxd", "security.devlxd" },
	{ "devlxd_events", "GET /1.0/events of the guest API" },
	{ "instance_ready_state", "PATCH /1.0 of the guest API; instance-ready" },
	{ "proxy", "proxy devices: proxies.c" },
	{ "proxy_udp", "so for packets" },
	{ "proxy_unix", "so for unix sockets" },
	{ "proxy_tcp_udp_multi_port_handling", "lists and ranges of ports" },
	{ "proxy_haproxy_protocol", "proxy_protocol" },
	{ "proxy_unix_dac_properties", "mode, uid, gid" },
	{ "unix_device_rename", "source and path of a node differ" },
	{ "unix_hotplug_devices", "unix-hotplug: host/match.c" },
	{ "berth_plan", "POST /1.0/berth/plan: the steps of a launch, not taken" },
	{ "berth_metal", "/1.0/berth/servers, and instances of type bare-metal" },
	{ "berth_doctor", "GET /1.0/berth/doctor" },
};

json_t *extensions_json(void)
{
	json_t *names = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
		json_array_append_new(names, json_string(extensions[i].name));
	return names;
}
