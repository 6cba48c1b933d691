/* SPDX-License-Identifier: Apache-2.0 */
#include "model/spec.h"

#include <errno.h>

#include "test.h"

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, 0, &error);
	if (!json)
		test_fail("%s: %s", text, error.text);
	return json;
}

/* The spec borrows from the JSON, which a test leaves to the end of the process. */
static int read_both(const char *config, const char *devices, struct spec *ret, struct error *e)
{
	static json_t *kept[2];
	json_decref(kept[0]);
	json_decref(kept[1]);
	kept[0] = parse(config);
	kept[1] = parse(devices);
	return spec_read(kept[0], kept[1], 8 * GIB, ret, e);
}

static void reads_what_an_instance_asks(void)
{
	cleanup(spec_done) struct spec spec = {};
	struct error e = {};
	int r = read_both(
		"{\"limits.cpu\":\"2\",\"limits.memory\":\"50%\",\"limits.processes\":\"100\","
		"\"security.nesting\":\"true\",\"boot.autostart\":\"true\","
		"\"boot.autostart.priority\":\"-5\",\"limits.memory.swap\":\"false\","
		"\"environment.A\":\"b=c\",\"oci.entrypoint\":\"/bin/x 'a b'\","
		"\"limits.kernel.nofile\":\"100:200\",\"linux.sysctl.net.ipv4.ip_forward\":\"1\","
		"\"user.x\":\"y\",\"volatile.y\":\"z\",\"image.os\":\"Debian\"}",
		"{\"root\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"default\",\"size\":\"10GiB\","
		"\"limits.read\":\"10MiB\",\"limits.write\":\"200iops\"},"
		"\"eth0\":{\"type\":\"nic\",\"network\":\"br0\",\"limits.ingress\":\"100Mbit\","
		"\"limits.egress\":\"50Mbit\",\"hwaddr\":\"00:16:3e:01:02:03\","
		"\"ipv4.address\":\"10.0.0.2\",\"ipv6.address\":\"none\"},"
		"\"data\":{\"type\":\"disk\",\"path\":\"/data\",\"source\":\"/srv\",\"readonly\":"
		"\"true\",\"required\":\"false\"},"
		"\"fuse\":{\"type\":\"unix-char\",\"path\":\"/dev/fuse\",\"mode\":\"0666\"},"
		"\"gone\":{\"type\":\"none\"}}",
		&spec, &e);
	expect_text(e.text, "");
	expect_equal(r, 0);
	expect_equal(spec.cpu.milli, 2000);
	expect_equal(spec.memory_bytes, 8 * GIB / 100 * 50);
	expect_equal(spec.processes, 100);
	expect(spec.is_nesting && !spec.is_privileged && spec.autostart && spec.is_swap_off);
	expect_equal(spec.autostart_priority, -5);
	expect_equal(spec.environment_count, 1);
	expect_text(spec.environment[0].name, "A");
	expect_text(spec.environment[0].value, "b=c");
	expect_equal(spec.rlimits[0].soft, 100);
	expect_equal(spec.rlimits[0].hard, 200);
	expect_text(spec.sysctls[0].name, "net.ipv4.ip_forward");
	expect_equal(spec.devices.disk_count, 2);
	const struct disk_device *root = devices_root(&spec.devices);
	expect(root != NULL);
	expect_equal(root->size_bytes, 10 * GIB);
	expect_equal(root->read.bytes, 10 * MIB);
	expect_equal(root->write.operations, 200);
	expect_equal(spec.devices.nic_count, 1);
	expect_text(spec.devices.nics[0].name, "eth0");
	expect_equal(spec.devices.nics[0].ingress_bits, 100000000);
	expect_equal(spec.devices.nics[0].egress_bits, 50000000);
	expect_equal(spec.devices.node_count, 1);
	expect_equal(spec.devices.nodes[0].mode, 0666);
	struct resources resources = spec_resources(&spec);
	expect_equal(resources.cpu_milli, 2000);
	expect_equal(resources.storage_bytes, 10 * GIB);
}

static void empty_is_nothing(void)
{
	cleanup(spec_done) struct spec spec = {};
	expect_equal(spec_read(NULL, NULL, GIB, &spec, NULL), 0);
	struct resources resources = spec_resources(&spec);
	expect_equal(resources.cpu_milli, 0);
	expect_equal(resources.memory_bytes, 0);
	expect_equal(resources.storage_bytes, 0);
	expect_equal(spec.shutdown_timeout_ns, 30 * NS_PER_SEC);
}

