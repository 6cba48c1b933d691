/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "test.h"

static char home[64];

static int make_dir(const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", home, name);
	expect_equal(mkdir(path, 0755), 0);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect(fd >= 0);
	return fd;
}

static void begin(void)
{
	strcpy(home, "/tmp/berth-test-tree-XXXXXX");
	expect(mkdtemp(home) != NULL);
	test_removes_at_end(home);
}

static void end(void)
{
	expect_equal(file_remove_tree(AT_FDCWD, home), 0);
}

static void write_file(int dir, const char *name, const char *text, mode_t mode)
{
	cleanup(close) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	expect(fd >= 0);
	expect_equal(file_write_all(fd, text, strlen(text)), 0);
	expect_equal(fchmod(fd, mode), 0);
}

static void copies_what_a_root_needs(void)
{
	if (geteuid() != 0)
		test_skip("only root can set owners");
	begin();
	cleanup(close) int from = make_dir("from");
	cleanup(close) int to = make_dir("to");
	expect_equal(mkdirat(from, "bin", 0755), 0);
	write_file(from, "bin/su", "suid", 0755);
	expect_equal(fchownat(from, "bin/su", 12, 34, 0), 0);
	expect_equal(fchmodat(from, "bin/su", 04755, 0), 0);
	expect_equal(linkat(from, "bin/su", from, "bin/again", 0), 0);
	expect_equal(symlinkat("/etc/shadow", from, "link"), 0);
	expect_equal(mknodat(from, "gone", S_IFCHR, makedev(0, 0)), 0);
	cleanup(close) int su = openat(from, "bin/su", O_RDONLY | O_CLOEXEC);
	expect_equal(fsetxattr(su, "user.note", "x", 1, 0), 0);
	cleanup(close) int bin = openat(from, "bin", O_RDONLY | O_CLOEXEC);
	expect_equal(fsetxattr(bin, "trusted.overlay.opaque", "y", 1, 0), 0);
	expect_equal(fsetxattr(bin, "trusted.overlay.origin", "z", 1, 0), 0);

	struct error e = {};
	if (tree_copy(from, to, NULL, NULL, &e) < 0)
		test_fail("%s", e.text);
	struct stat a, b, c;
	expect_equal(fstatat(to, "bin/su", &a, 0), 0);
	expect_equal(a.st_mode & 07777, 04755);
	expect_equal(a.st_uid, 12);
	expect_equal(a.st_gid, 34);
	expect_equal(fstatat(to, "bin/again", &b, 0), 0);
	expect_equal(a.st_ino, b.st_ino);
	expect_equal(fstatat(to, "gone", &c, AT_SYMLINK_NOFOLLOW), 0);
	expect(S_ISCHR(c.st_mode) && c.st_rdev == 0);
	expect_equal(fstatat(to, "link", &c, AT_SYMLINK_NOFOLLOW), 0);
	expect(S_ISLNK(c.st_mode));
	cleanup(close) int copied = openat(to, "bin/su", O_RDONLY | O_CLOEXEC);
	char value[8];
	expect_equal(fgetxattr(copied, "user.note", value, sizeof(value)), 1);
	cleanup(close) int copied_bin = openat(to, "bin", O_RDONLY | O_CLOEXEC);
	expect_equal(fgetxattr(copied_bin, "trusted.overlay.opaque", value, sizeof(value)), 1);
	expect(fgetxattr(copied_bin, "trusted.overlay.origin", value, sizeof(value)) < 0);
	end();
}

static void keeps_holes(void)
{
	begin();
	cleanup(close) int from = make_dir("from");
	cleanup(close) int to = make_dir("to");
	cleanup(close) int fd = openat(from, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	expect_equal(pwrite(fd, "end", 3, 64 * MIB), 3);
	struct error e = {};
	expect_equal(tree_copy(from, to, NULL, NULL, &e), 0);
	struct stat status;
	expect_equal(fstatat(to, "sparse", &status, 0), 0);
	expect_equal(status.st_size, 64 * MIB + 3);
	expect(status.st_blocks * 512 < (off_t)MIB);
	cleanup(close) int copy = openat(to, "sparse", O_RDONLY | O_CLOEXEC);
	char tail[3];
	expect_equal(file_read_at(copy, tail, 3, 64 * MIB), 0);
	expect(memcmp(tail, "end", 3) == 0);
	end();
}

static int stop(void *data, const struct tree_size *done)
{
	(void)data;
	(void)done;
	return -ECANCELED;
}

static void stops_when_told(void)
{
	begin();
	cleanup(close) int from = make_dir("from");
	cleanup(close) int to = make_dir("to");
	for (int i = 0; i < 600; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		write_file(from, name, "", 0600);
	}
	struct error e = {};
	expect_equal(tree_copy(from, to, stop, NULL, &e), -ECANCELED);
	struct tree_size size;
	expect_equal(tree_measure(from, &size, &e), 0);
	expect_equal(size.entries, 600);
	end();
}

static void names_the_entry_that_failed(void)
{
	begin();
	cleanup(close) int from = make_dir("from");
	cleanup(close) int to = make_dir("to");
	expect_equal(file_make_dirs(from, "a/b", 0755), 0);
	expect_equal(file_make_dirs(to, "a", 0755), 0);
	struct error e = {};
	expect_equal(tree_copy(from, to, NULL, NULL, &e), -EEXIST);
	expect_contains(e.text, "/a: create: File exists");
	end();
}

static const struct test tests[] = {
	{ "a copy has owners, set-id bits, links, whiteouts and attributes",
		copies_what_a_root_needs },
	{ "holes stay holes", keeps_holes },
	{ "a copy stops when it is told to", stops_when_told },
	{ "the entry that failed is named", names_the_entry_that_failed },
};

TEST_MAIN(tests)
