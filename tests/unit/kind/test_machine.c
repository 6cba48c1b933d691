/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "kind/machine.h"
#include "kind/microvm.h"
#include "kind/virtual_machine.h"
#include "model/json.h"
#include "test.h"

static json_t *config, *devices;
static const struct kind_host host = { 4, 8 * GIB, "/kernels/a" };

static void ask(struct spec *spec, const char *config_text, const char *devices_text)
{
	json_decref(config);
	json_decref(devices);
	config = json_loads(config_text, 0, NULL);
	devices = json_loads(devices_text, 0, NULL);
	struct error e = {};
	if (spec_read(config, devices, 8 * GIB, spec, &e) < 0)
		test_fail("%s", e.text);
}

#define ROOT \
	"\"root\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"default\",\"limits.max\":\"10MiB\"}"

#define SATA_ROOT \
	"\"root\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"default\",\"io.bus\":\"sata\"}"

static void refuses_what_a_machine_cannot_have(void)
{
	static const struct {
		const struct kind *kind;
		const char *config, *devices, *why;
	} cases[] = {
		{ &kind_microvm, "{}", "{}", "no root disk" },
		{ &kind_microvm, "{\"limits.memory\":\"64MiB\"}", "{" ROOT "}", "96MiB" },
		{ &kind_microvm, "{\"limits.processes\":\"9\"}", "{" ROOT "}", "limits.processes" },
		{ &kind_microvm, "{\"security.privileged\":\"true\"}", "{" ROOT "}",
			"security.privileged" },
		{ &kind_microvm, "{\"berth.engine\":\"process\"}", "{" ROOT "}", "berth.engine" },
		{ &kind_microvm, "{\"security.nesting\":\"true\"}", "{" ROOT "}",
			"security.nesting" },
		{ &kind_microvm, "{\"linux.sysctl.net.ipv4.ip_forward\":\"1\"}", "{" ROOT "}",
			"linux.sysctl" },
		{ &kind_microvm, "{\"boot.mode\":\"bios\"}", "{" ROOT "}", "boot.mode" },
		{ &kind_microvm, "{\"cloud-init.user-data\":\"#cloud-config\"}", "{" ROOT "}",
			"user-data" },
		{ &kind_microvm, "{}",
			"{" ROOT ",\"d\":{\"type\":\"disk\",\"path\":\"/d\",\"source\":\"/srv\"}}",
			"has disks, not directories" },
		{ &kind_microvm, "{}",
			"{" ROOT ",\"f\":{\"type\":\"unix-char\",\"source\":\"/dev/fuse\"}}",
			"no devices of the host" },
		{ &kind_virtual_machine, "{\"security.secureboot\":\"true\"}", "{" ROOT "}",
			"secureboot: is not offered" },
		{ &kind_virtual_machine, "{\"boot.mode\":\"uefi-secureboot\"}", "{" ROOT "}",
			"secure boot is not offered" },
		{ &kind_virtual_machine, "{\"boot.mode\":\"floppy\"}", "{" ROOT "}",
			"none of uefi-nosecureboot" },
		{ &kind_virtual_machine, "{\"oci.entrypoint\":\"sh\"}", "{" ROOT "}",
			"boots its own system" },
		{ &kind_microvm, "{}",
			"{" ROOT
			",\"d\":{\"type\":\"disk\",\"source\":\"/d\",\"io.bus\":\"sata\"}}",
			"devices.d.io.bus: a microVM has virtio devices only" },
		{ &kind_microvm, "{}",
			"{" ROOT
			",\"n\":{\"type\":\"nic\",\"network\":\"n\",\"io.bus\":\"e1000\"}}",
			"devices.n.io.bus: a microVM has virtio devices only" },
		{ &kind_virtual_machine, "{\"boot.mode\":\"kernel\"}", "{" SATA_ROOT "}",
			"devices.root.io.bus: with boot.mode=kernel" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(spec_done) struct spec spec = {};
		struct error e = {};
		ask(&spec, cases[i].config, cases[i].devices);
		expect_equal(cases[i].kind->check(&spec, &host, &e), -EINVAL);
		expect_contains(e.text, cases[i].why);
	}
}

static void needs_a_kernel_only_where_it_boots_one(void)
{
	static const struct kind_host bare = { 4, 8 * GIB, NULL };
	cleanup(spec_done) struct spec spec = {};
	struct error e = {};
	ask(&spec, "{}", "{" ROOT "}");
	expect_equal(kind_microvm.check(&spec, &bare, &e), -EINVAL);
	expect_contains(e.text, "needs a kernel");
	expect_equal(kind_virtual_machine.check(&spec, &bare, &e), 0);
	spec_done(&spec);
	ask(&spec, "{\"boot.mode\":\"kernel\"}", "{" ROOT "}");
	expect_equal(kind_virtual_machine.check(&spec, &bare, &e), -EINVAL);
	expect_contains(e.text, "there is no kernel");
	expect_equal(kind_virtual_machine.check(&spec, &host, &e), 0);
}

static json_t *document_of(const struct kind *kind, const struct spec *spec, struct plan *plan)
{
	json_t *root = json_loads(
		"{\"layers\":[],\"volume\":{\"type\":\"block\",\"path\":\"/v\"}}", 0, NULL);
	json_t *extra = json_loads("{\"type\":\"block\",\"path\":\"/w\"}", 0, NULL);
	const json_t *volumes[4] = {};
	for (size_t i = 0; i < spec->devices.disk_count; i++)
		if (spec->devices.disks[i].pool && spec->devices.disks[i].is_block)
			volumes[i] = extra;
	struct kind_input input = { .spec = spec,
		.project = "default",
		.name = "v1",
		.root = root,
		.volumes = volumes,
		.cgroup = "berth-x/default_v1",
		.host_cpus = 4,
		.host_memory_bytes = 8 * GIB,
		.idmap_base = 1000000,
		.instance_id = "id-1" };
	struct error e = {};
	if (kind->plan(&input, plan, &e) < 0)
		test_fail("%s", e.text);
	json_decref(root);
	json_decref(extra);
	return plan_find(plan, PLAN_RUNNER, 0)->runner.document;
}

static json_int_t number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

static void plans_a_virtual_machine(void)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(plan_done) struct plan plan = {};
	ask(&spec,
		"{\"limits.cpu\":\"2\",\"limits.memory\":\"512MiB\",\"boot.mode\":\"bios\","
		"\"user.user-data\":\"#cloud-config\"}",
		"{" ROOT ",\"d\":{\"type\":\"disk\",\"pool\":\"default\",\"source\":\"w\"},"
		"\"e\":{\"type\":\"disk\",\"source\":\"/s/install.iso\"}}");
	json_t *document = document_of(&kind_virtual_machine, &spec, &plan);
	expect_equal(number(document, "cpus"), 2);
	expect_equal(number(document, "cpus_there"), 4);
	expect_equal(number(document, "memory_bytes"), 512 * MIB);
	expect_equal(number(document, "memory_max_bytes"), 512 * MIB + 4 * GIB);
	expect_equal(number(document, "uid"), 1000000);
	expect_text(json_string_value(json_object_get(document, "boot")), "bios");
	const json_t *seed = json_object_get(document, "seed");
	expect_text(json_string_value(json_object_get(seed, "user-data")), "#cloud-config");
	expect_text(json_string_value(json_object_get(seed, "instance-id")), "id-1");
	const json_t *root = json_object_get(document, "root");
	expect_equal(number(root, "bytes_per_second"), 10 * MIB);
	const json_t *disk = json_array_get(json_object_get(document, "disks"), 0);
	expect_text(json_string_value(json_object_get(disk, "path")), "/w");
	expect(!json_object_get(disk, "cdrom"));
	disk = json_array_get(json_object_get(document, "disks"), 1);
	expect_text(json_string_value(json_object_get(disk, "path")), "/s/install.iso");
	expect(json_is_true(json_object_get(disk, "cdrom")));
	/* The monitor's own memory is beside the guest's; disks are the monitor's to hold. */
	const struct plan_step *group = plan_find(&plan, PLAN_CGROUP, 0);
	expect(group->cgroup.memory_bytes > 512 * MIB);
	expect_equal(group->cgroup.cpu_milli, 2000);
	expect_equal(group->cgroup.read_bytes, 0);
}

