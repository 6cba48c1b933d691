/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtual_machine.c - the kind `virtual-machine`: how it boots, what it finds on its config drive, and what
 * it cannot have.
 *
 * `boot.mode` has LXD's names, and `kernel`: the server's kernel boots the image's root without firmware and
 * boot loader.
 */
#include "kind/virtual_machine.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "kind/machine.h"

static const struct machine_kind virtual_machine = {
	.kind = &kind_virtual_machine,
	.noun = "a virtual machine",
	.memory_min = 96 * MIB,
	.memory_usual = 1 * GIB, /* as LXD */
};

static const struct {
	const char *name;
	const char *boot;    /* in the runner's document */
	const char *why_not; /* NULL: it is offered */
} modes[] = {
	{ "kernel", "kernel", NULL },
	{ "bios", "bios", NULL },
	{ "uefi-nosecureboot", "uefi", NULL },
	{ "uefi-secureboot", NULL,
		"secure boot is not offered: no keys are enrolled in the firmware" },
};

static int boot_of(const struct spec *spec, const char **ret, struct error *e)
{
	const char *mode = spec->boot_mode ?: spec->is_csm ? "bios" : "";
	if (spec->is_secureboot)
		return error_set(e, -EINVAL,
			"config.security.secureboot: is not offered: no keys are enrolled in the "
			"firmware");
	*ret = "auto";
	if (!mode[0])
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!text_equal(modes[i].name, mode))
			continue;
		if (modes[i].why_not)
			return error_set(e, -EINVAL, "config.boot.mode: %s", modes[i].why_not);
		*ret = modes[i].boot;
		return 0;
	}
	return error_set(e, -EINVAL,
		"config.boot.mode: \"%.40s\" is none of uefi-nosecureboot, bios, kernel", mode);
}

static int vm_check(const struct spec *spec, const struct kind_host *host, struct error *e)
{
	const char *boot;
	int r = machine_check(&virtual_machine, spec, e);
	if (r == 0)
		r = boot_of(spec, &boot, e);
	if (r < 0)
		return r;
	if (spec->entrypoint)
		return error_set(e, -EINVAL,
			"config.oci.entrypoint: a virtual machine boots its own system");
	if (text_equal(boot, "kernel") && devices_root(&spec->devices)->is_sata)
		return error_set(e, -EINVAL,
			"devices.%s.io.bus: with boot.mode=kernel the root is a virtio disk",
			devices_root(&spec->devices)->device);
	if (text_equal(boot, "kernel") && !host->kernel)
		return error_set(e, -EINVAL,
			"config.boot.mode: there is no kernel: unpack Debian's "
			"linux-image-cloud-amd64 in kernels/NAME of the daemon's directory, or set "
			"berth.kernel");
	return 0;
}

static void set_text(json_t *json, const char *key, const char *text)
{
	if (text)
		json_object_set_new(json, key, json_string(text));
}

static json_t *seed_json(const struct kind_input *input)
{
	const struct spec *spec = input->spec;
	json_t *seed = json_object();
	set_text(seed, "user-data", spec->cloud_user_data);
	set_text(seed, "vendor-data", spec->cloud_vendor_data);
	set_text(seed, "network-config", spec->cloud_network);
	set_text(seed, "meta-data", spec->user_meta_data);
	set_text(seed, "instance-id", input->instance_id);
	return seed;
}

static int vm_plan(const struct kind_input *input, struct plan *plan, struct error *e)
{
	const char *boot;
	int r = boot_of(input->spec, &boot, e);
	if (r < 0)
		return r;
	json_t *document = machine_document(&virtual_machine, input);
	json_object_set_new(document, "boot", json_string(boot));
	json_object_set_new(document, "seed", seed_json(input));
	machine_steps(&virtual_machine, input, document, plan);
	return 0;
}

static void vm_limits(
	const struct spec *spec, const struct cpu_set_mask *cpus, struct plan_cgroup *ret)
{
	machine_limits(&virtual_machine, spec, cpus, ret);
}

const struct kind kind_virtual_machine = {
	.name = "virtual-machine",
	.runner = "berth-machine",
	.image = "virtual-machine",
	.can = KIND_CAN_FREEZE | KIND_CAN_EXEC | KIND_CAN_CONSOLE | KIND_CAN_FILES |
		KIND_CAN_SNAPSHOT | KIND_HAS_AGENT | KIND_HAS_BUTTON | KIND_IS_MACHINE |
		KIND_OWN_PIDS,
	.check = vm_check,
	.limits = vm_limits,
	.plan = vm_plan,
};
