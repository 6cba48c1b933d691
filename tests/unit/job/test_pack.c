/* SPDX-License-Identifier: Apache-2.0 */
/* What is packed comes out the same. */
#include "job/pack.h"

#include <errno.h>
#include <sys/xattr.h>

#include "archives.h"
#include "job/unpack.h"

static void round_trip(const char *compression)
{
	struct error e = {};
	cleanup(close) int root = home_open();
	cleanup(close) int archive = tar_new();
	expect_equal(file_make_dirs(root, "from/bin", 0755), 0);
	expect_equal(file_make_dirs(root, "to", 0755), 0);
	cleanup(close) int from = openat(root, "from", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup(close) int to = openat(root, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	expect_equal(file_replace(from, "bin/su", "root", 4, 0755, &e), 0);
	expect_equal(fchmodat(from, "bin/su", 04711, 0), 0);
	expect_equal(linkat(from, "bin/su", from, "bin/zu", 0), 0);
	expect_equal(symlinkat("su", from, "bin/link"), 0);
	cleanup(close) int sparse = openat(from, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	expect_equal(pwrite(sparse, "end", 3, 8 * MIB), 3);
	expect_equal(fsetxattr(sparse, "user.note", "x", 1, 0), 0);

	cleanup(pack_free) struct pack *pack = NULL;
	if (pack_new(archive, compression, &pack, &e) < 0)
		test_fail("%s", e.text);
	expect_equal(pack_add_file(pack, "backup/index.yaml", "a: b\n", 5, &e), 0);
	if (pack_add_tree(pack, "backup/root", from, &e) < 0)
		test_fail("%s", e.text);
	char digest[DIGEST_HEX_SIZE];
	uint64_t size;
	expect_equal(pack_finish(pack, digest, &size, &e), 0);
	expect_equal(lseek(archive, 0, SEEK_END), size);
	expect_equal(lseek(archive, 0, SEEK_SET), 0);

	struct unpack_options options = { .prefix = "backup/root" };
	struct unpack_result result;
	struct digest seen;
	digest_start(&seen);
	if (unpack_archive(archive, to, &options, &seen, &result, &e) < 0)
		test_fail("%s", e.text);
	char hex[DIGEST_HEX_SIZE];
	digest_end(&seen, hex);
	expect_text(hex, digest);
	struct stat a, b;
	expect_equal(fstatat(to, "bin/su", &a, 0), 0);
	expect_equal(fstatat(to, "bin/zu", &b, 0), 0);
	expect_equal(a.st_ino, b.st_ino);
	expect_equal(a.st_mode & 07777, 04711);
	expect_equal(fstatat(to, "sparse", &a, 0), 0);
	expect_equal(a.st_size, 8 * MIB + 3);
	expect(a.st_blocks * 512 < (off_t)MIB);
	cleanup(close) int copy = openat(to, "sparse", O_RDONLY | O_CLOEXEC);
	char value[4];
	expect_equal(fgetxattr(copy, "user.note", value, sizeof(value)), 1);
	expect(faccessat(to, "backup", F_OK, 0) < 0);
	home_remove();
}

static void gzip(void)
{
	round_trip("gzip");
}

static void zstd(void)
{
	round_trip("zstd");
}

static void none(void)
{
	round_trip("none");
}

static void unknown_compression_is_refused(void)
{
	struct error e = {};
	struct pack *pack = NULL;
	expect_equal(pack_new(-1, "zip", &pack, &e), -EINVAL);
	expect_contains(e.text, "compression: \"zip\"");
}

static void full_disk_is_named(void)
{
	struct error e = {};
	cleanup(close) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	cleanup(pack_free) struct pack *pack = NULL;
	expect_equal(pack_new(full, "none", &pack, &e), 0);
	static const char text[200000];
	int r = pack_add_file(pack, "big", text, sizeof(text), &e);
	char digest[DIGEST_HEX_SIZE];
	uint64_t size;
	if (r == 0)
		r = pack_finish(pack, digest, &size, &e);
	expect_equal(r, -ENOSPC);
	expect_contains(e.text, "No space left");
}

static const struct test tests[] = {
	{ "a tree comes out of gzip as it was", gzip },
	{ "a tree comes out of zstd as it was", zstd },
	{ "a tree comes out of plain tar as it was", none },
	{ "a compression that nobody knows is refused", unknown_compression_is_refused },
	{ "a full disk is named", full_disk_is_named },
};

TEST_MAIN(tests)