static void plans_devices_for_guests_without_virtio(void)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(plan_done) struct plan plan = {};
	ask(&spec, "{\"boot.mode\":\"bios\"}",
		"{" SATA_ROOT ",\"d\":{\"type\":\"disk\",\"pool\":\"default\",\"source\":\"w\","
		"\"io.bus\":\"virtio-blk\"}}");
	json_t *document = document_of(&kind_virtual_machine, &spec, &plan);
	expect_text(json_string_value(json_object_get(json_object_get(document, "root"), "bus")),
		"sata");
	const json_t *disk = json_array_get(json_object_get(document, "disks"), 0);
	expect(!json_object_get(disk, "bus"));
}

static void plans_a_microvm(void)
{
	cleanup(spec_done) struct spec spec = {};
	cleanup(plan_done) struct plan plan = {};
	ask(&spec, "{\"limits.cpu\":\"0.5\",\"oci.entrypoint\":\"/bin/app -x\"}", "{" ROOT "}");
	json_t *document = document_of(&kind_microvm, &spec, &plan);
	expect_equal(number(document, "cpus"), 1);
	expect_equal(number(document, "memory_bytes"), 512 * MIB);
	const json_t *init = json_object_get(document, "init");
	expect_text(json_string_value(json_array_get(json_object_get(init, "args"), 1)), "-x");
	expect(!json_object_get(document, "seed"));
}

static void a_root_disk_has_no_source(void)
{
	const struct disk_device root = { .device = "root", .is_root = true };
	cleanup(json_decref) json_t *json = machine_disk(&root, NULL);
	expect_text(json_string_value(json_object_get(json, "name")), "root");
	expect(!json_object_get(json, "cdrom"));
}

static const struct test tests[] = {
	{ "a root disk is told without a source", a_root_disk_has_no_source },
	{ "what a machine cannot have is refused by its name", refuses_what_a_machine_cannot_have },
	{ "a kernel is asked for only where one is booted",
		needs_a_kernel_only_where_it_boots_one },
	{ "a virtual machine is planned with its drive, disks and limits",
		plans_a_virtual_machine },
	{ "devices for guests without virtio are planned",
		plans_devices_for_guests_without_virtio },
	{ "a microVM is planned with its main program", plans_a_microvm },
};

TEST_MAIN(tests)
