/* SPDX-License-Identifier: Apache-2.0 */
#include "container/plan.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "base/text.h"
#include "container/caps.h"
#include "container/profile.h"
#include "test.h"

#define START \
	"{\"version\":1,\"kind\":\"container\",\"name\":\"c1\"," \
	"\"root\":{\"layers\":[\"/l2\",\"/l1\"],\"volume\":{\"type\":\"directory\",\"path\":\"/v\"}}"
#define IDMAP ",\"idmap\":{\"base\":1000000,\"count\":65536}"
#define INIT  ",\"init\":{\"args\":[\"/sbin/init\"]}"

static struct container *read_plan(const char *text)
{
	struct container *container;
	struct error e = {};
	if (plan_read(text, strlen(text), &container, &e) < 0)
		test_fail("%s", e.text);
	return container;
}

static void reads_a_small_plan(void)
{
	cleanup(container_free) struct container *c = read_plan(START IDMAP INIT "}");
	expect_text(c->name, "c1");
	expect_equal(c->root.layer_count, 2);
	expect_text(c->root.layers[0], "/l2");
	expect_text(c->root.volume, "/v");
	expect(c->root.fs == NULL);
	expect_equal(c->uid_count, 1);
	expect_equal(c->gids[0].outside, 1000000);
	expect(c->namespaces & CLONE_NEWUSER);
	expect(c->namespaces & CLONE_NEWTIME);
	expect(c->is_system);
	expect(c->has_delegate);
	expect(!c->process.no_new_privileges);
	expect_equal(c->stop_signal, SIGRTMIN + 3);
	expect(c->process.filter == profiles[PROFILE_SYSTEM].filter);
	expect_equal(c->process.caps.inheritable, 0);
}

static void an_application_has_less(void)
{
	cleanup(container_free) struct container *c = read_plan(START IDMAP
		",\"init\":{\"args\":[\"web\",\"-x\"],\"system\":false,\"user\":\"web\"},"
		"\"resolver\":{\"nameservers\":[\"10.0.0.1\"]},\"cgroups\":[\"/cg/a\"]}");
	expect(c->process.no_new_privileges);
	expect(c->process.filter == profiles[PROFILE_APPLICATION].filter);
	expect(c->process.caps.bounding == caps_application);
	expect_equal(c->stop_signal, SIGTERM);
	expect_text(c->process.user.name, "web");
	expect_text(c->cgroups[0], "/cg/a");
	expect(!c->has_delegate);
}

static void reads_everything(void)
{
	cleanup(container_free) struct container *c = read_plan(START
		",\"privileged\":true" INIT
		",\"mounts\":[{\"type\":\"bind\",\"source\":\"/srv\",\"target\":\"/data\","
		"\"readonly\":true,\"recursive\":true,\"shift\":true,\"optional\":true},"
		"{\"type\":\"volume\",\"source\":{\"type\":\"image\",\"path\":\"/v.img\"},"
		"\"target\":\"/v\"},{\"type\":\"tmpfs\",\"target\":\"/t\",\"size_bytes\":4096}],"
		"\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\",\"major\":10,\"minor\":229}],"
		"\"nics\":[{\"link\":\"v1\",\"name\":\"eth0\",\"mtu\":1400,"
		"\"addresses\":[\"10.0.0.2/24\"]}],"
		"\"rlimits\":[{\"type\":\"nofile\",\"soft\":10,\"hard\":-1}],"
		"\"capabilities\":[\"CHOWN\",\"CAP_KILL\"],\"seccomp\":\"none\","
		"\"oom_score_adj\":-5,\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"}}");
	const struct container_mount *mount = &c->mounts[c->mount_count - 3];
	expect_equal(mount[0].kind, MOUNT_BIND);
	expect(mount[0].set & MOUNT_ATTR_RDONLY);
	expect(mount[0].is_recursive && mount[0].is_shifted && mount[0].is_optional);
	expect_equal(mount[1].kind, MOUNT_VOLUME);
	expect_text(mount[1].fs, "ext4");
	expect_text(mount[2].options, "mode=1777,size=4096");
	expect_equal(c->devices[0].minor, 229);
	expect_equal(c->nics[0].mtu, 1400);
	expect(c->process.limits[0].hard == UINT64_MAX);
	expect_equal(c->process.caps.bounding, (1 << 0) | (1 << 5));
	expect(c->process.filter == NULL);
	expect_equal(c->process.oom_score_adj, -5);
	expect_equal(c->uid_count, 0);
	expect(!(c->namespaces & CLONE_NEWUSER));
}

static void refuses_by_name(void)
{
	static const struct {
		const char *plan;
		const char *word;
	} bad[] = {
		{ "", "plan" },
		{ "[]", "object" },
		{ START IDMAP INIT ",\"extra\":1}", "extra" },
		{ START INIT "}", "idmap" },
		{ START IDMAP "}", "init" },
		{ "{\"version\":2,\"kind\":\"container\"}", "version" },
		{ START ",\"idmap\":{\"base\":0,\"count\":65536}" INIT "}", "idmap" },
		{ START ",\"idmap\":{\"base\":4294967295,\"count\":65536}" INIT "}", "idmap" },
		{ START IDMAP ",\"init\":{\"args\":[]}}", "init.args" },
		{ START IDMAP ",\"init\":{\"args\":[\"a\"],\"cwd\":\"x\"}}", "init.cwd" },
		{ START IDMAP ",\"init\":{\"args\":[\"a\"],\"stop_signal\":\"X\"}}",
			"stop_signal" },
		{ START IDMAP INIT ",\"seccomp\":\"maybe\"}", "seccomp" },
		{ START IDMAP INIT ",\"capabilities\":[\"SYS_ROOT\"]}", "SYS_ROOT" },
		{ START IDMAP INIT ",\"rlimits\":[{\"type\":\"files\"}]}", "rlimits" },
		{ START IDMAP INIT ",\"mounts\":[{\"type\":\"bind\",\"target\":\"/a\"}]}",
			"source" },
		{ START IDMAP INIT ",\"mounts\":[{\"type\":\"bind\",\"source\":\"x\","
				   "\"target\":\"/a\"}]}",
			"source" },
		{ START IDMAP INIT ",\"mounts\":[7]}", "mounts" },
		{ START IDMAP INIT ",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"z\"}]}",
			"devices.type" },
		{ START IDMAP INIT ",\"cgroups\":[\"relative\"]}", "cgroups" },
		{ "{\"version\":1,\"kind\":\"container\",\"name\":\"c\",\"root\":{}" IDMAP INIT "}",
			"root" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct container *container = NULL;
		struct error e = {};
		int r = plan_read(bad[i].plan, strlen(bad[i].plan), &container, &e);
		if (r != -EINVAL)
			test_fail("%d for %s", r, bad[i].plan);
		if (!strstr(e.text, bad[i].word))
			test_fail("\"%s\" without %s", e.text, bad[i].word);
	}
}

static const struct test tests[] = {
	{ "a small plan has safe defaults", reads_a_small_plan },
	{ "an application has fewer rights than a system", an_application_has_less },
	{ "every member is read", reads_everything },
	{ "what is wrong or unknown is refused by its name", refuses_by_name },
};

TEST_MAIN(tests)
