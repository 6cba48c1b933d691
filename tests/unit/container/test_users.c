/* SPDX-License-Identifier: Apache-2.0 */
#include "container/users.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "test.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "broken\n"
			     ":::::\n"
			     "big:x:99999999999:1:::\n"
			     "web:x:33:34:web:/var/www:/bin/false\n"
			     "1234:x:7:8::/seven:\n"
			     "last:x:5:6";
static const char group[] = "root:x:0:\nadm:x:4:web,other\nweb:x:34:\nvideo:x:44:webx,aweb,web\n";

static void finds_names_and_numbers(void)
{
	struct user user;
	struct error e = {};
	expect_equal(user_find("web", passwd, group, &user, &e), 0);
	expect_equal(user.uid, 33);
	expect_equal(user.gid, 34);
	expect_equal(user.group_count, 2);
	expect_equal(user.groups[0], 4);
	expect_equal(user.groups[1], 44);
	expect_text(user.home, "/var/www");
	expect_equal(user_find("33:video", passwd, group, &user, &e), 0);
	expect_equal(user.gid, 44);
	expect_equal(user.group_count, 0);
	expect_equal(user_find("4000:4001", passwd, group, &user, &e), 0);
	expect_equal(user.uid, 4000);
	expect_equal(user.gid, 4001);
	expect_text(user.home, "/");
	expect_equal(user_find("last", passwd, group, &user, &e), 0);
	expect_equal(user.gid, 6);
}

/* A user whose name is a number must not make the number mean somebody else. */
static void a_number_is_a_number(void)
{
	struct user user;
	struct error e = {};
	expect_equal(user_find("1234", passwd, group, &user, &e), 0);
	expect_equal(user.uid, 1234);
	expect_equal(user.gid, 0);
}

static void refuses_what_is_no_id(void)
{
	struct user user = { .uid = 77 };
	static const char *const bad[] = { "", ":", "0:", ":0", "0:0:0", "+0", "-1", " 0", "0 ",
		"0x0", "4294967295", "4294967296", "00000000000", "big", "broken", "webx",
		"web:none" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct error e = {};
		if (user_find(bad[i], passwd, group, &user, &e) == 0)
			test_fail("taken: \"%s\" as %u", bad[i], user.uid);
		expect(e.text[0] != '\0');
		expect_equal(user.uid, 77);
	}
}

static void bounds_the_groups(void)
{
	cleanup(text_done) struct text many = {};
	for (int i = 0; i < USERS_GROUPS_MAX + 1; i++)
		text_printf(&many, "g%d:x:%d:web\n", i, i);
	struct user user;
	struct error e = {};
	expect_equal(user_find("web", passwd, text_str(&many), &user, &e), -E2BIG);
}

static int make_root(char path[64])
{
	strcpy(path, "/tmp/berth-test-users-XXXXXX");
	expect(mkdtemp(path) != NULL);
	test_removes_at_end(path);
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	expect_equal(mkdirat(root, "etc", 0755), 0);
	return root;
}

static void reads_only_inside(void)
{
	char path[64];
	cleanup(close) int root = make_root(path);
	struct user user;
	struct error e = {};
	/* Nothing there: a number needs nothing. */
	expect_equal(user_find_in(root, "7:8", &user, &e), 0);
	expect_equal(user_find_in(root, "daemon", &user, &e), -ENOENT);
	/* The host's file has a daemon; a link to it leads to the root's own. */
	expect_equal(symlinkat("../../../../../../etc/passwd", root, "etc/passwd"), 0);
	expect(user_find_in(root, "daemon", &user, &e) < 0);
	expect_equal(unlinkat(root, "etc/passwd", 0), 0);
	expect_equal(symlinkat("/proc/self/root/etc/passwd", root, "etc/passwd"), 0);
	expect(user_find_in(root, "daemon", &user, &e) < 0);
	expect_equal(unlinkat(root, "etc/passwd", 0), 0);
	/* Nobody waits for the other end of a FIFO. */
	expect_equal(mkfifoat(root, "etc/passwd", 0666), 0);
	expect_equal(user_find_in(root, "daemon", &user, &e), -EINVAL);
	expect_equal(unlinkat(root, "etc/passwd", 0), 0);
	cleanup(free) char *big = alloc_array(USERS_FILE_MAX + 10, char);
	memset(big, 'x', USERS_FILE_MAX + 10);
	expect_equal(file_replace(root, "etc/passwd", big, USERS_FILE_MAX + 10, 0644, &e), 0);
	expect_equal(user_find_in(root, "daemon", &user, &e), -E2BIG);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static const struct test tests[] = {
	{ "users are found by name and number, with their groups", finds_names_and_numbers },
	{ "a number is that number, whoever is called so", a_number_is_a_number },
	{ "what is no id or name is refused whole", refuses_what_is_no_id },
	{ "a user in too many groups is refused", bounds_the_groups },
	{ "the files are read inside the root and only if regular and small", reads_only_inside },
};

TEST_MAIN(tests)
