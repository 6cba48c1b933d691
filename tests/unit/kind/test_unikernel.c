/* SPDX-License-Identifier: Apache-2.0 */
#include "kind/unikernel.h"

#include <errno.h>

#include "base/text.h"
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

static void plans(void)
{
	cleanup(spec_done) struct spec spec = {};
	ask(&spec,
		"{\"oci.entrypoint\":\"/bin/app -v 'a b'\",\"limits.cpu\":\"1\",\"limits.memory\":\"64MiB\","
		"\"environment.HOME\":\"/\",\"oci.cwd\":\"/w\",\"oci.stop_signal\":\"INT\"}",
		"{" ROOT ",\"eth0\":{\"type\":\"nic\",\"network\":\"br0\"}}");
	json_t *root = json_loads("{\"layers\":[\"/l/b\",\"/l/a\"],"
				  "\"volume\":{\"type\":\"block\",\"path\":\"/v\"}}",
		0, NULL);
	const json_t *const volumes[1] = {};
	const char *const servers[] = { "10.0.0.1", NULL };
	const struct plan_link links[1] = { { .device = "eth0",
		.name = "eth0",
		.network = "br0",
		.hwaddr = "00:16:3e:00:00:01",
		.ipv4 = "10.0.0.2/24",
		.ipv4_gateway = "10.0.0.1" } };
	struct kind_input input = { .spec = &spec,
		.project = "default",
		.name = "u1",
		.idmap_base = 1000000,
		.root = root,
		.volumes = volumes,
		.links = links,
		.nameservers = servers,
		.search = "berth",
		.cgroup = "berth-x/default_u1" };
	cleanup(plan_done) struct plan plan = {};
	expect_equal(kind_unikernel.check(&spec, &(struct kind_host){}, NULL), 0);
	expect_equal(kind_unikernel.plan(&input, &plan, NULL), 0);
	json_t *json = plan_json(&plan);
	expect_json(json,
		"[{\"step\":\"cgroup\",\"path\":\"berth-x/default_u1\",\"cpu_milli\":1000,"
		"\"memory_bytes\":83886080},"
		"{\"step\":\"link\",\"device\":\"eth0\",\"name\":\"eth0\",\"network\":\"br0\","
		"\"hwaddr\":\"00:16:3e:00:00:01\",\"ipv4\":\"10.0.0.2/24\","
		"\"ipv4_gateway\":\"10.0.0.1\"},"
		"{\"step\":\"runner\",\"program\":\"berth-tender-run\",\"plan\":{\"version\":1,"
		"\"kind\":\"unikernel\",\"project\":\"default\",\"name\":\"u1\",\"hostname\":\"u1\","
		"\"root\":{\"layers\":[\"/l/b\",\"/l/a\"],"
		"\"volume\":{\"type\":\"block\",\"path\":\"/v\"}},"
		"\"init\":{\"args\":[\"/bin/app\",\"-v\",\"a b\"],\"environment\":["
		"\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\","
		"\"HOME=/\"],\"cwd\":\"/w\",\"stop_signal\":\"INT\"},"
		"\"uid\":1000000,\"memory_bytes\":67108864,"
		"\"image\":\"/l/b.228d2d3956d37351.unikernel\","
		"\"resolver\":{\"nameservers\":[\"10.0.0.1\"],\"search\":[\"berth\"]},"
		"\"nics\":[{\"device\":\"eth0\",\"name\":\"eth0\",\"addresses\":[\"10.0.0.2/24\"],"
		"\"gateways\":[\"10.0.0.1\"],\"mac\":\"00:16:3e:00:00:01\"}]}}]");
	json_decref(json);
	json_decref(root);
}