static void an_empty_value_is_not_set(void)
{
	cleanup(spec_done) struct spec spec = {};
	expect_equal(
		read_both("{\"limits.cpu\":\"\",\"limits.memory\":null}", "{}", &spec, NULL), 0);
	expect_equal(spec.cpu.milli, 0);
}

static void refuses_config(void)
{
	static const char *const cases[][2] = {
		{ "[]", "config: must be an object" },
		{ "{\"limits.cpus\":\"1\"}", "config.limits.cpus: unknown key" },
		{ "{\"limits.cpu\":1}", "config.limits.cpu: must be a string" },
		{ "{\"limits.cpu\":\"0\"}", "config.limits.cpu: " },
		{ "{\"limits.cpu\":\"x\"}", "config.limits.cpu: " },
		{ "{\"limits.cpu.allowance\":\"200%\"}", "config.limits.cpu.allowance: " },
		{ "{\"limits.cpu.priority\":\"11\"}", "config.limits.cpu.priority: " },
		{ "{\"limits.disk.priority\":\"-1\"}", "config.limits.disk.priority: " },
		{ "{\"limits.memory\":\"much\"}", "config.limits.memory: " },
		{ "{\"limits.memory.enforce\":\"a bit\"}", "config.limits.memory.enforce: " },
		{ "{\"limits.memory.swap\":\"maybe\"}", "config.limits.memory.swap: " },
		{ "{\"limits.processes\":\"0\"}", "config.limits.processes: " },
		{ "{\"limits.kernel.nofile\":\"9:8\"}", "config.limits.kernel.nofile: " },
		{ "{\"limits.kernel.nofiles\":\"9\"}", "config.limits.kernel.nofiles: unknown" },
		{ "{\"limits.hugepages.2MB\":\"9\"}", "config.limits.hugepages.2MB: " },
		{ "{\"linux.sysctl.kernel.core_pattern\":\"|x\"}", "setting of the whole host" },
		{ "{\"linux.sysctl.net/../x\":\"1\"}", "setting of the whole host" },
		{ "{\"linux.kernel_modules\":\"x\"}", "config.linux.kernel_modules: " },
		{ "{\"security.privileged\":\"perhaps\"}", "config.security.privileged: " },
		{ "{\"security.idmap.base\":\"0x10\"}", "config.security.idmap.base: " },
		{ "{\"security.idmap.base\":\"1000\"}", "config.security.idmap.base: " },
		{ "{\"security.idmap.base\":\"4294967295\"}", "config.security.idmap.base: " },
		{ "{\"security.idmap.base\":\"100000\",\"security.privileged\":\"1\"}",
			"config.security.idmap.base: " },
		{ "{\"security.idmap.size\":\"100\"}", "config.security.idmap.size: " },
		{ "{\"security.idmap.size\":\"100000\"}", "config.security.idmap.size: " },
		{ "{\"security.devlxd\":\"perhaps\"}", "config.security.devlxd: " },
		{ "{\"security.guestapi.images\":\"true\"}",
			"config.security.guestapi.images: is not offered" },
		{ "{\"security.syscalls.deny\":\"x\"}", "config.security.syscalls.deny: " },
		{ "{\"boot.autostart.priority\":\"high\"}", "config.boot.autostart.priority: " },
		{ "{\"boot.autostart.delay\":\"99999999\"}", "config.boot.autostart.delay: " },
		{ "{\"environment.A=B\":\"1\"}", "config.environment.A=B: " },
		{ "{\"environment.\":\"1\"}", "unknown key" },
		{ "{\"oci.entrypoint\":\"'open\"}", "config.oci.entrypoint: " },
		{ "{\"oci.entrypoint\":\"  \"}", "config.oci.entrypoint: names no program" },
		{ "{\"oci.cwd\":\"relative\"}", "config.oci.cwd: " },
		{ "{\"oci.uid\":\"65536\"}", "config.oci.uid: " },
		{ "{\"raw.lxc\":\"x\"}", "config.raw.lxc: " },
		{ "{\"nvidia.runtime\":\"true\"}", "config.nvidia.runtime: " },
		{ "{\"snapshots.schedule\":\"@daily\"}", "config.snapshots.schedule: " },
		{ "{\"migration.stateful\":\"maybe\"}", "config.migration.stateful: " },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spec spec = {};
		struct error e = {};
		int r = read_both(cases[i][0], "{}", &spec, &e);
		if (r != -EINVAL)
			test_fail("%s was taken", cases[i][0]);
		expect_contains(e.text, cases[i][1]);
	}
}

