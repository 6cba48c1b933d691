/* SPDX-License-Identifier: Apache-2.0 */
/*
 * container.c - the kind `container`: its limits, its links and the document of its runner.
 *
 * The document's format is doc/plan.md. A member whose value is the default is left out, so that the
 * runner has less to read.
 */
#include "kind/container.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "model/json.h"
#include "model/words.h"

#define MEMORY_MIN      (1 * MIB) /* less does not hold the first process */
#define WEIGHT_USUAL    100
#define PATH_USUAL      "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PRIORITY_USUAL  5
#define PRIORITY_WEIGHT 20 /* of one step */

static int container_check(const struct spec *spec, const struct kind_host *host, struct error *e)
{
	(void)host;
	if (!devices_root(&spec->devices))
		return error_set(e, -EINVAL,
			"devices: no root disk; a profile or the instance must have a disk with path /");
	if (spec->memory_bytes && spec->memory_bytes < MEMORY_MIN)
		return error_set(
			e, -EINVAL, "config.limits.memory: a container needs at least 1MiB");
	for (size_t i = 0; i < spec->devices.disk_count; i++) {
		const struct disk_device *disk = &spec->devices.disks[i];
		if (disk->is_block)
			return error_set(e, -EINVAL, "devices.%s.path: is missing", disk->device);
		if (disk->is_sata)
			return error_set(e, -EINVAL, "devices.%s.io.bus: a container has no bus",
				disk->device);
	}
	if (spec->is_stateful)
		return error_set(
			e, -EINVAL, "config.migration.stateful: a container has no state to keep");
	if (spec->engine)
		return error_set(e, -EINVAL,
			"config.berth.engine: a container runs on the host's own kernel");
	if (spec->cloud_user_data && spec->entrypoint)
		return error_set(e, -EINVAL,
			"config.cloud-init.user-data: an application container does not read it");
	return 0;
}

static uint32_t weight(uint32_t priority)
{
	if (priority == PRIORITY_USUAL)
		return 0;
	return priority * PRIORITY_WEIGHT ?: 1;
}

void container_limits(
	const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret)
{
	struct plan_cgroup limits = { .cpu_milli = spec->cpu.milli, .processes = spec->processes };
	if (!limits.cpu_milli)
		limits.cpu_milli = 1000 * (uint64_t)cpu_set_mask_count(&spec->cpu.set);
	if (spec->cpu_allowance.quota_us) {
		limits.cpu_milli =
			spec->cpu_allowance.quota_us * 1000 / spec->cpu_allowance.period_us;
		limits.cpu_period_us = spec->cpu_allowance.period_us;
	}
	limits.cpu_weight = spec->cpu_allowance.percent ?: weight(spec->cpu_priority);
	limits.io_weight = weight(spec->disk_priority);
	if (cpu_set_mask_count(cpus)) {
		cleanup(free) char *text = cpu_set_mask_text(cpus);
		snprintf(limits.cpuset, sizeof(limits.cpuset), "%s", text);
	}
	if (spec->is_memory_soft)
		limits.memory_low_bytes = spec->memory_bytes;
	else
		limits.memory_bytes = spec->memory_bytes;
	limits.is_swap_off = spec->is_swap_off;
	limits.has_nodes = spec->devices.node_count > 0 || spec->devices.match_count > 0;
	const struct disk_device *root = devices_root(&spec->devices);
	if (root) {
		limits.read_bytes = root->read.bytes;
		limits.read_operations = root->read.operations;
		limits.write_bytes = root->write.bytes;
		limits.write_operations = root->write.operations;
	}
	*ret = limits;
}

/* `root` as the volume's keeper gave it, and what the disk says; null in a plan that makes it first. */
static json_t *root_json(const struct kind_input *input)
{
	if (!input->root)
		return json_null();
	json_t *root = json_copy(json_mutable(input->root));
	const struct disk_device *disk = devices_root(&input->spec->devices);
	if (disk && disk->is_readonly)
		json_object_set_new(root, "readonly", json_true());
	return root;
}

static bool environment_has(const struct spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->environment_count; i++) {
		if (text_equal(spec->environment[i].name, name))
			return true;
	}
	return false;
}

static json_t *environment_json(const struct spec *spec)
{
	json_t *environment = json_array();
	if (!environment_has(spec, "PATH"))
		json_array_append_new(environment, json_string("PATH=" PATH_USUAL));
	if (!environment_has(spec, "TERM"))
		json_array_append_new(environment, json_string("TERM=linux"));
	if (!spec->entrypoint && !environment_has(spec, "container"))
		json_array_append_new(environment, json_string("container=lxc"));
	if (spec->entrypoint && !environment_has(spec, "HOME"))
		json_array_append_new(environment, json_string("HOME=/root"));
	for (size_t i = 0; i < spec->environment_count; i++)
		json_array_append_new(environment,
			json_sprintf(
				"%s=%s", spec->environment[i].name, spec->environment[i].value));
	return environment;
}