static void chooses(void)
{
	static const struct {
		const char *config, *asked, *measured, *wanted;
	} cases[] = {
		{ "{}", NULL, NULL, "process" },
		{ "{}", NULL, "process", "process" },
		{ "{}", NULL, "kvm", "kvm" },
		{ "{}", "auto", "kvm", "kvm" },
		{ "{}", "process", "kvm", "process" },
		{ "{}", "kvm", "process", "kvm" },
		{ "{}", "soft", "kvm", "process" },
		{ "{\"berth.engine\":\"soft\"}", "soft", "kvm", "soft" },
		{ "{\"migration.stateful\":\"true\"}", NULL, "kvm", "process" },
		{ "{\"berth.engine\":\"soft\",\"migration.stateful\":\"true\"}", "soft", "kvm",
			"soft" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(spec_done) struct spec spec = {};
		ask(&spec, cases[i].config, "{" ROOT "}");
		const struct kind_input input = {
			.spec = &spec, .engine = cases[i].asked, .measured = cases[i].measured
		};
		expect_text(unikernel_engine(&input), cases[i].wanted);
	}
}

static void images_differ(void)
{
	static const char *const cases[][3] = {
		{ "[\"/l/a\"]", "/bin/a", NULL },
		{ "[\"/l/a\"]", "/bin/b", NULL },
		{ "[\"/l/a\",\"/l/b\"]", "/bin/a", NULL },
		{ "[\"/l/a\"]", "a", "/bin" },
		{ "[\"/l/a\"]", "a", "/sbin" },
		{ "[\"/l/a\"]", "a", NULL },
	};
	char *names[ARRAY_SIZE(cases)];
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *layers = json_loads(cases[i][0], 0, NULL);
		names[i] = unikernel_image(layers, cases[i][1], cases[i][2]);
		json_decref(layers);
		expect(text_starts(names[i], "/l/a."));
		for (size_t j = 0; j < i; j++)
			expect(!text_equal(names[i], names[j]));
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		free(names[i]);
}

static void refuses(void)
{
	static const struct {
		const char *config, *devices, *why;
	} cases[] = {
		{ "{}", "{" ROOT "}", "config.oci.entrypoint: a unikernel is one program" },
		{ "{\"oci.entrypoint\":\"a\"}", "{}", "devices: no root disk" },
		{ "{\"oci.entrypoint\":\"a\",\"limits.cpu\":\"2\"}", "{" ROOT "}",
			"config.limits.cpu: a unikernel runs on one CPU" },
		{ "{\"oci.entrypoint\":\"a\",\"limits.memory\":\"1MiB\"}", "{" ROOT "}",
			"config.limits.memory: a unikernel needs at least 4MiB" },
		{ "{\"oci.entrypoint\":\"a\",\"limits.memory\":\"8MiB\","
		  "\"limits.memory.enforce\":\"soft\"}",
			"{" ROOT "}", "config.limits.memory.enforce: a unikernel's memory" },
		{ "{\"oci.entrypoint\":\"a\",\"limits.processes\":\"5\"}", "{" ROOT "}",
			"config.limits.processes: a unikernel is one process" },
		{ "{\"oci.entrypoint\":\"a\",\"security.privileged\":\"true\"}", "{" ROOT "}",
			"config.security.privileged: a unikernel is locked in" },
		{ "{\"oci.entrypoint\":\"a\",\"berth.engine\":\"soft\",\"limits.memory\":\"2GiB\"}",
			"{" ROOT "}", "config.limits.memory: under soft a unikernel has 1536MiB" },
		{ "{\"oci.entrypoint\":\"a\",\"limits.kernel.nofile\":\"5\"}", "{" ROOT "}",
			"config.limits.kernel: a unikernel takes none" },
		{ "{\"oci.entrypoint\":\"a\",\"linux.sysctl.net.x\":\"1\"}", "{" ROOT "}",
			"config.linux.sysctl: a unikernel takes none" },
		{ "{\"oci.entrypoint\":\"a\"}",
			"{" ROOT ",\"d\":{\"type\":\"disk\",\"path\":\"/d\",\"source\":\"/s\"}}",
			"devices.d: a unikernel has only its root disk" },
		{ "{\"oci.entrypoint\":\"a\"}",
			"{" ROOT ",\"n\":{\"type\":\"unix-char\",\"source\":\"/dev/fuse\"}}",
			"devices.n: a unikernel has no devices of the host" },
		{ "{\"oci.entrypoint\":\"a\"}",
			"{" ROOT ",\"a\":{\"type\":\"nic\",\"network\":\"n\"},"
			"\"b\":{\"type\":\"nic\",\"network\":\"n\"}}",
			"a unikernel has one network card" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(spec_done) struct spec spec = {};
		struct error e = {};
		ask(&spec, cases[i].config, cases[i].devices);
		expect_equal(kind_unikernel.check(&spec, &(struct kind_host){}, &e), -EINVAL);
		expect_contains(e.text, cases[i].why);
	}
}

static const struct test tests[] = {
	{ "a program with its card is planned", plans },
	{ "the engine is the key's, else what was measured", chooses },
	{ "other layers, another program or another way to find it is another image",
		images_differ },
	{ "what a unikernel cannot have is refused by name", refuses },
};

TEST_MAIN(tests)
