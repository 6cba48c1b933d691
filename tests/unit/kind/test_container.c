/* SPDX-License-Identifier: Apache-2.0 */
#include "kind/container.h"

#include <errno.h>

#include "test.h"

static json_t *config, *devices;

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

#define ROOT "\"root\":{\"type\":\"disk\",\"path\":\"/\",\"pool\":\"default\"}"

/* Two JSON texts that mean the same. */
static void expect_json(json_t *got, const char *wanted)
{
	json_t *parsed = json_loads(wanted, 0, NULL);
	if (!parsed || !json_equal(got, parsed)) {
		char *text = json_dumps(got, JSON_INDENT(1));
		printf("# got: %s\n", text);
		free(text);
		test_fail("wanted: %s", wanted);
	}
	json_decref(parsed);
}

static void plans_a_system(void)
{
	cleanup(spec_done) struct spec spec = {};
	ask(&spec, "{\"limits.cpu\":\"1\",\"limits.memory\":\"1GiB\",\"limits.processes\":\"50\"}",
		"{" ROOT ",\"eth0\":{\"type\":\"nic\",\"network\":\"br0\"}}");
	json_t *root = json_loads("{\"layers\":[\"/l/b\",\"/l/a\"],"
				  "\"volume\":{\"type\":\"directory\",\"path\":\"/v\"}}",
		0, NULL);
	const json_t *const volumes[1] = {};
	const struct plan_link links[1] = { { .device = "eth0",
		.name = "eth0",
		.network = "br0",
		.hwaddr = "00:16:3e:00:00:01",
		.ipv4 = "10.0.0.2/24",
		.ipv4_gateway = "10.0.0.1" } };
	struct kind_input input = { .spec = &spec,
		.project = "default",
		.name = "c1",
		.idmap_base = 1000000,
		.root = root,
		.volumes = volumes,
		.links = links,
		.cgroup = "berth-x/default_c1" };
	cpu_set_mask_add(&input.cpus, 1);
	cleanup(plan_done) struct plan plan = {};
	expect_equal(kind_container.check(&spec, &(struct kind_host){ 2, 8 * GIB }, NULL), 0);
	expect_equal(kind_container.plan(&input, &plan, NULL), 0);
	json_t *json = plan_json(&plan);
	expect_json(json,
		"[{\"step\":\"cgroup\",\"path\":\"berth-x/default_c1\",\"cpu_milli\":1000,"
		"\"cpuset\":\"1\",\"memory_bytes\":1073741824,\"processes\":50},"
		"{\"step\":\"link\",\"device\":\"eth0\",\"name\":\"eth0\",\"network\":\"br0\","
		"\"hwaddr\":\"00:16:3e:00:00:01\",\"ipv4\":\"10.0.0.2/24\","
		"\"ipv4_gateway\":\"10.0.0.1\"},"
		"{\"step\":\"runner\",\"program\":\"berth-container\",\"plan\":{\"version\":1,"
		"\"kind\":\"container\",\"project\":\"default\",\"name\":\"c1\",\"hostname\":\"c1\","
		"\"root\":{\"layers\":[\"/l/b\",\"/l/a\"],"
		"\"volume\":{\"type\":\"directory\",\"path\":\"/v\"}},"
		"\"init\":{\"args\":[\"/sbin/init\"],\"environment\":["
		"\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\","
		"\"TERM=linux\",\"container=lxc\"],\"system\":true},"
		"\"idmap\":{\"base\":1000000,\"count\":65536},"
		"\"nics\":[{\"device\":\"eth0\",\"name\":\"eth0\",\"addresses\":[\"10.0.0.2/24\"],"
		"\"gateways\":[\"10.0.0.1\"],\"mac\":\"00:16:3e:00:00:01\"}]}}]");
	json_decref(json);
	json_decref(root);
}

