/* SPDX-License-Identifier: Apache-2.0 */
#include "metal/quirk.h"

#include "test.h"

static void finds_by_beginning(void)
{
	expect(quirk_find("Supermicro", "X11") & QUIRK_BOOT_MODE_ALWAYS);
	expect(quirk_find("Dell Inc.", NULL) & QUIRK_SLOW_POWER);
	expect_equal(quirk_find("Acme", "1"), 0);
	expect_equal(quirk_find(NULL, NULL), 0);
}

static void numbers_are_whole(void)
{
	expect_equal(quirk_find("IANA 4753", "3842"), QUIRK_BOOT_FLAG_INVALID);
	expect_equal(quirk_find("IANA 47531", NULL), 0);
}

static void names_them(void)
{
	cleanup(free) char *names = quirk_names(QUIRK_BOOT_FLAG_INVALID | QUIRK_SLOW_POWER);
	expect_text(names, "boot-flag-invalid slow-power");
}

static const struct test tests[] = {
	{ "a vendor is found by the beginning of its name", finds_by_beginning },
	{ "a vendor's number is compared whole", numbers_are_whole },
	{ "quirks have names", names_them },
};

TEST_MAIN(tests)
