/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An empty ext2, judged by e2fsck and by what mke2fs makes of the same size.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tender/ext2_make.h"
#include "test.h"

static char path[64];

static int fresh(uint64_t bytes)
{
	strcpy(path, "/tmp/berth-test-make-XXXXXX");
	int fd = mkstemp(path);
	test_removes_at_end(path);
	expect(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	return fd;
}

/* Its status; $VOLUME in it is the file. */
static int run(const char *command)
{
	expect(setenv("VOLUME", path, 1) == 0);
	return WEXITSTATUS(system(command));
}

#define TOOL "PATH=$PATH:/sbin:/usr/sbin "

static void is_clean(uint64_t bytes)
{
	int fd = fresh(bytes);
	expect_equal(ext2_make(fd, bytes, NULL), 1);
	expect_equal(run(TOOL "e2fsck -f -n $VOLUME >/dev/null 2>&1"), 0);
	close(fd);
	unlink(path);
}

static void e2fsck_finds_nothing(void)
{
	is_clean(MIB);
	is_clean(8 * MIB);
	is_clean(64 * MIB + 4097);
	is_clean(128 * MIB);
	is_clean(128 * MIB + 40 * 4096); /* a second group is not worth it */
	is_clean(128 * MIB + 4 * MIB);
	is_clean(10 * GIB);
}

/* Counts, groups and features; not the times, the numbers and the order of blocks. */
#define SAME \
	"dumpe2fs -h $VOLUME 2>/dev/null | grep -E " \
	"'^(Inode|Block|Free|Blocks|Inodes|Filesystem features|Inode size|First|Reserved block count)'"

static void counts_as_mke2fs(void)
{
	for (uint64_t bytes = 4 * MIB; bytes <= 4 * GIB; bytes *= 8) {
		int fd = fresh(bytes);
		expect_equal(ext2_make(fd, bytes, NULL), 1);
		expect_equal(run(TOOL SAME " >$VOLUME.ours"), 0);
		expect_equal(run(TOOL "mke2fs -q -F -t ext2 -b 4096 -I 256 -i 16384 -m 0 -O "
				      "none,filetype,sparse_super,large_file,ext_attr,uninit_bg "
				      "$VOLUME"),
			0);
		expect_equal(run(TOOL SAME " | cmp -s - $VOLUME.ours && rm $VOLUME.ours"), 0);
		close(fd);
		unlink(path);
	}
}

static void grows(void)
{
	int fd = fresh(16 * MIB);
	expect_equal(ext2_make(fd, 16 * MIB, NULL), 1);
	expect_equal(ftruncate(fd, 600 * (off_t)MIB), 0);
	expect_equal(run(TOOL "resize2fs $VOLUME >/dev/null 2>&1"), 0);
	expect_equal(run(TOOL "e2fsck -f -n $VOLUME >/dev/null 2>&1"), 0);
	close(fd);
	unlink(path);
}

static void leaves_what_is_written(void)
{
	char byte = 0;
	int fd = fresh(8 * MIB);
	expect_equal(pwrite(fd, "x", 1, 5 * (off_t)MIB), 1);
	expect_equal(ext2_make(fd, 8 * MIB, NULL), 0);
	expect(pread(fd, &byte, 1, 5 * (off_t)MIB) == 1 && byte == 'x');
	expect(pread(fd, &byte, 1, 1024) == 1 && byte == 0);
	close(fd);
	unlink(path);
	fd = fresh(MIB - 1);
	expect_equal(ext2_make(fd, MIB - 1, NULL), 0);
	close(fd);
	unlink(path);
}

/* What it leaves when it is killed: all but block 0, in which stands that it has begun. */
static void makes_anew_what_was_left_half_made(void)
{
	uint64_t larger = 300 * MIB;
	int fd = fresh(140 * MIB);
	char begun[] = "berth: an ext2 is being made here";
	expect_equal(ext2_make(fd, 140 * MIB, NULL), 1);
	expect_equal(ext2_make(fd, 140 * MIB, NULL), 0);
	char zeros[4096] = {};
	expect_equal(pwrite(fd, zeros, sizeof(zeros), 0), sizeof(zeros));
	expect_equal(pwrite(fd, begun, sizeof(begun), 0), sizeof(begun));
	expect_equal(ftruncate(fd, (off_t)larger), 0);
	expect_equal(ext2_make(fd, larger, NULL), 1);
	expect_equal(run(TOOL "e2fsck -f -n $VOLUME >/dev/null 2>&1"), 0);
	close(fd);
	unlink(path);
}

static void says_that_it_cannot_write(void)
{
	struct error e = {};
	int fd = fresh(8 * MIB), reading = open(path, O_RDONLY | O_CLOEXEC);
	expect(reading >= 0 && ext2_make(reading, 8 * MIB, &e) < 0);
	expect(strstr(e.text, "make its file system"));
	close(reading);
	close(fd);
	unlink(path);
}

static const struct test tests[] = {
	{ "e2fsck finds nothing to say, at any size", e2fsck_finds_nothing },
	{ "counts and features are those of mke2fs", counts_as_mke2fs },
	{ "resize2fs makes it larger", grows },
	{ "what was written on, or is too small, is left alone", leaves_what_is_written },
	{ "what was left half made is made anew", makes_anew_what_was_left_half_made },
	{ "a volume that cannot be written is an error", says_that_it_cannot_write },
};

TEST_MAIN(tests)