static int init_json(const struct spec *spec, json_t **ret, struct error *e)
{
	json_t *args = json_array();
	if (spec->entrypoint) {
		cleanup(words_free) char **words = NULL;
		int r = words_split(spec->entrypoint, &words, e);
		if (r < 0) {
			json_decref(args);
			return error_prefix(e, r, "config.oci.entrypoint");
		}
		for (size_t i = 0; words[i]; i++)
			json_array_append_new(args, json_string(words[i]));
	} else {
		json_array_append_new(args, json_string("/sbin/init"));
	}
	json_t *init = json_pack("{s:o, s:o, s:b}", "args", args, "environment",
		environment_json(spec), "system", spec->entrypoint == NULL);
	if (spec->cwd)
		json_object_set_new(init, "cwd", json_string(spec->cwd));
	if (spec->user)
		json_object_set_new(init, "user", json_string(spec->user));
	else if (spec->uid || spec->gid)
		json_object_set_new(init, "user", json_sprintf("%u:%u", spec->uid, spec->gid));
	if (spec->stop_signal)
		json_object_set_new(init, "stop_signal", json_string(spec->stop_signal));
	*ret = init;
	return 0;
}

static json_t *mount_json(const struct disk_device *disk, const json_t *volume)
{
	json_t *mount = json_pack("{s:s, s:s}", "device", disk->device, "target", disk->path);
	if (disk->is_tmpfs) {
		json_object_set_new(mount, "type", json_string("tmpfs"));
		if (disk->size_bytes)
			json_object_set_new(
				mount, "size_bytes", json_integer((json_int_t)disk->size_bytes));
	} else if (disk->pool) {
		json_object_set_new(mount, "type", json_string("volume"));
		json_object_set(mount, "source", json_mutable(volume));
		json_object_set_new(mount, "shift", json_true());
	} else {
		json_object_set_new(mount, "type", json_string("bind"));
		json_object_set_new(mount, "source", json_string(disk->source));
		json_object_set_new(mount, "recursive", json_boolean(disk->is_recursive));
		json_object_set_new(mount, "shift", json_boolean(disk->is_shifted));
	}
	if (disk->is_readonly)
		json_object_set_new(mount, "readonly", json_true());
	if (disk->is_optional)
		json_object_set_new(mount, "optional", json_true());
	return mount;
}

/* The directory, not the socket: the next daemon puts another one into it. */
static void add_guest_api(json_t *mounts, const char *dir)
{
	static const char *const targets[] = { "/dev/lxd", "/dev/incus" };
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		json_array_append_new(mounts,
			json_pack("{s:s, s:s, s:s, s:b}", "type", "bind", "source", dir, "target",
				targets[i], "readonly", 1));
}

json_t *container_mounts(const struct kind_input *input)
{
	json_t *mounts = json_array();
	if (input->guest_dir && !input->spec->is_guest_api_off)
		add_guest_api(mounts, input->guest_dir);
	const struct devices *devices = &input->spec->devices;
	for (size_t i = 0; i < devices->disk_count; i++) {
		if (!devices->disks[i].is_root)
			json_array_append_new(
				mounts, mount_json(&devices->disks[i], input->volumes[i]));
	}
	return mounts;
}

json_t *container_nodes(const struct kind_input *input)
{
	const struct spec *spec = input->spec;
	json_t *nodes = json_array();
	for (size_t i = 0; i < spec->devices.node_count; i++) {
		const struct node_device *node = &spec->devices.nodes[i];
		json_array_append_new(nodes,
			json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:b}", "device",
				node->device, "path", node->path, "source", node->source, "type",
				node->is_block ? "b" : "c", "mode", (int)node->mode, "uid",
				(int)node->uid, "gid", (int)node->gid, "optional",
				node->is_optional));
	}
	json_array_extend(nodes, json_mutable(input->found));
	return nodes;
}

static json_t *nic_json(const struct plan_link *link)
{
	json_t *addresses = json_array(), *gateways = json_array();
	const char *const address[] = { link->ipv4, link->ipv6 };
	const char *const gateway[] = { link->ipv4_gateway, link->ipv6_gateway };
	for (size_t i = 0; i < ARRAY_SIZE(address); i++) {
		if (address[i])
			json_array_append_new(addresses, json_string(address[i]));
		if (address[i] && gateway[i])
			json_array_append_new(gateways, json_string(gateway[i]));
	}
	json_t *nic = json_pack("{s:s, s:s, s:o, s:o}", "device", link->device, "name", link->name,
		"addresses", addresses, "gateways", gateways);
	if (link->hwaddr)
		json_object_set_new(nic, "mac", json_string(link->hwaddr));
	if (link->host)
		json_object_set(nic, "host", json_mutable(link->host));
	if (link->mtu)
		json_object_set_new(nic, "mtu", json_integer(link->mtu));
	return nic;
}