static void refuses_devices(void)
{
	static const char *const cases[][2] = {
		{ "[]", "devices: must be" },
		{ "{\"a\":[]}", "devices.a: must be" },
		{ "{\"a/b\":{\"type\":\"none\"}}", "no name of a device" },
		{ "{\"\":{\"type\":\"none\"}}", "no name of a device" },
		{ "{\"a\":{}}", "devices.a.type: is missing" },
		{ "{\"a\":{\"type\":\"disc\"}}", "devices.a.type: \"disc\" is unknown" },
		{ "{\"a\":{\"type\":\"tpm\"}}", "devices.a.type: tpm is not offered" },
		{ "{\"a\":{\"type\":\"gpu\",\"gputype\":\"mig\"}}", "devices.a.gputype: " },
		{ "{\"a\":{\"type\":\"gpu\",\"vendorid\":\"12\"}}", "devices.a.vendorid: " },
		{ "{\"a\":{\"type\":\"usb\",\"pci\":\"x\"}}", "devices.a.pci: unknown key" },
		{ "{\"a\":{\"type\":\"unix-hotplug\"}}", "devices.a.vendorid: is missing" },
		{ "{\"a\":{\"type\":\"proxy\"}}", "devices.a.listen: is missing" },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:1.2.3.4:1\"}}",
			"devices.a.connect: is missing" },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"sctp:1\"}}", "devices.a.listen: " },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:1.2.3.4:1\","
		  "\"connect\":\"udp:1.2.3.4:1\"}}",
			"devices.a.connect: udp" },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:1.2.3.4:1\","
		  "\"connect\":\"tcp:1.2.3.4:1\",\"nat\":\"true\",\"bind\":\"instance\"}}",
			"devices.a.bind: " },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:0.0.0.0:1\","
		  "\"connect\":\"tcp:1.2.3.4:1\",\"nat\":\"true\"}}",
			"devices.a.listen: with nat it is one address" },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:[fd00::1]:1\","
		  "\"connect\":\"tcp:1.2.3.4:1\",\"nat\":\"true\"}}",
			"devices.a.connect: with nat both" },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"unix:/x\","
		  "\"connect\":\"tcp:1.2.3.4:1\",\"nat\":\"true\"}}",
			"devices.a.connect: with nat both" },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:1.2.3.4:1\","
		  "\"connect\":\"tcp:1.2.3.4:1\",\"nat\":\"true\",\"proxy_protocol\":\"true\"}}",
			"devices.a.proxy_protocol: " },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:1.2.3.4:1\","
		  "\"connect\":\"tcp:1.2.3.4:1\",\"bind\":\"moon\"}}",
			"devices.a.bind: " },
		{ "{\"a\":{\"type\":\"proxy\",\"listen\":\"tcp:1.2.3.4:1\","
		  "\"connect\":\"unix:/x\",\"proxy_protocol\":\"true\"}}",
			"devices.a.proxy_protocol: " },
		{ "{\"a\":{\"type\":\"none\",\"x\":\"y\"}}", "devices.a.x: unknown key" },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"x\",\"source\":\"/s\"}}",
			"devices.a.path: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/x/../y\",\"source\":\"/s\"}}",
			"devices.a.path: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/x/.\",\"source\":\"/s\"}}",
			"devices.a.path: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/x\"}}", "devices.a.source: is missing" },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/x\",\"source\":\"y\"}}",
			"devices.a.source: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/x\",\"source\":\"/y\",\"size\":\"1GiB\"}}",
			"devices.a.size: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\"}}", "devices.a.pool: is missing" },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\",\"source\":\"/s\"}}",
			"devices.a.source: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\",\"size\":\"1k\"}}",
			"devices.a.size: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\",\"size\":\"1KiB\"}}",
			"devices.a.size: must be at least" },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\",\"limits.read\":\"fast\"}}",
			"devices.a.limits.read: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\",\"raw.mount.options\":\"x\"}}",
			"devices.a.raw.mount.options: " },
		{ "{\"a\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\"},"
		  "\"b\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"p\"}}",
			"has / already" },
		{ "{\"a\":{\"type\":\"nic\"}}", "devices.a.network: is missing" },
		{ "{\"a\":{\"type\":\"nic\",\"nictype\":\"bridged\"}}",
			"devices.a.network: is missing" },
		{ "{\"a\":{\"type\":\"nic\",\"nictype\":\"sriov\",\"parent\":\"x\"}}",
			"devices.a.nictype: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"parent\":\"x\"}}",
			"devices.a.network: excludes" },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"name\":\"a/b\"}}",
			"devices.a.name: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"name\":\"lo\"}}",
			"devices.a.name: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"name\":\"0123456789abcdef\"}}",
			"devices.a.name: " },
		{ "{\"0123456789abcdef\":{\"type\":\"nic\",\"network\":\"n\"}}", "at most 15" },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"hwaddr\":\"00:16\"}}",
			"devices.a.hwaddr: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"hwaddr\":\"01:16:3e:01:02:03\"}}",
			"of one card" },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"hwaddr\":\"00:16:3e:01:02:03x\"}}",
			"devices.a.hwaddr: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"ipv4.address\":\"10.0.0\"}}",
			"devices.a.ipv4.address: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"ipv6.address\":\"10.0.0.1\"}}",
			"devices.a.ipv6.address: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"mtu\":\"10\"}}",
			"devices.a.mtu: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"limits.ingress\":\"100XB\"}}",
			"devices.a.limits.ingress: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"limits.ingress\":\"1Mbit\","
		  "\"limits.max\":\"1Mbit\"}}",
			"devices.a.limits.max: " },
		{ "{\"a\":{\"type\":\"nic\",\"network\":\"n\",\"name\":\"e\"},"
		  "\"b\":{\"type\":\"nic\",\"network\":\"n\",\"name\":\"e\"}}",
			"is e already" },
		{ "{\"a\":{\"type\":\"unix-char\"}}", "devices.a.source: is missing" },
		{ "{\"a\":{\"type\":\"unix-char\",\"source\":\"/etc/x\"}}", "below /dev" },
		{ "{\"a\":{\"type\":\"unix-char\",\"source\":\"/dev/x\",\"mode\":\"888\"}}",
			"devices.a.mode: " },
		{ "{\"a\":{\"type\":\"unix-char\",\"source\":\"/dev/x\",\"mode\":\"7777\"}}",
			"devices.a.mode: " },
		{ "{\"a\":{\"type\":\"unix-char\",\"source\":\"/dev/x\",\"major\":\"1\"}}",
			"devices.a.major: " },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct spec spec = {};
		struct error e = {};
		int r = read_both("{}", cases[i][0], &spec, &e);
		if (r != -EINVAL)
			test_fail("%s was taken", cases[i][0]);
		expect_contains(e.text, cases[i][1]);
	}
}

