/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - what the kinds have in common whose instances have a kernel of their own.
 */
#include "kind/machine.h"

#include <errno.h>

#include "base/text.h"
#include "kind/container.h"
#include "model/json.h"

#define PAGE_BYTES   4096
#define CPUS_MAX     64
#define CPUS_SPARE   4 /* CPUs that it may be given while it runs, at least */
#define MEMORY_TIMES 4 /* and this times its memory, or so much more */
#define MEMORY_SPARE (4 * GIB)
/*
 * The monitor's own beside the guest's memory, for each CPU: what the software CPU translates (144 MiB), and tables of pages
 * and mappings of the four processes that programs run in (22 MiB each, at most).
 */
#define MONITOR_BYTES     (96 * MIB)
#define MONITOR_CPU_BYTES (232 * MIB)

static int refuse(struct error *e, const char *field, const char *noun, const char *why)
{
	return error_set(e, -EINVAL, "%s: %s %s", field, noun, why);
}

/* What the machine's own disks are called. */
static bool is_taken(const char *name)
{
	return text_equal(name, "root") || text_equal(name, "image") || text_equal(name, "seed");
}

static int check_buses(
	const struct machine_kind *machine, const struct devices *devices, struct error *e)
{
	size_t disks = 0, cards = 0;
	const char *old = NULL;
	for (size_t i = 0; i < devices->disk_count; i++)
		if (devices->disks[i].is_sata && ++disks)
			old = devices->disks[i].device;
	for (size_t i = 0; i < devices->nic_count; i++)
		if (devices->nics[i].is_e1000 && ++cards)
			old = devices->nics[i].device;
	if (old && machine->is_virtio_only)
		return error_set(e, -EINVAL, "devices.%s.io.bus: %s has virtio devices only", old,
			machine->noun);
	if (disks > MACHINE_SATA_MAX || cards > MACHINE_E1000_MAX)
		return error_set(e, -EINVAL,
			"devices.%s.io.bus: %s has at most %d SATA disks and %d e1000 cards", old,
			machine->noun, MACHINE_SATA_MAX, MACHINE_E1000_MAX);
	return 0;
}

static int check_devices(
	const struct machine_kind *machine, const struct devices *devices, struct error *e)
{
	if (!devices_root(devices))
		return error_set(e, -EINVAL,
			"devices: no root disk; a profile or the instance must have a disk with path /");
	for (size_t i = 0; i < devices->disk_count; i++) {
		const struct disk_device *disk = &devices->disks[i];
		if (disk->is_block && is_taken(disk->device))
			return error_set(e, -EINVAL,
				"devices.%s: the name is that of a disk which every machine has",
				disk->device);
		if (disk->is_root || disk->is_block)
			continue;
		return error_set(e, -EINVAL,
			"devices.%s: %s has disks, not directories: a block volume of a pool, or a "
			"host's block device or file without a path",
			disk->device, machine->noun);
	}
	const struct proxy_device *proxy = devices_proxy(devices);
	if (devices->node_count || devices->match_count)
		return error_set(e, -EINVAL, "devices.%s: %s has no devices of the host",
			devices->node_count ? devices->nodes[0].device : devices->matches[0].device,
			machine->noun);
	if (proxy)
		return error_set(e, -EINVAL,
			"devices.%s.nat: must be true: %s has no process of the host",
			proxy->device, machine->noun);
	return check_buses(machine, devices, e);
}

