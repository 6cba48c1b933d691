/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>

#include "test.h"

static int temporary_dir(char path[64])
{
	strcpy(path, "/tmp/berth-test-file-XXXXXX");
	expect(mkdtemp(path) != NULL);
	test_removes_at_end(path);
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect(dir >= 0);
	return dir;
}

static void is_replaced_whole(void)
{
	char path[64];
	cleanup(close) int dir = temporary_dir(path);
	struct error e = {};
	expect_equal(file_replace(dir, "a", "one", 3, 0600, &e), 0);
	expect_equal(file_replace(dir, "a", "three", 5, 0600, &e), 0);
	cleanup(free) char *text = NULL;
	size_t length;
	expect_equal(file_read(dir, "a", 100, &text, &length, &e), 0);
	expect_text(text, "three");
	expect_equal(length, 5);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static void limit_names_the_file(void)
{
	char path[64];
	cleanup(close) int dir = temporary_dir(path);
	struct error e = {};
	expect_equal(file_replace(dir, "big", "12345", 5, 0600, &e), 0);
	char *text = NULL;
	expect_equal(file_read(dir, "big", 4, &text, NULL, &e), -E2BIG);
	expect_contains(e.text, "big");
	expect(text == NULL);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static void tree_goes_but_not_what_a_link_names(void)
{
	char path[64], other[64];
	cleanup(close) int dir = temporary_dir(path);
	cleanup(close) int outside = temporary_dir(other);
	struct error e = {};
	expect_equal(file_replace(outside, "kept", "x", 1, 0600, &e), 0);
	expect_equal(file_make_dirs(dir, "t/a/b/c", 0700), 0);
	expect_equal(file_make_dirs(dir, "t/a/b/c", 0700), 0);
	expect_equal(symlinkat(other, dir, "t/a/link"), 0);
	expect_equal(file_replace(dir, "t/a/file", "x", 1, 0600, &e), 0);
	expect_equal(file_remove_tree(dir, "t"), 0);
	expect_equal(file_remove_tree(dir, "t"), 0);
	expect(faccessat(dir, "t", F_OK, 0) < 0 && errno == ENOENT);
	expect_equal(faccessat(outside, "kept", F_OK, 0), 0);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
	expect_equal(file_remove_tree(AT_FDCWD, other), 0);
}

static void no_link_leads_out(void)
{
	char path[64];
	cleanup(close) int dir = temporary_dir(path);
	expect_equal(file_make_dirs(dir, "root/etc", 0700), 0);
	cleanup(close) int root = openat(dir, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect_equal(symlinkat("/etc/passwd", root, "absolute"), 0);
	expect_equal(symlinkat("../../../../etc/passwd", root, "etc/relative"), 0);
	expect_equal(symlinkat("/proc/self/root", root, "magic"), 0);
	expect_equal(file_open_in_root(root, "absolute", O_RDONLY, 0), -ENOENT);
	expect_equal(file_open_in_root(root, "etc/relative", O_RDONLY, 0), -ENOENT);
	expect_equal(file_open_in_root(root, "magic/etc/passwd", O_RDONLY, 0), -ENOENT);
	expect_equal(file_open_beneath(root, "absolute", O_RDONLY, 0), -ELOOP);
	expect_equal(file_open_beneath(root, "../root", O_RDONLY, 0), -EXDEV);
	cleanup(close) int inside = file_open_in_root(root, "/../../etc", O_RDONLY, 0);
	expect(inside >= 0);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static void copies_every_byte(void)
{
	char path[64];
	cleanup(close) int dir = temporary_dir(path);
	static char data[300000];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 31);
	struct error e = {};
	expect_equal(file_replace(dir, "from", data, sizeof(data), 0600, &e), 0);
	cleanup(close) int from = openat(dir, "from", O_RDONLY | O_CLOEXEC);
	cleanup(close) int to = openat(dir, "to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	expect_equal(file_copy(from, to), 0);
	static char copy[sizeof(data)];
	expect_equal(file_read_at(to, copy, sizeof(copy), 0), 0);
	expect(memcmp(data, copy, sizeof(data)) == 0);
	expect_equal(file_read_at(to, copy, 2, sizeof(data) - 1), -ENODATA);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static const struct test tests[] = {
	{ "a file is replaced whole", is_replaced_whole },
	{ "a file over the limit is named in the error", limit_names_the_file },
	{ "a tree is removed but not what a link in it names",
		tree_goes_but_not_what_a_link_names },
	{ "no link and no .. leads out of a root", no_link_leads_out },
	{ "a copy has every byte", copies_every_byte },
};
TEST_MAIN(tests)
