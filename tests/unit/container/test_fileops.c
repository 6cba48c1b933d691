/* SPDX-License-Identifier: Apache-2.0 */
#include "files/fileops.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "container/target.h"
#include "test.h"

static const struct fileops_owner keep = { FILEOPS_KEEP, FILEOPS_KEEP, FILEOPS_KEEP };

/* A root with a file, and beside it what must not be reached. */
static int make_root(char path[64])
{
	strcpy(path, "/tmp/berth-test-fileops-XXXXXX");
	expect(mkdtemp(path) != NULL);
	test_removes_at_end(path);
	cleanup(close) int top = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	expect_equal(mkdirat(top, "root", 0755), 0);
	struct error e = {};
	expect_equal(file_replace(top, "secret", "host", 4, 0600, &e), 0);
	int root = openat(top, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	expect_equal(mkdirat(root, "dir", 0755), 0);
	expect_equal(file_replace(root, "dir/file", "inside", 6, 0600, &e), 0);
	return root;
}

static void stays_inside(void)
{
	char path[64];
	cleanup(close) int root = make_root(path);
	struct stat stat;
	expect_equal(symlinkat("../secret", root, "up"), 0);
	expect_equal(symlinkat("/proc/self/root/etc/passwd", root, "magic"), 0);
	expect_equal(symlinkat("..", root, "dir/parent"), 0);
	expect_equal(fileops_stat(root, "../secret", true, &stat), -ENOENT);
	expect_equal(fileops_open(root, "up", O_RDONLY, 0), -ENOENT);
	expect(fileops_open(root, "magic", O_RDONLY, 0) < 0);
	expect_equal(fileops_open(root, "/dir/parent/parent/../secret", O_RDONLY, 0), -ENOENT);
	expect_equal(fileops_open(root, "/dir/parent/../../secret", O_RDONLY, 0), -ENOENT);
	/* A write through the link makes a file inside. */
	cleanup(close) int made = fileops_open(root, "up", O_WRONLY | O_CREAT, 0600);
	expect(made >= 0);
	expect_equal(fstatat(root, "secret", &stat, 0), 0);
	expect_equal(fileops_remove(root, "dir/parent/../../secret", false), 0);
	expect_equal(fileops_rename(root, "dir/file", "../../moved", true), 0);
	expect_equal(fstatat(root, "moved", &stat, 0), 0);
	expect_equal(fileops_remove(root, "..", true), -EINVAL);
	expect_equal(fileops_remove(root, "/", true), -EBUSY);
	expect_equal(fileops_remove(root, "dir", false), -ENOTEMPTY);
	expect_equal(fileops_remove(root, "dir", true), 0);
	cleanup(free) char *secret = alloc_printf("%s/secret", path);
	expect_equal(access(secret, F_OK), 0);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static void opens_only_regular_files(void)
{
	char path[64];
	cleanup(close) int root = make_root(path);
	expect_equal(mkfifoat(root, "fifo", 0666), 0);
	expect_equal(fileops_open(root, "fifo", O_RDONLY, 0), -EINVAL);
	expect(fileops_open(root, "fifo", O_WRONLY | O_CREAT | O_TRUNC, 0600) < 0);
	expect_equal(fileops_open(root, "dir", O_RDONLY, 0), -EISDIR);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static void makes_directories_and_links(void)
{
	char path[64], target[64];
	cleanup(close) int root = make_root(path);
	struct stat stat;
	struct fileops_owner owner = { 02750, FILEOPS_KEEP, FILEOPS_KEEP };
	expect_equal(fileops_make_directory(root, "a/b/c", false, &owner), -ENOENT);
	expect_equal(fileops_make_directory(root, "/a//b/c/", true, &owner), 0);
	expect_equal(fileops_make_directory(root, "a/b/c", true, &owner), 0);
	expect_equal(fileops_make_directory(root, "a/b/c", false, &owner), -EEXIST);
	expect_equal(fileops_stat(root, "a/b/c", false, &stat), 0);
	expect_equal(stat.st_mode & 07777, 02750);
	expect_equal(fileops_link(root, "l", "one", &keep), 0);
	expect_equal(fileops_link(root, "l", "two", &keep), 0);
	expect_equal(fileops_read_link(root, "l", target, sizeof(target)), 3);
	expect_text(target, "two");
	expect_equal(fileops_link(root, "dir/file", "x", &keep), -EEXIST);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static void targets_are_made_inside(void)
{
	char path[64];
	cleanup(close) int root = make_root(path);
	struct error e = {};
	struct stat stat;
	cleanup(close) int deep = -1;
	expect_equal(target_make(root, "/x/y/file", true, false, &deep, &e), 0);
	expect_equal(fstat(deep, &stat), 0);
	expect(S_ISREG(stat.st_mode));
	/* A link in the way is followed inside the root, or refused where it would be an attack. */
	expect_equal(symlinkat("../../../dir", root, "link"), 0);
	cleanup(close) int below = -1;
	expect_equal(target_make(root, "/link/new", false, false, &below, &e), 0);
	expect_equal(fstatat(root, "dir/new", &stat, 0), 0);
	int none = -1;
	expect_equal(target_make(root, "/link", false, true, &none, &e), -ELOOP);
	expect_contains(e.text, "/link");
	/* A link that leads nowhere stays: nothing is made where it points. */
	expect_equal(symlinkat("../secret2", root, "nowhere"), 0);
	expect(target_make(root, "/nowhere", true, false, &none, &e) < 0);
	/* Too many dots end at the root. */
	cleanup(close) int up = -1;
	expect_equal(target_make(root, "/a/../../../b", false, false, &up, &e), 0);
	expect_equal(fstatat(root, "b", &stat, 0), 0);
	cleanup(free) char *secret = alloc_printf("%s/secret2", path);
	expect(access(secret, F_OK) < 0);
	expect_equal(file_remove_tree(AT_FDCWD, path), 0);
}

static const struct test tests[] = {
	{ "no link, no dots and no magic link lead out of the root", stays_inside },
	{ "only regular files are opened", opens_only_regular_files },
	{ "directories and links are made with their modes", makes_directories_and_links },
	{ "targets of mounts are made inside the root", targets_are_made_inside },
};

TEST_MAIN(tests)
