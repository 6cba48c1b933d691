/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unikernel.c - the kind `unikernel`: what its tender is given, and what it cannot have.
 *
 * The memory asked for is what the library OS hands out; the group's limit leaves room beside it for the
 * program's own file and for the tender.
 */
#include "kind/unikernel.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "kind/container.h"
#include "model/json.h"
#include "model/words.h"

#define MEMORY_MIN   (4 * MIB) /* less does not hold the library OS and a program's stack */
#define MEMORY_USUAL (128 * MIB)
#define PAGE_BYTES   4096
#define BESIDE       (16 * MIB)
/* berth-vmm's own: what its software CPU translates. */
#define MONITOR          (240 * MIB)
#define SOFT_MEMORY_MOST (1536 * MIB) /* with its image and tables in one piece of 2 GiB */
/* Another one is made anew: what stands in /.berth, and how programs are rewritten. */
#define IMAGE_FORMAT "3"

static int refuse(struct error *e, const char *field, const char *why)
{
	return error_set(e, -EINVAL, "%s: %s", field, why);
}

/* The instance's own word alone: the server's `soft` says that machines do without KVM, as a process does. */
static bool is_soft(const struct spec *spec)
{
	return text_equal(spec->engine ?: "", "soft");
}

static int check_config(const struct spec *spec, struct error *e)
{
	if (!spec->entrypoint)
		return refuse(e, "config.oci.entrypoint",
			"a unikernel is one program: the image names none, so name it here");
	if (spec->cpu.milli > 1000)
		return refuse(e, "config.limits.cpu", "a unikernel runs on one CPU");
	if (spec->memory_bytes && spec->memory_bytes < MEMORY_MIN)
		return refuse(e, "config.limits.memory", "a unikernel needs at least 4MiB");
	if (spec->is_memory_soft)
		return refuse(
			e, "config.limits.memory.enforce", "a unikernel's memory is a hard limit");
	if (spec->processes)
		return refuse(e, "config.limits.processes", "a unikernel is one process");
	if (spec->is_privileged)
		return refuse(e, "config.security.privileged",
			"a unikernel is locked in and has no rights to keep");
	if (spec->rlimit_count)
		return refuse(e, "config.limits.kernel", "a unikernel takes none");
	if (spec->sysctl_count)
		return refuse(e, "config.linux.sysctl", "a unikernel takes none");
	if (is_soft(spec) && spec->memory_bytes > SOFT_MEMORY_MOST)
		return refuse(
			e, "config.limits.memory", "under soft a unikernel has 1536MiB at most");
	if (spec->cloud_user_data)
		return refuse(e, "config.cloud-init.user-data", "a unikernel does not read it");
	return 0;
}

static int unikernel_check(const struct spec *spec, const struct kind_host *host, struct error *e)
{
	const struct devices *devices = &spec->devices;
	(void)host;
	if (!devices_root(devices))
		return refuse(e, "devices",
			"no root disk; a profile or the instance must have a disk with path /");
	for (size_t i = 0; i < devices->disk_count; i++)
		if (!devices->disks[i].is_root)
			return error_set(e, -EINVAL,
				"devices.%s: a unikernel has only its root disk",
				devices->disks[i].device);
	const struct proxy_device *proxy = devices_proxy(devices);
	if (devices->node_count || devices->match_count)
		return error_set(e, -EINVAL, "devices.%s: a unikernel has no devices of the host",
			devices->node_count ? devices->nodes[0].device
					    : devices->matches[0].device);
	if (proxy)
		return error_set(e, -EINVAL,
			"devices.%s.nat: must be true: a unikernel has no process of the host",
			proxy->device);
	if (devices->nic_count > 1)
		return error_set(e, -EINVAL, "devices.%s: a unikernel has one network card",
			devices->nics[1].device);
	return check_config(spec, e);
}

static bool environment_has(const struct spec *spec, const char *name)
{
	for (size_t i = 0; i < spec->environment_count; i++)
		if (text_equal(spec->environment[i].name, name))
			return true;
	return false;
}

static json_t *init_json(const struct spec *spec, struct error *e)
{
	cleanup(words_free) char **words = NULL;
	if (words_split(spec->entrypoint ?: "", &words, e) < 0)
		return NULL;
	json_t *args = json_array(), *environment = json_array();
	for (size_t i = 0; words[i]; i++)
		json_array_append_new(args, json_string(words[i]));
	if (!environment_has(spec, "PATH"))
		json_array_append_new(environment, json_string("PATH=" UNIKERNEL_PATH));
	if (!environment_has(spec, "HOME"))
		json_array_append_new(environment, json_string("HOME=/root"));
	for (size_t i = 0; i < spec->environment_count; i++)
		json_array_append_new(environment,
			json_sprintf(
				"%s=%s", spec->environment[i].name, spec->environment[i].value));
	json_t *init = json_pack("{s:o, s:o}", "args", args, "environment", environment);
	if (spec->cwd)
		json_object_set_new(init, "cwd", json_string(spec->cwd));
	if (spec->stop_signal)
		json_object_set_new(init, "stop_signal", json_string(spec->stop_signal));
	return init;
}

