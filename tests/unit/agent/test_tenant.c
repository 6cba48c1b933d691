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

static const struct test tests[] = {
	{ "the first entry of grub.cfg is read", reads_grub },
	{ "so are BLS entries and extlinux.conf", reads_the_others },
	{ "an entry with variables is not guessed at", refuses_what_only_a_boot_loader_knows },
};

TEST_MAIN(tests)
