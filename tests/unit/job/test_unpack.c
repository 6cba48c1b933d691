/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that want out, and archives as they should be. */
#include "job/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "archives.h"
#include "base/text.h"

static struct error failure;

static int unpack(int tar, int root, const struct unpack_options *options)
{
	static const struct unpack_options usual = {};
	struct unpack_result result;
	failure = (struct error){};
	return unpack_archive(tar, root, options ? options : &usual, NULL, &result, &failure);
}

/* Unpacks one entry of that kind and expects a refusal that names it. */
static void refuse(char type, const char *name, const char *link, const char *why)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_file(tar, "good", "x", 0644);
	tar_entry(tar, type, name, link);
	tar_end(tar);
	expect(unpack(tar, root, NULL) < 0);
	expect_contains(failure.text, name);
	expect_contains(failure.text, why);
	char outside[96];
	snprintf(outside, sizeof(outside), "%s/evil", archives_home);
	expect(access(outside, F_OK) < 0);
	home_remove();
}

static void dotdot_is_refused(void)
{
	refuse('0', "../evil", "", "..");
	refuse('0', "a/../../evil", "", "..");
	refuse('5', "a/..", "", "..");
	refuse('2', "../evil", "/etc", "..");
}

static void absolute_is_refused(void)
{
	refuse('0', "/tmp/evil", "", "absolute");
	refuse('5', "/", "", "absolute");
}

static void no_write_goes_through_a_link(void)
{
	static const char *const targets[] = { "..", "/tmp", "/proc/self/root", "." };
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		cleanup(close) int root = home_open();
		cleanup(close) int tar = tar_new();
		tar_entry(tar, '2', "way", targets[i]);
		tar_file(tar, "way/evil", "x", 0644);
		tar_end(tar);
		expect_equal(unpack(tar, root, NULL), -EINVAL);
		expect_contains(failure.text, "entry way/evil");
		char outside[96];
		snprintf(outside, sizeof(outside), "%s/evil", archives_home);
		expect(access(outside, F_OK) < 0);
		home_remove();
	}
}

static void a_directory_does_not_follow_a_link(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	struct stat before, after;
	expect_equal(stat(archives_home, &before), 0);
	tar_entry(tar, '2', "way", "..");
	tar_header_write(tar, '5', "way", "", 0777, 12, 0);
	tar_end(tar);
	expect_equal(unpack(tar, root, NULL), -EINVAL);
	expect_equal(stat(archives_home, &after), 0);
	expect_equal(before.st_mode, after.st_mode);
	expect_equal(before.st_uid, after.st_uid);
	home_remove();
}

static void hard_links_stay_inside(void)
{
	refuse('1', "link", "/etc/passwd", "another name");
	refuse('1', "link", "../root/good", "..");
	refuse('1', "link", "nowhere", "another name");
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_entry(tar, '2', "out", "/etc");
	tar_entry(tar, '1', "stolen", "out/passwd");
	tar_end(tar);
	expect_equal(unpack(tar, root, NULL), -EINVAL);
	expect_contains(failure.text, "leads away");
	home_remove();
}

