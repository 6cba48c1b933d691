/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/modules.h"

#include <elf.h>

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

/* A module of three sections: none, names, .modinfo. */
static struct {
	Elf64_Ehdr head;
	Elf64_Shdr sections[3];
	char names[16], info[40];
} module;

static void make_module(void)
{
	memset(&module, 0, sizeof(module));
	memcpy(module.head.e_ident, "\177ELF\2\1\1", 7);
	module.head.e_shoff = offsetof(typeof(module), sections);
	module.head.e_shentsize = sizeof(Elf64_Shdr);
	module.head.e_shnum = 3;
	module.head.e_shstrndx = 1;
	module.sections[1].sh_offset = offsetof(typeof(module), names);
	module.sections[1].sh_size = sizeof(module.names);
	module.sections[2].sh_name = 1;
	module.sections[2].sh_offset = offsetof(typeof(module), info);
	module.sections[2].sh_size = sizeof(module.info);
	memcpy(module.names, "\0.modinfo", 10);
	memcpy(module.info, "alias=pci:v0000*\0depends=a", 27);
}

static bool has_info(void)
{
	const char *info;
	size_t length;
	modules_info((const char *)&module, sizeof(module), &info, &length);
	expect(info >= (const char *)&module &&
		info + length <= (const char *)&module + sizeof(module));
	return info == module.info && length == sizeof(module.info) &&
		modules_match(info, length, "pci:v00001");
}

static void finds_what_it_says(void)
{
	make_module();
	expect(has_info());
	module.head.e_shoff = UINT64_MAX - 8;
	expect(!has_info());
	make_module();
	module.head.e_shnum = 60000;
	expect(!has_info());
	make_module();
	module.head.e_shstrndx = 3;
	expect(!has_info());
	make_module();
	module.sections[1].sh_offset = UINT64_MAX;
	expect(!has_info());
	make_module();
	module.sections[2].sh_size = UINT64_MAX;
	expect(!has_info());
	make_module();
	module.sections[2].sh_name = UINT32_MAX;
	expect(!has_info());
}

static const struct test tests[] = {
	{ "a driver is found for a device by its aliases", matches },
	{ "of a module only what it says of itself is read", finds_what_it_says },
	{ "a module that is cut short is not read beyond its end", stays_within_its_bytes },
};

TEST_MAIN(tests)
