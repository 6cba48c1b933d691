/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/modules.h"

#include "agent/init.h"
#include "test.h"

/* The agent's own goes to the console. */
void init_say(const char *format, ...)
{
	(void)format;
}

static const char bytes[] = "\177ELF\0license=GPL\0alias=pci:v00001AF4d*sv*\0"
			    "notalias=pci:v00008086d*\0alias=virtio:d00000001v*\0depends=a,b\0";

static void matches(void)
{
	expect(modules_match(bytes, sizeof(bytes), "pci:v00001AF4d00001000sv00001AF4"));
	expect(modules_match(bytes, sizeof(bytes), "virtio:d00000001v00001AF4"));
	expect(!modules_match(bytes, sizeof(bytes), "pci:v00008086d00001000sv00001AF4"));
	expect(!modules_match(bytes, sizeof(bytes), "virtio:d00000002v00001AF4"));
	expect_text(modules_depends(bytes, sizeof(bytes)), "a,b");
}

static void stays_within_its_bytes(void)
{
	static const char cut[] = { '\0', 'a', 'l', 'i', 'a', 's', '=', 'p', 'c', 'i' };
	expect(!modules_match(cut, sizeof(cut), "pci"));
	expect_text(modules_depends(cut, sizeof(cut)), "");
	expect(!modules_match("", 0, "pci"));
}

static const struct test tests[] = {
	{ "a driver is found for a device by its aliases", matches },
	{ "a module that is cut short is not read beyond its end", stays_within_its_bytes },
};

TEST_MAIN(tests)
