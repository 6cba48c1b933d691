/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tenant.h"

#include <errno.h>

#include "test.h"

static void reads_grub(void)
{
	struct tenant_boot boot;
	expect_equal(tenant_read_boot("set timeout=0\nmenuentry 'x' {\n"
				      "\tlinux\t/boot/vmlinuz-6 root=UUID=1 ro quiet\n"
				      "\tinitrd /boot/initrd-6\n}\nmenuentry 'y' {\n"
				      "\tlinux /boot/vmlinuz-5 old\n}\n",
			     &boot),
		0);
	expect_text(boot.kernel, "/boot/vmlinuz-6");
	expect_text(boot.initrd, "/boot/initrd-6");
	expect_text(boot.arguments, "root=UUID=1 ro quiet");
}

static void reads_the_others(void)
{
	struct tenant_boot boot;
	expect_equal(tenant_read_boot("title x\nlinux /vmlinuz\ninitrd /initrd\n"
				      "options root=LABEL=root rw\n",
			     &boot),
		0);
	expect_text(boot.arguments, "root=LABEL=root rw");
	expect_equal(tenant_read_boot("LABEL a\n  KERNEL /vmlinuz\n  APPEND a b\n", &boot), 0);
	expect_text(boot.kernel, "/vmlinuz");
	expect_text(boot.initrd, "");
	expect_equal(tenant_read_boot("linux (hd0,1)/boot/k a\n", &boot), 0);
	expect_text(boot.kernel, "/boot/k");
}

static void refuses_what_only_a_boot_loader_knows(void)
{
	struct tenant_boot boot;
	expect_equal(tenant_read_boot("", &boot), -ENOENT);
	expect_equal(tenant_read_boot("linux ${kernel} a\n", &boot), -ENOENT);
	expect_equal(tenant_read_boot("linux /k root=$x\n", &boot), -ENOENT);
	expect_equal(tenant_read_boot("linux vmlinuz\n", &boot), -ENOENT);
}

static void knows_file_systems(void)
{
	static const struct {
		size_t at;
		const char *magic, *type;
	} cases[] = { { 1080, "\x53\xef", "ext4" }, { 0, "XFSB", "xfs" },
		{ 65600, "_BHRfS_M", "btrfs" }, { 1024, "\xe2\xe1\xf5\xe0", "erofs" },
		{ 54, "FAT16", "vfat" }, { 82, "FAT32", "vfat" } };
	static uint8_t bytes[70000];
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t length = strlen(cases[i].magic);
		memcpy(bytes + cases[i].at, cases[i].magic, length);
		expect_text(tenant_read_type(bytes, sizeof(bytes)), cases[i].type);
		expect(!tenant_read_type(bytes, cases[i].at + 1));
		memset(bytes, 0, sizeof(bytes));
	}
	expect(!tenant_read_type(bytes, sizeof(bytes)));
}

static const struct test tests[] = {
	{ "the first entry of grub.cfg is read", reads_grub },
	{ "so are BLS entries and extlinux.conf", reads_the_others },
	{ "an entry with variables is not guessed at", refuses_what_only_a_boot_loader_knows },
	{ "a file system is known by what it begins with", knows_file_systems },
};

TEST_MAIN(tests)