/* Over the names of the layers and what else the image's program is found by. */
static uint64_t sum_up(uint64_t sum, const char *text)
{
	for (; *text; text++)
		sum = (sum ^ (uint8_t)*text) * UINT64_C(1099511628211);
	return (sum ^ 0xff) * UINT64_C(1099511628211);
}

char *unikernel_image(const json_t *layers, const char *program, const char *path)
{
	uint64_t sum = UINT64_C(14695981039346656037);
	size_t i;
	json_t *layer;
	const char *top = json_string_value(json_array_get(layers, 0));
	if (!top || !program)
		return NULL;
	json_array_foreach(layers, i, layer) sum = sum_up(sum, json_string_value(layer) ?: "");
	sum = sum_up(sum, IMAGE_FORMAT);
	sum = sum_up(sum, program);
	if (!strchr(program, '/'))
		sum = sum_up(sum, path ?: UNIKERNEL_PATH);
	return alloc_printf("%s.%016" PRIx64 ".unikernel", top, sum);
}

static const char *path_of(const struct spec *spec)
{
	for (size_t i = 0; i < spec->environment_count; i++)
		if (text_equal(spec->environment[i].name, "PATH"))
			return spec->environment[i].value;
	return NULL;
}

uint64_t unikernel_memory(const struct spec *spec)
{
	uint64_t whole = spec->memory_bytes / PAGE_BYTES * PAGE_BYTES;
	return whole ? whole : MEMORY_USUAL;
}

uint64_t unikernel_beside(const struct spec *spec)
{
	return BESIDE + (is_soft(spec) ? MONITOR : 0);
}

static void unikernel_limits(
	const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret)
{
	container_limits(spec, cpus, ret);
	ret->memory_bytes = unikernel_memory(spec) + unikernel_beside(spec);
}

const char *unikernel_engine(const struct kind_input *input)
{
	const char *asked = input->engine ?: "auto";
	if (is_soft(input->spec))
		return "soft";
	if (text_equal(asked, "kvm") || text_equal(asked, "process"))
		return asked;
	/* The server's `soft` is no KVM; what can keep its state is where that can be kept. */
	if (text_equal(asked, "soft") || input->spec->is_stateful || input->restore)
		return "process";
	return input->measured ?: "process";
}

static int unikernel_plan(const struct kind_input *input, struct plan *plan, struct error *e)
{
	const struct spec *spec = input->spec;
	const struct disk_device *root = devices_root(&spec->devices);
	const char *engine = unikernel_engine(input);
	json_t *init = init_json(spec, e);
	if (!init)
		return error_prefix(e, -EINVAL, "config.oci.entrypoint");
	if (!input->root && root)
		plan_add(plan, PLAN_VOLUME)->volume =
			(struct plan_volume){ root->pool, input->name, root->size_bytes };
	struct plan_step *step = plan_add(plan, PLAN_CGROUP);
	unikernel_limits(spec, &input->cpus, &step->cgroup);
	step->cgroup.path = input->cgroup;
	for (size_t i = 0; i < spec->devices.nic_count; i++)
		plan_add(plan, PLAN_LINK)->link = input->links[i];
	json_t *document = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "version", 1,
		"kind", "unikernel", "project", input->project, "name", input->name, "hostname",
		input->name, "root",
		input->root ? json_copy(json_mutable(input->root)) : json_null(), "init", init,
		"uid", (json_int_t)input->idmap_base, "memory_bytes",
		(json_int_t)unikernel_memory(spec));
	cleanup(free) char *image = unikernel_image(json_object_get(input->root, "layers"),
		json_string_value(json_array_get(json_object_get(init, "args"), 0)), path_of(spec));
	if (image)
		json_set_text(document, "image", image);
	if (!text_equal(engine, "process"))
		json_set_text(document, "engine", engine);
	if (spec->is_stateful || input->restore)
		json_set_bool(document, "stateful", true);
	if (input->restore)
		json_set_text(document, "restore", input->restore);
	if (spec->devices.nic_count)
		json_object_set_new(document, "nics", container_nics(input));
	container_resolver(document, input);
	step = plan_add(plan, PLAN_RUNNER);
	step->runner.program = kind_unikernel.runner;
	step->runner.document = document;
	return 0;
}

const struct kind kind_unikernel = {
	.name = "unikernel",
	.runner = "berth-tender-run",
	.image = "container",
	.can = KIND_CAN_FREEZE | KIND_CAN_EXEC | KIND_CAN_FILES | KIND_CAN_CONSOLE |
		KIND_CAN_SNAPSHOT | KIND_CAN_LIMITS | KIND_IS_MACHINE | KIND_HAS_REPORT |
		KIND_HAS_SPARE,
	.check = unikernel_check,
	.limits = unikernel_limits,
	.plan = unikernel_plan,
};