int machine_check(const struct machine_kind *machine, const struct spec *spec, struct error *e)
{
	const char *noun = machine->noun;
	int r = check_devices(machine, &spec->devices, e);
	if (r < 0)
		return r;
	if (spec->memory_bytes && spec->memory_bytes < machine->memory_min)
		return error_set(e, -EINVAL, "config.limits.memory: %s needs at least %juMiB", noun,
			(uintmax_t)(machine->memory_min / MIB));
	if (spec->is_memory_soft)
		return refuse(e, "config.limits.memory.enforce", noun, "has a hard limit");
	if (spec->processes)
		return refuse(e, "config.limits.processes", noun,
			"has a kernel that counts its processes itself");
	if (spec->is_privileged)
		return refuse(e, "config.security.privileged", noun, "has a kernel of its own");
	if (spec->is_nesting)
		return refuse(e, "config.security.nesting", noun,
			"has a kernel of its own; containers run in it as it is");
	if (text_equal(spec->engine ?: "", "process"))
		return refuse(e, "config.berth.engine", noun, "is no process; auto, kvm or soft");
	if (spec->sysctl_count)
		return refuse(e, "config.linux.sysctl", noun, "has its own; set them inside");
	return 0;
}

uint64_t machine_memory(const struct machine_kind *machine, const struct spec *spec)
{
	uint64_t whole = spec->memory_bytes / PAGE_BYTES * PAGE_BYTES;
	return whole ? whole : machine->memory_usual;
}

/* A guest's memory is as large as it is: this is the second fence, not to be met. */
static uint64_t monitor_bytes(const struct plan_cgroup *limits)
{
	uint64_t cpus = limits->cpu_milli ? (limits->cpu_milli + 999) / 1000 : CPUS_MAX;
	if (cpus < CPUS_SPARE)
		cpus = CPUS_SPARE;
	return MONITOR_BYTES + (cpus < CPUS_MAX ? cpus : CPUS_MAX) * MONITOR_CPU_BYTES;
}

void machine_limits(const struct machine_kind *machine, const struct spec *spec,
	const struct cpu_set_mask *cpus, struct plan_cgroup *ret)
{
	container_limits(spec, cpus, ret);
	/* Disks are held by the monitor, which knows them one by one. */
	ret->read_bytes = ret->write_bytes = ret->read_operations = ret->write_operations = 0;
	ret->memory_bytes = machine_memory(machine, spec) + monitor_bytes(ret);
	ret->has_nodes = false;
}

uint32_t machine_cpus(const struct plan_cgroup *limits, uint32_t host_cpus)
{
	uint64_t cpus = limits->cpu_milli ? (limits->cpu_milli + 999) / 1000 : host_cpus;
	return cpus > CPUS_MAX ? CPUS_MAX : cpus ? (uint32_t)cpus : 1;
}

/* As many as it may get while it runs: they are there and off. */
static uint32_t cpus_there(uint32_t cpus, uint32_t host_cpus)
{
	uint32_t spare = host_cpus < CPUS_SPARE ? host_cpus : CPUS_SPARE;
	return cpus > spare ? cpus : spare;
}

/* What it may get while it runs: its kernel keeps 16 bytes a page of what it has, not of this. */
static uint64_t memory_max(uint64_t memory, uint64_t host_memory)
{
	uint64_t max = memory * MEMORY_TIMES > memory + MEMORY_SPARE ? memory * MEMORY_TIMES
								     : memory + MEMORY_SPARE;
	max = max < host_memory ? max : host_memory / PAGE_BYTES * PAGE_BYTES;
	return max > memory ? max : memory;
}

uint64_t machine_guest_memory(const struct plan_cgroup *limits)
{
	return limits->memory_bytes - monitor_bytes(limits);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a && (!b || a < b) ? a : b;
}

/* A disk has one bucket for both directions: the smaller rate holds for each. */
static void set_rates(json_t *json, const struct disk_device *disk)
{
	uint64_t bytes = smaller(disk->read.bytes, disk->write.bytes);
	uint64_t operations = smaller(disk->read.operations, disk->write.operations);
	if (bytes)
		json_object_set_new(json, "bytes_per_second", json_integer((json_int_t)bytes));
	if (operations)
		json_object_set_new(
			json, "operations_per_second", json_integer((json_int_t)operations));
}