static void too_many_devices(void)
{
	json_t *devices = json_object();
	for (int i = 0; i <= DEVICES_MAX; i++) {
		char name[16];
		snprintf(name, sizeof(name), "d%d", i);
		json_object_set_new(devices, name, json_pack("{s:s}", "type", "none"));
	}
	struct error e = {};
	expect_equal(spec_check(NULL, devices, &e), -EINVAL);
	expect_contains(e.text, "more than 64");
	json_decref(devices);
}

static void a_value_has_no_nul(void)
{
	json_t *config = json_pack("{s:s%}", "user.x", "a\0b", 3);
	struct error e = {};
	expect_equal(spec_check(config, NULL, &e), -EINVAL);
	expect_contains(e.text, "config.user.x: ");
	json_decref(config);
}

static void too_much_environment(void)
{
	json_t *config = json_object();
	for (int i = 0; i <= SPEC_ENVIRONMENT_MAX; i++) {
		char name[32];
		snprintf(name, sizeof(name), "environment.V%d", i);
		json_object_set_new(config, name, json_string("x"));
	}
	expect_equal(spec_check(config, NULL, NULL), -EINVAL);
	json_decref(config);
}

static void names(void)
{
	static const char *const good[] = { "a", "c1", "A-b-3" };
	static const char *const bad[] = { "", "-a", "a-", "1a", "a.b", "a/b", "a b", "../x",
		"\xc3\xa4", "a123456789012345678901234567890123456789012345678901234567890123" };
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect_equal(spec_check_name(good[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error e = {};
		expect_equal(spec_check_name(bad[i], &e), -EINVAL);
		expect_contains(e.text, "name: ");
	}
	expect_equal(spec_check_snapshot_name("snap0.1_a-b", NULL), 0);
	expect_equal(spec_check_snapshot_name("..", NULL), -EINVAL);
	expect_equal(spec_check_snapshot_name("a/b", NULL), -EINVAL);
	expect_equal(spec_check_snapshot_name("", NULL), -EINVAL);
}

static const struct test tests[] = {
	{ "config and devices are read", reads_what_an_instance_asks },
	{ "nothing asked for is nothing promised", empty_is_nothing },
	{ "an empty value is a key that is not set", an_empty_value_is_not_set },
	{ "each wrong key of config is refused by its path", refuses_config },
	{ "each wrong device is refused by its path", refuses_devices },
	{ "more devices than the limit are refused", too_many_devices },
	{ "a value with a NUL is refused", a_value_has_no_nul },
	{ "more environment than the limit is refused", too_much_environment },
	{ "names of instances and snapshots are checked", names },
};
TEST_MAIN(tests)