json_t *container_nics(const struct kind_input *input)
{
	json_t *nics = json_array();
	for (size_t i = 0; i < input->spec->devices.nic_count; i++)
		json_array_append_new(nics, nic_json(&input->links[i]));
	return nics;
}

static json_t *rlimits_json(const struct spec *spec)
{
	json_t *rlimits = json_array();
	for (size_t i = 0; i < spec->rlimit_count; i++) {
		const struct spec_rlimit *limit = &spec->rlimits[i];
		json_array_append_new(rlimits,
			json_pack("{s:s, s:I, s:I}", "type", limit->name, "soft",
				limit->soft == UINT64_MAX ? (json_int_t)-1
							  : (json_int_t)limit->soft,
				"hard",
				limit->hard == UINT64_MAX ? (json_int_t)-1
							  : (json_int_t)limit->hard));
	}
	return rlimits;
}

/* Sets `value` unless it is empty. */
static void set_filled(json_t *object, const char *key, json_t *value)
{
	if (json_array_size(value) || json_object_size(value))
		json_object_set_new(object, key, value);
	else
		json_decref(value);
}

void container_resolver(json_t *document, const struct kind_input *input)
{
	if (!input->nameservers || !input->nameservers[0])
		return;
	json_t *servers = json_array(), *search = json_array();
	for (size_t i = 0; input->nameservers[i]; i++)
		json_array_append_new(servers, json_string(input->nameservers[i]));
	if (input->search)
		json_array_append_new(search, json_string(input->search));
	json_object_set_new(document, "resolver",
		json_pack("{s:o, s:o}", "nameservers", servers, "search", search));
}

static int document_json(const struct kind_input *input, json_t **ret, struct error *e)
{
	const struct spec *spec = input->spec;
	json_t *init;
	int r = init_json(spec, &init, e);
	if (r < 0)
		return r;
	json_t *document = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:o}", "version", 1, "kind",
		"container", "project", input->project, "name", input->name, "hostname",
		input->name, "root", root_json(input), "init", init);
	if (!spec->is_privileged)
		json_object_set_new(document, "idmap",
			json_pack("{s:I, s:i}", "base", (json_int_t)input->idmap_base, "count",
				65536));
	else
		json_object_set_new(document, "privileged", json_true());
	if (spec->is_nesting) {
		json_object_set_new(document, "nesting", json_true());
		json_object_set_new(document, "seccomp", json_string("nesting"));
	}
	set_filled(document, "mounts", container_mounts(input));
	set_filled(document, "devices", container_nodes(input));
	if (json_array_size(input->files))
		json_object_set(document, "files", json_mutable(input->files));
	set_filled(document, "nics", container_nics(input));
	set_filled(document, "rlimits", rlimits_json(spec));
	json_t *sysctls = json_object();
	for (size_t i = 0; i < spec->sysctl_count; i++)
		json_object_set_new(
			sysctls, spec->sysctls[i].name, json_string(spec->sysctls[i].value));
	set_filled(document, "sysctl", sysctls);
	container_resolver(document, input);
	*ret = document;
	return 0;
}

static int container_plan(const struct kind_input *input, struct plan *plan, struct error *e)
{
	json_t *document = NULL;
	int r = document_json(input, &document, e);
	if (r < 0)
		return r;
	const struct disk_device *root = devices_root(&input->spec->devices);
	if (!input->root && root)
		plan_add(plan, PLAN_VOLUME)->volume =
			(struct plan_volume){ root->pool, input->name, root->size_bytes };
	struct plan_step *step = plan_add(plan, PLAN_CGROUP);
	container_limits(input->spec, &input->cpus, &step->cgroup);
	step->cgroup.path = input->cgroup;
	for (size_t i = 0; i < input->spec->devices.nic_count; i++)
		plan_add(plan, PLAN_LINK)->link = input->links[i];
	step = plan_add(plan, PLAN_RUNNER);
	step->runner.program = kind_container.runner;
	step->runner.document = document;
	return 0;
}

const struct kind kind_container = {
	.name = "container",
	.runner = "berth-container",
	.image = "container",
	.can = KIND_CAN_FREEZE | KIND_CAN_EXEC | KIND_CAN_CONSOLE | KIND_CAN_FILES |
		KIND_CAN_SNAPSHOT | KIND_CAN_LIMITS | KIND_CAN_DEVICES | KIND_HAS_SPARE,
	.check = container_check,
	.limits = container_limits,
	.plan = container_plan,
};