static json_t *root_json(const struct kind_input *input)
{
	if (!input->root)
		return json_null();
	json_t *root = json_copy(json_mutable(input->root));
	const struct disk_device *disk = devices_root(&input->spec->devices);
	if (disk)
		set_rates(root, disk);
	if (disk && disk->is_sata)
		json_object_set_new(root, "bus", json_string("sata"));
	return root;
}

json_t *machine_disk(const struct disk_device *disk, const json_t *volume)
{
	json_t *json = json_pack("{s:s}", "name", disk->device);
	const char *path = volume ? json_string_value(json_object_get(volume, "path")) : NULL;
	json_object_set_new(json, "path", json_string(path ?: disk->source));
	if (disk->is_readonly)
		json_object_set_new(json, "readonly", json_true());
	if (!volume && disk->source && text_ends(disk->source, ".iso"))
		json_object_set_new(json, "cdrom", json_true());
	if (disk->is_sata)
		json_object_set_new(json, "bus", json_string("sata"));
	set_rates(json, disk);
	return json;
}

static json_t *disks_json(const struct kind_input *input)
{
	const struct devices *devices = &input->spec->devices;
	json_t *disks = json_array();
	for (size_t i = 0; i < devices->disk_count; i++)
		if (devices->disks[i].is_block)
			json_array_append_new(
				disks, machine_disk(&devices->disks[i], input->volumes[i]));
	return disks;
}

static json_t *nics_json(const struct kind_input *input)
{
	json_t *nics = container_nics(input);
	for (size_t i = 0; i < json_array_size(nics); i++)
		if (input->spec->devices.nics[i].is_e1000)
			json_object_set_new(json_array_get(nics, i), "model", json_string("e1000"));
	return nics;
}

json_t *machine_document(const struct machine_kind *machine, const struct kind_input *input)
{
	const struct spec *spec = input->spec;
	struct plan_cgroup limits = {};
	machine_limits(machine, spec, &input->cpus, &limits);
	uint32_t cpus = machine_cpus(&limits, input->host_cpus);
	uint64_t memory = machine_memory(machine, spec);
	json_t *document = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:i, s:i, s:I, s:I, s:o, s:o}",
		"version", 1, "kind", machine->kind->name, "project", input->project, "name",
		input->name, "hostname", input->name, "root", root_json(input), "cpus", (int)cpus,
		"cpus_there", (int)cpus_there(cpus, input->host_cpus), "memory_bytes",
		(json_int_t)memory, "memory_max_bytes",
		(json_int_t)memory_max(memory, input->host_memory_bytes), "nics", nics_json(input),
		"disks", disks_json(input));
	container_resolver(document, input);
	if (input->kernel)
		json_object_set_new(document, "kernel", json_string(input->kernel));
	if (input->idmap_base)
		json_object_set_new(document, "uid", json_integer(input->idmap_base));
	if (input->restore)
		json_object_set_new(document, "restore", json_string(input->restore));
	if (input->engine && !text_equal(input->engine, "process")) /* that is unikernels' only */
		json_object_set_new(document, "engine", json_string(input->engine));
	return document;
}

void machine_steps(const struct machine_kind *machine, const struct kind_input *input,
	json_t *document, struct plan *plan)
{
	const struct spec *spec = input->spec;
	const struct disk_device *root = devices_root(&spec->devices);
	if (!input->root && root)
		plan_add(plan, PLAN_VOLUME)->volume =
			(struct plan_volume){ root->pool, input->name, root->size_bytes };
	struct plan_step *step = plan_add(plan, PLAN_CGROUP);
	machine_limits(machine, spec, &input->cpus, &step->cgroup);
	step->cgroup.path = input->cgroup;
	for (size_t i = 0; i < spec->devices.nic_count; i++)
		plan_add(plan, PLAN_LINK)->link = input->links[i];
	step = plan_add(plan, PLAN_RUNNER);
	step->runner.program = machine->kind->runner;
	step->runner.document = document;
}
