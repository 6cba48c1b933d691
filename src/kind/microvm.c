/* SPDX-License-Identifier: Apache-2.0 */
/*
 * microvm.c - the kind `microvm`: what its monitor is given, and what it cannot have.
 */
#include "kind/microvm.h"

#include <errno.h>

#include "kind/container.h"
#include "model/words.h"

#define MEMORY_MIN    (96 * MIB) /* less does not hold the kernel and its initial file system */
#define MEMORY_USUAL  (512 * MIB)
#define MONITOR_BYTES (64 * MIB) /* the monitor's own, beside the guest's memory */
#define DISK_USUAL    (10 * GIB)
#define CPUS_MAX      64

static int refuse(struct error *e, const char *field, const char *why)
{
	return error_set(e, -EINVAL, "%s: %s", field, why);
}

static int check_config(const struct spec *spec, struct error *e)
{
	if (spec->memory_bytes && spec->memory_bytes < MEMORY_MIN)
		return refuse(e, "config.limits.memory", "a microVM needs at least 96MiB");
	if (spec->is_memory_soft)
		return refuse(
			e, "config.limits.memory.enforce", "a microVM's memory is a hard limit");
	if (spec->processes)
		return refuse(
			e, "config.limits.processes", "a microVM's kernel has its own processes");
	if (spec->is_privileged)
		return refuse(e, "config.security.privileged", "a microVM has a kernel of its own");
	if (spec->sysctl_count)
		return refuse(e, "config.linux.sysctl", "a microVM takes none yet");
	if (spec->cloud_user_data)
		return refuse(e, "config.cloud-init.user-data", "a microVM does not read it");
	return 0;
}

static int microvm_check(const struct spec *spec, const struct kind_host *host, struct error *e)
{
	const struct devices *devices = &spec->devices;
	if (!devices_root(devices))
		return refuse(e, "devices",
			"no root disk; a profile or the instance must have a disk with path /");
	for (size_t i = 0; i < devices->disk_count; i++)
		if (!devices->disks[i].is_root)
			return error_set(e, -EINVAL, "devices.%s: a microVM has only its root disk",
				devices->disks[i].device);
	if (devices->node_count)
		return error_set(e, -EINVAL, "devices.%s: a microVM has no devices of the host",
			devices->nodes[0].device);
	if (!host->kernel)
		return refuse(e, "type",
			"a microvm needs a kernel: unpack Debian's linux-image-cloud-amd64 in "
			"kernels/NAME of the daemon's directory, or set berth.kernel");
	return check_config(spec, e);
}

static uint32_t vcpus(const struct plan_cgroup *limits, uint32_t host_cpus)
{
	uint64_t cpus = limits->cpu_milli ? (limits->cpu_milli + 999) / 1000 : host_cpus;
	return cpus > CPUS_MAX ? CPUS_MAX : cpus ? (uint32_t)cpus : 1;
}

static json_t *root_json(const struct kind_input *input)
{
	return input->root ? json_copy((json_t *)(uintptr_t)input->root) : json_null();
}

static json_t *init_json(const struct spec *spec, struct error *e)
{
	json_t *args = json_array(), *environment = json_array();
	cleanup(words_free) char **words = NULL;
	if (spec->entrypoint && words_split(spec->entrypoint, &words, e) < 0) {
		json_decref(args);
		json_decref(environment);
		return NULL;
	}
	for (size_t i = 0; words && words[i]; i++)
		json_array_append_new(args, json_string(words[i]));
	for (size_t i = 0; i < spec->environment_count; i++)
		json_array_append_new(environment,
			json_sprintf(
				"%s=%s", spec->environment[i].name, spec->environment[i].value));
	json_t *init = json_pack("{s:o, s:o}", "args", args, "environment", environment);
	if (spec->cwd)
		json_object_set_new(init, "cwd", json_string(spec->cwd));
	if (spec->user)
		json_object_set_new(init, "user", json_string(spec->user));
	else if (spec->uid || spec->gid)
		json_object_set_new(init, "user", json_sprintf("%u:%u", spec->uid, spec->gid));
	return init;
}

static int microvm_plan(const struct kind_input *input, struct plan *plan, struct error *e)
{
	const struct spec *spec = input->spec;
	const struct disk_device *root = devices_root(&spec->devices);
	uint64_t memory = spec->memory_bytes ?: MEMORY_USUAL;
	json_t *init = init_json(spec, e);
	if (!init)
		return error_prefix(e, -EINVAL, "config.oci.entrypoint");
	if (!input->root && root)
		plan_add(plan, PLAN_VOLUME)->volume =
			(struct plan_volume){ root->pool, input->name, root->size_bytes };
	struct plan_step *step = plan_add(plan, PLAN_CGROUP);
	container_limits(spec, &input->cpus, &step->cgroup);
	step->cgroup.path = input->cgroup;
	step->cgroup.memory_bytes = memory + MONITOR_BYTES;
	step->cgroup.has_nodes = false;
	uint32_t cpus = vcpus(&step->cgroup, input->host_cpus);
	for (size_t i = 0; i < spec->devices.nic_count; i++)
		plan_add(plan, PLAN_LINK)->link = input->links[i];
	json_t *document = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:I, s:I, s:o}",
		"version", 1, "kind", "microvm", "project", input->project, "name", input->name,
		"hostname", input->name, "root", root_json(input), "init", init, "cpus", (int)cpus,
		"memory_bytes", (json_int_t)memory, "disk_bytes",
		(json_int_t)(root && root->size_bytes ? root->size_bytes : DISK_USUAL), "nics",
		container_nics(input));
	container_resolver(document, input);
	if (input->kernel)
		json_object_set_new(document, "kernel", json_string(input->kernel));
	if (input->engine)
		json_object_set_new(document, "engine", json_string(input->engine));
	step = plan_add(plan, PLAN_RUNNER);
	step->runner.program = kind_microvm.runner;
	step->runner.document = document;
	return 0;
}

const struct kind kind_microvm = {
	.name = "microvm",
	.runner = "berth-machine",
	.can = KIND_CAN_FREEZE | KIND_CAN_EXEC | KIND_CAN_CONSOLE | KIND_CAN_FILES | KIND_HAS_AGENT,
	.check = microvm_check,
	.plan = microvm_plan,
};
