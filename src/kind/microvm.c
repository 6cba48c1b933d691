/* SPDX-License-Identifier: Apache-2.0 */
/*
 * microvm.c - the kind `microvm`: what its monitor is given, and what it cannot have.
 */
#include "kind/microvm.h"

#include <errno.h>

#include "kind/machine.h"
#include "model/words.h"

static const struct machine_kind microvm = {
	.kind = &kind_microvm,
	.noun = "a microVM",
	.memory_min = 96 * MIB, /* less does not hold the kernel and its initial file system */
	.memory_usual = 512 * MIB,
	.is_virtio_only = true,
};

static int microvm_check(const struct spec *spec, const struct kind_host *host, struct error *e)
{
	int r = machine_check(&microvm, spec, e);
	if (r < 0)
		return r;
	if (!host->kernel)
		return error_set(e, -EINVAL,
			"type: a microvm needs a kernel: unpack Debian's linux-image-cloud-amd64 in "
			"kernels/NAME of the daemon's directory, or set berth.kernel");
	if (spec->cloud_user_data)
		return error_set(
			e, -EINVAL, "config.cloud-init.user-data: a microVM does not read it");
	if (spec->boot_mode)
		return error_set(
			e, -EINVAL, "config.boot.mode: a microVM always boots the server's kernel");
	return 0;
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
	json_t *init = init_json(input->spec, e);
	if (!init)
		return error_prefix(e, -EINVAL, "config.oci.entrypoint");
	json_t *document = machine_document(&microvm, input);
	json_object_set_new(document, "init", init);
	machine_steps(&microvm, input, document, plan);
	return 0;
}

static void microvm_limits(
	const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret)
{
	machine_limits(&microvm, spec, cpus, ret);
}

const struct kind kind_microvm = {
	.name = "microvm",
	.runner = "berth-machine",
	.image = "container",
	.can = KIND_CAN_FREEZE | KIND_CAN_EXEC | KIND_CAN_CONSOLE | KIND_CAN_FILES |
		KIND_CAN_SNAPSHOT | KIND_HAS_AGENT | KIND_IS_MACHINE | KIND_OWN_PIDS,
	.check = microvm_check,
	.limits = microvm_limits,
	.plan = microvm_plan,
};