static void devices_are_left_out(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_entry(tar, '3', "null", "");
	tar_entry(tar, '4', "sda", "");
	tar_entry(tar, '6', "fifo", "");
	tar_end(tar);
	struct unpack_options options = {};
	struct unpack_result result;
	expect_equal(unpack_archive(tar, root, &options, NULL, &result, &failure), 0);
	expect_equal(result.skipped, 2);
	expect(faccessat(root, "null", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	expect(faccessat(root, "sda", F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	struct stat status;
	expect_equal(fstatat(root, "fifo", &status, AT_SYMLINK_NOFOLLOW), 0);
	expect(S_ISFIFO(status.st_mode));
	home_remove();
}

static void owners_outside_are_refused(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_header_write(tar, '0', "far", "", 0644, 70000, 0);
	tar_end(tar);
	expect_equal(unpack(tar, root, NULL), -EINVAL);
	expect_contains(failure.text, "entry far: its owner 70000:70000 is outside 0 to 65535");
	home_remove();
}

static void a_root_comes_out_as_it_was(void)
{
	if (geteuid() != 0)
		test_skip("only root can set owners");
	static const unsigned char capability[20] = { 1, 0, 0, 2, 0, 4 };
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_header_write(tar, '5', "./", "", 0711, 3, 0);
	tar_header_write(tar, '5', "./bin/", "", 0755, 0, 0);
	tar_file(tar, "./bin/su", "root", 04755);
	tar_entry(tar, '1', "./bin/again", "./bin/su");
	tar_entry(tar, '2', "./lib", "/usr/lib");
	tar_pax(tar, "SCHILY.xattr.security.capability", capability, sizeof(capability));
	tar_file(tar, "./bin/ping", "ping", 0755);
	tar_pax(tar, "SCHILY.xattr.user.note", "n", 1);
	tar_file(tar, "deep/er/file", "f", 0600);
	tar_pax(tar, "SCHILY.xattr.trusted.overlay.opaque", "y", 1);
	tar_entry(tar, '5', "sly", "");
	tar_pax(tar, "SCHILY.xattr.user.overlay.opaque", "y", 1);
	tar_entry(tar, '5', "slyer", "");
	tar_end(tar);
	if (unpack(tar, root, NULL) < 0)
		test_fail("%s", failure.text);
	struct stat a, b;
	expect_equal(fstat(root, &a), 0);
	expect_equal(a.st_mode & 07777, 0711);
	expect_equal(a.st_uid, 3);
	expect_equal(a.st_mtime, 1000000000);
	expect_equal(fstatat(root, "bin", &a, 0), 0);
	expect_equal(a.st_mtime, 1000000000);
	expect_equal(fstatat(root, "bin/su", &a, 0), 0);
	expect_equal(a.st_mode & 07777, 04755);
	expect_equal(fstatat(root, "bin/again", &b, 0), 0);
	expect_equal(a.st_ino, b.st_ino);
	char value[64];
	cleanup(close) int ping = openat(root, "bin/ping", O_RDONLY | O_CLOEXEC);
	expect_equal(fgetxattr(ping, "security.capability", value, sizeof(value)), 20);
	cleanup(close) int file = openat(root, "deep/er/file", O_RDONLY | O_CLOEXEC);
	expect_equal(fgetxattr(file, "user.note", value, sizeof(value)), 1);
	cleanup(close) int sly = openat(root, "sly", O_RDONLY | O_CLOEXEC);
	expect(fgetxattr(sly, "trusted.overlay.opaque", value, sizeof(value)) < 0);
	cleanup(close) int slyer = openat(root, "slyer", O_RDONLY | O_CLOEXEC);
	expect(fgetxattr(slyer, "user.overlay.opaque", value, sizeof(value)) < 0);
	home_remove();
}

static void whiteouts_become_marks(void)
{
	if (geteuid() != 0)
		test_skip("only root can make an overlay's marks");
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_file(tar, "etc/.wh.passwd", "", 0644);
	tar_entry(tar, '5', "var/", "");
	tar_file(tar, "var/.wh..wh..opq", "", 0644);
	tar_file(tar, "var/kept", "k", 0644);
	tar_file(tar, "opt/.wh..wh..opq", "", 0644);
	tar_file(tar, ".wh..wh.plnk/1.2", "", 0644);
	tar_end(tar);
	struct unpack_options options = { .with_whiteouts = true };
	if (unpack(tar, root, &options) < 0)
		test_fail("%s", failure.text);
	struct stat status;
	expect_equal(fstatat(root, "etc/passwd", &status, AT_SYMLINK_NOFOLLOW), 0);
	expect(S_ISCHR(status.st_mode) && status.st_rdev == makedev(0, 0));
	char value[4];
	cleanup(close) int var = openat(root, "var", O_RDONLY | O_CLOEXEC);
	expect_equal(fgetxattr(var, "trusted.overlay.opaque", value, sizeof(value)), 1);
	cleanup(close) int opt = openat(root, "opt", O_RDONLY | O_CLOEXEC);
	expect_equal(fgetxattr(opt, "trusted.overlay.opaque", value, sizeof(value)), 1);
	expect(faccessat(root, "var/.wh..wh..opq", F_OK, 0) < 0);
	home_remove();

	cleanup(close) int again = home_open();
	cleanup(close) int bad = tar_new();
	tar_file(bad, "a/.wh...", "", 0644);
	tar_end(bad);
	expect_equal(unpack(bad, again, &options), -EINVAL);
	expect_contains(failure.text, "whiteout without a name");
	home_remove();
}

static void limits_are_kept(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	for (int i = 0; i < 20; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		tar_file(tar, name, "0123456789", 0644);
	}
	tar_end(tar);
	struct unpack_options few = { .entries_max = 10 };
	expect_equal(unpack(tar, root, &few), -E2BIG);
	expect_contains(failure.text, "more than 10 entries");
	expect_equal(lseek(tar, 0, SEEK_SET), 0);
	struct unpack_options small = { .bytes_max = 100 };
	expect_equal(unpack(tar, root, &small), -E2BIG);
	expect_contains(failure.text, "more than 100 bytes");
	home_remove();

	cleanup(close) int again = home_open();
	cleanup(close) int huge = tar_new();
	tar_header_write(huge, '0', "huge", "", 0644, 0, (size_t)8 * GIB - 1);
	tar_end(huge);
	struct unpack_options usual = { .bytes_max = GIB };
	expect_equal(unpack(huge, again, &usual), -E2BIG);
	expect_contains(failure.text, "entry huge: it says that it has");
	home_remove();
}

static void depth_is_limited(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	cleanup(text_done) struct text name = {};
	for (int i = 0; i < 300; i++)
		text_add(&name, "d/");
	tar_pax(tar, "path", text_str(&name), name.length);
	tar_entry(tar, '5', "d", "");
	tar_end(tar);
	expect_equal(unpack(tar, root, NULL), -EINVAL);
	expect_contains(failure.text, "directories deep");
	home_remove();
}

static void a_cut_archive_is_refused(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_header_write(tar, '0', "cut", "", 0644, 0, 100000);
	tar_write(tar, "only this", 9);
	expect_equal(lseek(tar, 0, SEEK_SET), 0);
	expect_equal(unpack(tar, root, NULL), -EINVAL);
	expect_contains(failure.text, "damaged");
	home_remove();
}

static void noise_is_refused(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int noise = tar_new();
	tar_write(noise, "this is no archive at all, whatever its name says", 49);
	expect_equal(lseek(noise, 0, SEEK_SET), 0);
	expect_equal(unpack(noise, root, NULL), -EINVAL);
	expect_contains(failure.text, "damaged or of no known format");
	home_remove();
}

/* A tar of one huge file of zeros, compressed as well as zstd can. */
static int make_bomb(void)
{
	int fd = tar_new();
	struct archive *archive = archive_write_new();
	archive_write_set_format_ustar(archive);
	archive_write_add_filter_zstd(archive);
	expect_equal(archive_write_open_fd(archive, fd), ARCHIVE_OK);
	struct archive_entry *entry = archive_entry_new();
	archive_entry_set_pathname(entry, "bomb");
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_size(entry, 400 * MIB);
	archive_write_header(archive, entry);
	static const char zeros[MIB];
	for (int i = 0; i < 400; i++)
		archive_write_data(archive, zeros, sizeof(zeros));
	archive_entry_free(entry);
	archive_write_free(archive);
	expect_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void a_bomb_is_refused(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int bomb = make_bomb();
	expect_equal(unpack(bomb, root, NULL), -E2BIG);
	expect_contains(failure.text, "a bomb");
	home_remove();
}

static void digests_are_of_all_bytes(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_file(tar, "a", "abc", 0644);
	tar_end(tar);
	expect_equal(lseek(tar, 0, SEEK_END), 2048);
	tar_write(tar, "behind the end", 14);
	expect_equal(lseek(tar, 0, SEEK_SET), 0);
	struct digest whole, seen;
	digest_start(&whole);
	expect_equal(digest_add_rest(&whole, tar, &failure), 0);
	expect_equal(lseek(tar, 0, SEEK_SET), 0);
	digest_start(&seen);
	struct unpack_options options = {};
	struct unpack_result result;
	expect_equal(unpack_archive(tar, root, &options, &seen, &result, &failure), 0);
	char a[DIGEST_HEX_SIZE], b[DIGEST_HEX_SIZE];
	digest_end(&whole, a);
	digest_end(&seen, b);
	expect_text(b, a);
	expect_text(result.tar_digest, a);
	home_remove();
}

static void later_entries_replace(void)
{
	cleanup(close) int root = home_open();
	cleanup(close) int tar = tar_new();
	tar_file(tar, "a", "one", 0644);
	tar_entry(tar, '2', "a", "/etc/passwd");
	tar_file(tar, "a", "three", 0644);
	tar_end(tar);
	expect_equal(unpack(tar, root, NULL), 0);
	struct stat status;
	expect_equal(fstatat(root, "a", &status, AT_SYMLINK_NOFOLLOW), 0);
	expect(S_ISREG(status.st_mode));
	expect_equal(status.st_size, 5);
	home_remove();
}

static const struct test tests[] = {
	{ "a name with .. is refused and named", dotdot_is_refused },
	{ "an absolute name is refused", absolute_is_refused },
	{ "nothing is written through a planted link", no_write_goes_through_a_link },
	{ "a directory's owner and mode do not go through a link",
		a_directory_does_not_follow_a_link },
	{ "hard links lead to files of the archive only", hard_links_stay_inside },
	{ "device nodes are left out and counted", devices_are_left_out },
	{ "owners outside of the id range are refused", owners_outside_are_refused },
	{ "owners, set-id bits, capabilities, links and times come out as they were",
		a_root_comes_out_as_it_was },
	{ "OCI whiteouts become an overlay's marks", whiteouts_become_marks },
	{ "limits on entries and bytes are kept", limits_are_kept },
	{ "depth is limited", depth_is_limited },
	{ "a cut archive is refused", a_cut_archive_is_refused },
	{ "noise is refused", noise_is_refused },
	{ "a bomb is refused", a_bomb_is_refused },
	{ "digests are of all bytes", digests_are_of_all_bytes },
	{ "later entries replace earlier ones", later_entries_replace },
};

TEST_MAIN(tests)
