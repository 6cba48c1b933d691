/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metal.c - the kind `bare-metal`: a whole server with a disk image on it, and what it cannot have.
 *
 * Nothing of it is on this host: the plan has one step, the process of its BMC, which is there already.
 */
#include "kind/metal.h"

#include <errno.h>
#include <string.h>

static int refuse(struct error *e, const char *field, const char *why)
{
	return error_set(e, -EINVAL, "%s: %s", field, why);
}

static int check_config(const struct spec *spec, struct error *e)
{
	if (spec->is_memory_soft)
		return refuse(e, "config.limits.memory.enforce", "a server's memory is its own");
	if (spec->cpu_allowance.percent || spec->cpu_allowance.quota_us)
		return refuse(e, "config.limits.cpu.allowance", "a server's CPUs are its own");
	if (cpu_set_mask_count(&spec->cpu.set))
		return refuse(
			e, "config.limits.cpu", "a number is wanted: a server has all its CPUs");
	if (spec->processes)
		return refuse(
			e, "config.limits.processes", "a server's kernel has its own processes");
	if (spec->is_privileged || spec->is_nesting)
		return refuse(e, "config.security", "a server has no kernel to share");
	if (spec->sysctl_count)
		return refuse(e, "config.linux.sysctl", "a server's kernel is its own");
	if (spec->entrypoint)
		return refuse(e, "config.oci.entrypoint", "a server starts what its disk holds");
	if (spec->engine)
		return refuse(e, "config.berth.engine", "a server has its own processors");
	if (spec->environment_count)
		return refuse(e, "config.environment", "a server starts what its disk holds");
	return 0;
}

static int metal_check(const struct spec *spec, const struct kind_host *host, struct error *e)
{
	const struct devices *devices = &spec->devices;
	(void)host;
	for (size_t i = 0; i < devices->disk_count; i++)
		if (!devices->disks[i].is_root)
			return error_set(e, -EINVAL,
				"devices.%s: a server has its own disks, and none of this host's",
				devices->disks[i].device);
	if (devices->node_count)
		return error_set(e, -EINVAL, "devices.%s: a server has no devices of this host",
			devices->nodes[0].device);
	return check_config(spec, e);
}

static void metal_limits(
	const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret)
{
	(void)spec;
	(void)cpus;
	*ret = (struct plan_cgroup){};
}

static int metal_plan(const struct kind_input *input, struct plan *plan, struct error *e)
{
	const struct spec *spec = input->spec;
	const struct disk_device *root = devices_root(&spec->devices);
	struct plan_step *step = plan_add(plan, PLAN_RUNNER);
	(void)e;
	step->runner.program = kind_metal.runner;
	step->runner.document = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:I}", "version", 1,
		"kind", "bare-metal", "project", input->project, "name", input->name, "cpus",
		(json_int_t)((spec->cpu.milli + 999) / 1000), "memory_bytes",
		(json_int_t)spec->memory_bytes, "disk_bytes",
		(json_int_t)(root ? root->size_bytes : 0));
	return 0;
}

const struct kind kind_metal = {
	.name = "bare-metal",
	.runner = "berth-metal",
	.helper = "berth-machine",
	.image = "virtual-machine",
	.can = KIND_CAN_EXEC | KIND_CAN_FILES | KIND_CAN_CONSOLE | KIND_IS_SERVER,
	.check = metal_check,
	.limits = metal_limits,
	.plan = metal_plan,
};
