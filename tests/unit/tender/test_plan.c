/* SPDX-License-Identifier: Apache-2.0 */
#include "tender/monitor.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "test.h"

#define HEAD "\"version\":1,\"kind\":\"unikernel\",\"name\":\"u\","
#define ROOT "\"root\":{\"layers\":[\"/l\"]},\"image\":\"/l.x\","
#define INIT "\"init\":{\"args\":[\"/bin/a\"]},"
#define REST "\"uid\":1000,\"memory_bytes\":8388608"

static void reads(void)
{
	static const char text[] =
		"{" HEAD "\"root\":{\"layers\":[\"/b\",\"/a\"],\"volume\":"
		"{\"type\":\"block\",\"path\":\"/v\"}},\"image\":\"/b.x\","
		"\"init\":{\"args\":[\"app\",\"x\"],\"environment\":"
		"[\"A=1\",\"PATH=/p\"],\"cwd\":\"/w\",\"stop_signal\":\"SIGINT\"},"
		"\"nics\":[{\"device\":\"eth0\",\"name\":\"eth0\",\"mac\":"
		"\"00:16:3e:00:00:01\",\"mtu\":1400,\"host\":{\"name\":\"t1\","
		"\"bridge\":\"br0\",\"isolated\":true,\"into_bits\":5},"
		"\"addresses\":[\"10.0.0.2/24\"]}],"
		"\"resolver\":{\"nameservers\":[\"10.0.0.1\"],\"search\":[]},"
		"\"stateful\":true,\"restore\":\"/s\",\"cgroups\":[\"/c\"]," REST "}";
	cleanup(tender_plan_free) struct tender_plan *plan = NULL;
	struct error e = {};
	if (tender_plan_read(text, strlen(text), &plan, &e) < 0)
		test_fail("%s", e.text);
	expect_text(plan->program, "app");
	expect_text(plan->search, "/p");
	expect_text(plan->image, "/b.x");
	expect_text(plan->volume, "/v");
	expect_text(plan->cwd, "/w");
	expect_text(plan->restore, "/s");
	expect(plan->is_stateful);
	expect_equal(plan->stop_signal, SIGINT);
	expect_equal(plan->uid, 1000);
	expect(plan->has_nic && plan->nic.is_isolated && plan->nic.mtu == 1400);
	expect_text(plan->nic.bridge, "br0");
	expect_text(plan->cgroups[0], "/c");
	expect(!plan->cgroups[1]);
	expect_equal(json_array_size(plan->nameservers), 1);
}

static void refuses(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "[]", "it is no object" },
		{ "{" HEAD ROOT INIT REST ",\"more\":1}", "more" },
		{ "{\"version\":2," ROOT INIT REST "}", "version: 1 is wanted" },
		{ "{\"version\":1,\"kind\":\"vm\"," ROOT INIT REST "}", "kind: unikernel" },
		{ "{" HEAD INIT REST "}", "root: is missing" },
		{ "{" HEAD "\"root\":{\"layers\":[]},\"image\":\"/x\"," INIT REST "}",
			"starts from an image" },
		{ "{" HEAD "\"root\":{\"layers\":[\"l\"]},\"image\":\"/x\"," INIT REST "}",
			"absolute path" },
		{ "{" HEAD "\"root\":{\"layers\":[\"/l\"]}," INIT REST "}", "image" },
		{ "{" HEAD ROOT REST "}", "init: is missing" },
		{ "{" HEAD ROOT "\"init\":{\"args\":[]}," REST "}", "a program is wanted" },
		{ "{" HEAD ROOT "\"init\":{\"args\":[\"a\"],\"stop_signal\":\"X\"}," REST "}",
			"no signal of Linux" },
		{ "{" HEAD ROOT INIT "\"memory_bytes\":8388608}", "uid" },
		{ "{" HEAD ROOT INIT "\"uid\":0,\"memory_bytes\":8388608}", "uid" },
		{ "{" HEAD ROOT INIT "\"uid\":1,\"memory_bytes\":4096}", "memory_bytes" },
		{ "{" HEAD ROOT INIT REST ",\"engine\":\"x\"}", "none of process, kvm, soft" },
		{ "{" HEAD ROOT INIT REST ",\"nics\":[{},{}]}", "one network card" },
		{ "{" HEAD ROOT INIT REST ",\"nics\":[1]}", "an object is wanted" },
		{ "{" HEAD ROOT INIT REST ",\"nics\":[{\"mac\":\"x\"}]}", "nics.host" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tender_plan *plan = NULL;
		struct error e = {};
		int r = tender_plan_read(cases[i].text, strlen(cases[i].text), &plan, &e);
		expect(r == -EINVAL || r == -E2BIG);
		expect_contains(e.text, cases[i].why);
	}
}

static void tells_the_kernel(void)
{
	static const char text[] =
		"{" HEAD ROOT "\"init\":{\"args\":[\"a\",\"b c\",\"\\\"\\\\\"],"
		"\"environment\":[\"A=1\"],\"cwd\":\"/w x\",\"stop_signal\":\"INT\"},"
		"\"engine\":\"soft\","
		"\"nics\":[{\"mac\":\"00:16:3e:00:00:01\",\"host\":{\"name\":\"t1\"},"
		"\"addresses\":[\"10.0.0.2/24\"],\"gateways\":[\"10.0.0.1\"]}],"
		"\"resolver\":{\"nameservers\":[\"1.1.1.1\",\"2.2.2.2\",\"3.3.3.3\"]}," REST "}";
	cleanup(tender_plan_free) struct tender_plan *plan = NULL;
	cleanup(free) char *line = NULL;
	struct error e = {};
	if (tender_plan_read(text, strlen(text), &plan, &e) < 0)
		test_fail("%s", e.text);
	expect(plan->is_soft && !plan->is_machine);
	expect_equal(monitor_command(plan, &line, &e), 0);
	expect_text(line,
		"berth.exit=244 berth.report=0x40000 berth.memory=8388608 berth.stop-signal=2 "
		"berth.host-name=u berth.address=10.0.0.2/24 berth.gateway=10.0.0.1 "
		"berth.dns=1.1.1.1 berth.dns=2.2.2.2 \"berth.directory=/w x\" berth.environment=1 -- \"a\" \"b c\" "
		"\"\\\"\\\\\" \"A=1\"");
	expect_equal(monitor_memory(plan, 0), 18 * MIB);
}

static void tells_one_that_goes_on(void)
{
	static const char text[] =
		"{" HEAD ROOT INIT "\"engine\":\"soft\",\"restore\":\"/state\"," REST "}";
	cleanup(tender_plan_free) struct tender_plan *plan = NULL;
	cleanup(free) char *line = NULL;
	struct error e = {};
	if (tender_plan_read(text, strlen(text), &plan, &e) < 0)
		test_fail("%s", e.text);
	expect(plan->is_stateful);
	expect_equal(monitor_command(plan, &line, &e), 0);
	expect_text(line,
		"berth.exit=244 berth.report=0x40000 berth.memory=8388608 berth.stop-signal=15 "
		"berth.host-name=u berth.keep=248 berth.no-card");
}

static const struct test tests[] = {
	{ "a plan is read to the last member", reads },
	{ "under soft the kernel's command line has it all", tells_the_kernel },
	{ "one that goes on is told of its card, and no words", tells_one_that_goes_on },
	{ "what is wrong or unknown is refused by its path", refuses },
};
TEST_MAIN(tests)