static void plans_an_application(void)
{
	cleanup(spec_done) struct spec spec = {};
	ask(&spec,
		"{\"oci.entrypoint\":\"/bin/app --x 'a b'\",\"oci.cwd\":\"/w\",\"oci.uid\":\"7\","
		"\"oci.gid\":\"8\",\"environment.PATH\":\"/bin\",\"security.privileged\":\"true\","
		"\"limits.kernel.nofile\":\"unlimited\",\"linux.sysctl.net.x\":\"1\","
		"\"security.nesting\":\"true\"}",
		"{" ROOT ",\"d\":{\"type\":\"disk\",\"path\":\"/d\",\"source\":\"/s\"},"
		"\"t\":{\"type\":\"disk\",\"path\":\"/t\",\"source\":\"tmpfs:\",\"size\":\"1MiB\"},"
		"\"v\":{\"type\":\"disk\",\"path\":\"/v\",\"source\":\"vol\",\"pool\":\"p\"},"
		"\"n\":{\"type\":\"unix-char\",\"source\":\"/dev/fuse\"}}");
	json_t *volume =
		json_loads("{\"type\":\"image\",\"path\":\"/i\",\"fs\":\"ext4\"}", 0, NULL);
	const json_t *const volumes[] = { volume, volume, volume, volume };
	const char *const servers[] = { "10.0.0.1", NULL };
	struct kind_input input = { .spec = &spec,
		.project = "p",
		.name = "a",
		.volumes = volumes,
		.cgroup = "g",
		.nameservers = servers,
		.search = "berth" };
	cleanup(plan_done) struct plan plan = {};
	expect_equal(kind_container.plan(&input, &plan, NULL), 0);
	expect_equal(plan.count, 3);
	expect_equal(plan.steps[0].type, PLAN_VOLUME);
	expect(plan.steps[1].cgroup.has_nodes);
	json_t *document = plan_find(&plan, PLAN_RUNNER, 0)->runner.document;
	expect_json(json_object_get(document, "init"),
		"{\"args\":[\"/bin/app\",\"--x\",\"a b\"],\"environment\":[\"TERM=linux\","
		"\"HOME=/root\",\"PATH=/bin\"],\"system\":false,\"cwd\":\"/w\",\"user\":\"7:8\"}");
	expect_json(json_object_get(document, "mounts"),
		"[{\"device\":\"d\",\"target\":\"/d\",\"type\":\"bind\",\"source\":\"/s\",\"recursive\":false,"
		"\"shift\":false},"
		"{\"device\":\"t\",\"target\":\"/t\",\"type\":\"tmpfs\",\"size_bytes\":1048576},"
		"{\"device\":\"v\",\"target\":\"/v\",\"type\":\"volume\",\"shift\":true,\"source\":"
		"{\"type\":\"image\",\"path\":\"/i\",\"fs\":\"ext4\"}}]");
	expect_json(json_object_get(document, "rlimits"),
		"[{\"type\":\"nofile\",\"soft\":-1,\"hard\":-1}]");
	expect_json(json_object_get(document, "sysctl"), "{\"net.x\":\"1\"}");
	expect_json(json_object_get(document, "resolver"),
		"{\"nameservers\":[\"10.0.0.1\"],\"search\":[\"berth\"]}");
	expect(json_is_true(json_object_get(document, "privileged")));
	expect(!json_object_get(document, "idmap"));
	expect_text(json_string_value(json_object_get(document, "seccomp")), "nesting");
	expect(json_is_null(json_object_get(document, "root")));
	json_decref(volume);
}

static void limits(void)
{
	static const struct {
		const char *config;
		struct plan_cgroup wanted;
	} cases[] = {
		{ "{}", {} },
		{ "{\"limits.cpu\":\"0-1\"}", { .cpu_milli = 2000 } },
		{ "{\"limits.cpu.allowance\":\"10%\"}", { .cpu_weight = 10 } },
		{ "{\"limits.cpu.allowance\":\"25ms/50ms\"}",
			{ .cpu_milli = 500, .cpu_period_us = 50000 } },
		{ "{\"limits.cpu.priority\":\"0\",\"limits.disk.priority\":\"10\"}",
			{ .cpu_weight = 1, .io_weight = 200 } },
		{ "{\"limits.memory\":\"1GiB\",\"limits.memory.enforce\":\"soft\"}",
			{ .memory_low_bytes = GIB } },
		{ "{\"limits.memory.swap\":\"false\"}", { .is_swap_off = true } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(spec_done) struct spec spec = {};
		ask(&spec, cases[i].config, "{}");
		struct plan_cgroup got;
		container_limits(&spec, &(struct cpu_set_mask){}, &got);
		expect_equal(got.cpu_milli, cases[i].wanted.cpu_milli);
		expect_equal(got.cpu_period_us, cases[i].wanted.cpu_period_us);
		expect_equal(got.cpu_weight, cases[i].wanted.cpu_weight);
		expect_equal(got.io_weight, cases[i].wanted.io_weight);
		expect_equal(got.memory_bytes, cases[i].wanted.memory_bytes);
		expect_equal(got.memory_low_bytes, cases[i].wanted.memory_low_bytes);
		expect_equal(got.is_swap_off, cases[i].wanted.is_swap_off);
	}
}

static void refuses(void)
{
	static const char *const cases[][3] = {
		{ "{}", "{}", "devices: no root disk" },
		{ "{}", "{" ROOT ",\"b\":{\"type\":\"disk\",\"source\":\"/s\"}}",
			"devices.b.path: is missing" },
		{ "{\"limits.memory\":\"1kB\"}", "{" ROOT "}", "config.limits.memory: " },
		{ "{\"cloud-init.user-data\":\"x\",\"oci.entrypoint\":\"y\"}", "{" ROOT "}",
			"config.cloud-init.user-data: " },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(spec_done) struct spec spec = {};
		struct error e = {};
		ask(&spec, cases[i][0], cases[i][1]);
		expect_equal(
			kind_container.check(&spec, &(struct kind_host){ 2, GIB }, &e), -EINVAL);
		expect_contains(e.text, cases[i][2]);
	}
}

static const struct test tests[] = {
	{ "a system container is planned to the last member", plans_a_system },
	{ "an application container has its own first process", plans_an_application },
	{ "limits are translated", limits },
	{ "what a container can't be is refused by its path", refuses },
};
TEST_MAIN(tests)
