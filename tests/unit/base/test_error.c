/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>

#include "test.h"

static void carries_errno_and_meaning(void)
{
	struct error e = {};
	errno = ENOENT;
	expect_equal(error_errno(&e, "open %s", "x"), -ENOENT);
	expect_text(e.text, "open x: No such file or directory");
}

static void is_prefixed_on_the_way_up(void)
{
	struct error e = {};
	int r = error_set(&e, -EINVAL, "not a number");
	expect_equal(error_prefix(&e, r, "config.%s", "limits.cpu"), -EINVAL);
	expect_text(e.text, "config.limits.cpu: not a number");
}

static void may_have_no_listener(void)
{
	expect_equal(error_set(NULL, -EBUSY, "x"), -EBUSY);
	expect_equal(error_prefix(NULL, -EBUSY, "x"), -EBUSY);
}

static void long_text_is_cut(void)
{
	struct error e = {};
	char name[2 * ERROR_TEXT_SIZE];
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	expect_equal(error_code(&e, -EACCES, "%s", name), -EACCES);
	expect_equal(strlen(e.text), ERROR_TEXT_SIZE - 1);
}

static const struct test tests[] = {
	{ "an errno is returned negative and explained", carries_errno_and_meaning },
	{ "a text is prefixed on the way up", is_prefixed_on_the_way_up },
	{ "nobody has to listen", may_have_no_listener },
	{ "a long text is cut", long_text_is_cut },
};
TEST_MAIN(tests)
