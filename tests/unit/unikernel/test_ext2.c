/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library OS's ext2 over a volume in memory, judged by e2fsck, also where the power goes at any write.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/ext2.h"
#include "test.h"
#include "unikernel/ext2.h"
#include "volume.h"

static char image[64];

/* e2fsck's status over the volume as it stands. */
static int judge(const char *options)
{
	char command[256];
	FILE *file = fopen(image, "w");
	expect(file && fwrite(volume, 1, sizeof(volume), file) == sizeof(volume));
	fclose(file);
	snprintf(command, sizeof(command),
		"PATH=$PATH:/sbin:/usr/sbin e2fsck -f %s %s >/dev/null 2>&1", options, image);
	return WEXITSTATUS(system(command));
}

static void fresh(void)
{
	strcpy(image, "/tmp/berth-test-ext2-XXXXXX");
	int fd = mkstemp(image);
	test_removes_at_end(image);
	expect(fd >= 0);
	close(fd);
	writes_left = INT64_MAX;
	expect(volume_make(image));
	expect_equal(ext2_open(VOLUME_BYTES), 0);
}

struct named {
	char name[32];
	uint32_t number;
	uint64_t size;
	uint8_t seed;
};

static uint8_t byte_at(uint8_t seed, uint64_t offset)
{
	return (uint8_t)(seed + offset * 7 + (offset >> 12) * 31);
}

static bool make_file(struct ext2_inode *directory, uint32_t directory_number, struct named *file)
{
	int64_t number = ext2_new_inode(directory_number, false);
	uint32_t there;
	if (number < 0)
		return false;
	struct ext2_inode inode = { .mode = S_IFREG | 0644, .links = 1, .extra_size = 32 };
	file->number = (uint32_t)number;
	if (ext2_write_inode(file->number, &inode) < 0)
		return false;
	return ext2_add_entry(directory_number, directory, file->name, (uint32_t)strlen(file->name),
		       file->number, S_IFREG, &there) == 0;
}

static void write_file(struct named *file, uint64_t offset, uint64_t size)
{
	struct ext2_inode inode;
	uint8_t *bytes = malloc(size);
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = byte_at(file->seed, offset + i);
	expect_equal(ext2_read_inode(file->number, &inode), 0);
	int64_t put = ext2_write(file->number, &inode, bytes, size, offset);
	free(bytes);
	if (put > 0 && offset + (uint64_t)put > file->size)
		file->size = offset + (uint64_t)put;
	expect(put > 0 || put == -ENOSPC);
	expect_equal(ext2_write_inode(file->number, &inode), 0);
}

/* What was never written reads as zero, the rest as it was. */
static void compare(const struct named *file)
{
	struct ext2_inode inode;
	uint8_t *bytes = malloc(file->size + 1);
	expect_equal(ext2_read_inode(file->number, &inode), 0);
	expect_equal(ext2_size(&inode), file->size);
	expect_equal(ext2_read(&inode, bytes, file->size + 1, 0), (int64_t)file->size);
	for (uint64_t i = 0; i < file->size; i++)
		if (bytes[i] && bytes[i] != byte_at(file->seed, i))
			test_fail(
				"%s: byte %llu is %u", file->name, (unsigned long long)i, bytes[i]);
	free(bytes);
}

static void remove_file(struct ext2_inode *directory, const struct named *file)
{
	struct ext2_inode inode;
	expect_equal(ext2_remove_entry(directory, file->name, (uint32_t)strlen(file->name)), 0);
	expect_equal(ext2_read_inode(file->number, &inode), 0);
	inode.links = 0;
	inode.dtime = 1700000000; /* a small one would be a link of a list */
	expect_equal(ext2_truncate(file->number, &inode, 0), 0);
	ext2_free_inode(file->number, false);
}

/* The same work each time, up to `steps` of it. */
static void work(int steps, bool compares)
{
	static struct named files[64];
	struct ext2_inode root;
	unsigned random = 1;
	memset(files, 0, sizeof(files));
	expect_equal(ext2_read_inode(EXT2_ROOT, &root), 0);
	for (int step = 0; step < steps; step++) {
		random = random * 1103515245 + 12345;
		struct named *file = &files[random >> 8 & 63];
		uint64_t offset =
			(random >> 14 & 7) == 0 ? (random >> 4) % 5000000 : (random >> 4) % 60000;
		if (!file->number) {
			snprintf(file->name, sizeof(file->name), "file-%u-%d", random >> 20, step);
			file->seed = (uint8_t)step;
			file->size = 0;
			if (!make_file(&root, EXT2_ROOT, file))
				return;
		}
		if ((random >> 24) % 5 == 0) {
			if (compares)
				compare(file);
			remove_file(&root, file);
			memset(file, 0, sizeof(*file));
		} else if ((random >> 24) % 5 == 1) {
			struct ext2_inode inode;
			expect_equal(ext2_read_inode(file->number, &inode), 0);
			expect_equal(ext2_truncate(file->number, &inode, offset), 0);
			file->size = offset;
		} else {
			write_file(file, offset, (random >> 6) % 30000 + 1);
		}
	}
	for (size_t i = 0; compares && i < ARRAY_SIZE(files); i++)
		if (files[i].number)
			compare(&files[i]);
}

static void what_is_written_is_read_and_clean(void)
{
	fresh();
	work(1200, true);
	ext2_close();
	expect_equal(judge("-n"), 0);
	expect_equal(ext2_open(VOLUME_BYTES), 0);
	ext2_close();
	expect_equal(judge("-n"), 0);
	unlink(image);
}

static void power_may_go_at_any_write(void)
{
	for (int64_t left = 1; left < 900; left += 41) {
		fresh();
		writes_left = left;
		work(120, false);
		int status = judge("-p");
		if (status > 1)
			test_fail("after %d writes: e2fsck says %d", (int)left, status);
		unlink(image);
	}
}

static int count(void *data, const char *name, uint32_t length, uint32_t number)
{
	(void)name, (void)length, (void)number;
	(*(int *)data)++;
	return 0;
}

static void directories_hold_many_names(void)
{
	struct ext2_inode root,
		directory = { .mode = S_IFDIR | 0755, .links = 2, .extra_size = 32 };
	struct named file = {};
	uint32_t there;
	int entries = 0;
	fresh();
	expect_equal(ext2_read_inode(EXT2_ROOT, &root), 0);
	int64_t number = ext2_new_inode(EXT2_ROOT, true);
	expect(number > 0);
	expect_equal(ext2_make_directory((uint32_t)number, &directory, EXT2_ROOT), 0);
	expect_equal(ext2_write_inode((uint32_t)number, &directory), 0);
	expect_equal(
		ext2_add_entry(EXT2_ROOT, &root, "many", 4, (uint32_t)number, S_IFDIR, &there), 0);
	root.links++;
	expect_equal(ext2_write_inode(EXT2_ROOT, &root), 0);
	expect_equal(ext2_set_opaque((uint32_t)number), 0);
	expect(ext2_is_opaque((uint32_t)number));
	strcpy(file.name, "first");
	expect(make_file(&directory, (uint32_t)number, &file));
	for (uint32_t i = 0; i < 700; i++) {
		char name[64];
		struct ext2_inode inode;
		snprintf(name, sizeof(name), "another-name-of-the-same-file-%u", i);
		expect_equal(ext2_add_entry((uint32_t)number, &directory, name,
				     (uint32_t)strlen(name), file.number, S_IFREG, &there),
			0);
		expect_equal(ext2_read_inode(file.number, &inode), 0);
		inode.links++;
		expect_equal(ext2_write_inode(file.number, &inode), 0);
	}
	expect_equal(ext2_add_entry((uint32_t)number, &directory, "first", 5, 1, S_IFREG, &there),
		-EEXIST);
	expect_equal(there, file.number);
	expect_equal(ext2_list(&directory, count, &entries), 0);
	expect_equal(entries, 703);
	ext2_close();
	expect_equal(judge("-n"), 0);
	unlink(image);
}

/* A short link's text stands where other files have the numbers of their blocks. */
static void a_links_text_is_no_list_of_blocks(void)
{
	fresh();
	uint64_t before = ext2_blocks_free();
	int64_t number = ext2_new_inode(EXT2_ROOT, false);
	expect(number > 0);
	struct ext2_inode link = { .mode = S_IFLNK | 0777, .size = 8, .extra_size = 32 };
	link.block[0] = 50; /* "2\0\0\0": a block that is in use */
	link.block[1] = 60;
	expect_equal(ext2_truncate((uint32_t)number, &link, 0), 0);
	link.dtime = 1700000000;
	expect_equal(ext2_write_inode((uint32_t)number, &link), 0);
	ext2_free_inode((uint32_t)number, false);
	expect_equal(ext2_blocks_free(), before);
	ext2_close();
	expect_equal(judge("-n"), 0);
	unlink(image);
}

static void what_is_no_ext2_of_ours_is_left_alone(void)
{
	fresh();
	ext2_close();
	volume[1024 + 96] |= 0x40; /* extents */
	expect_equal(ext2_open(VOLUME_BYTES), -EINVAL);
	volume[1024 + 96] &= (uint8_t)~0x40;
	expect_equal(ext2_open(VOLUME_BYTES / 2), -EINVAL);
	volume[4096 + 2] = 0xff; /* a group's bitmap far away */
	expect_equal(ext2_open(VOLUME_BYTES), -EINVAL);
	memset(volume, 0, sizeof(volume));
	expect_equal(ext2_open(VOLUME_BYTES), -EINVAL);
	unlink(image);
}

/* What lies where a group's maps and inodes will be does not count before it is used. */
static void a_group_gets_its_maps_when_it_is_first_used(void)
{
	struct ext2_group *groups = (struct ext2_group *)(void *)(volume + 4096);
	int unused = 0;
	fresh();
	ext2_close();
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t kept = i == 0 ? 1 : 0; /* the table's first block has the root */
		if (groups[i].flags & EXT2_BLOCKS_UNUSED)
			memset(volume + groups[i].block_map * 4096, 0xaa, 4096);
		if (groups[i].flags & EXT2_INODES_UNUSED)
			memset(volume + groups[i].inode_map * 4096, 0xaa, 4096);
		memset(volume + (groups[i].inode_table + kept) * 4096, 0xaa, (8 - kept) * 4096);
		unused += (groups[i].flags & EXT2_INODES_UNUSED) != 0;
		expect(groups[i].unused_inodes > 0 && !(groups[i].flags & EXT2_TABLE_ZERO));
	}
	expect_equal(unused, 3);
	expect_equal(judge("-n"), 0);
	expect_equal(ext2_open(VOLUME_BYTES), 0);
	work(1200, true);
	ext2_close();
	expect_equal(judge("-n"), 0);
	expect_equal(groups[0].unused_inodes, 0);
	expect_equal(groups[1].flags, EXT2_TABLE_ZERO);
	unlink(image);
}

/* Its descriptor may say what is not so: it is not believed without its sum. */
static void a_group_whose_sum_is_wrong_is_not_used(void)
{
	struct ext2_group *groups = (struct ext2_group *)(void *)(volume + 4096);
	fresh();
	ext2_close();
	for (uint32_t i = 0; i < 4; i++) {
		groups[i].flags |= EXT2_BLOCKS_UNUSED;
		groups[i].free_inodes = 1;
	}
	expect_equal(ext2_open(VOLUME_BYTES), 0);
	expect_equal(ext2_new_inode(EXT2_ROOT, false), -EIO);
	expect_equal(ext2_take_block(100), -EIO);
	unlink(image);
}

static void volumes_of_before_are_as_good(void)
{
	volume_has_sums = false;
	what_is_written_is_read_and_clean();
	power_may_go_at_any_write();
	directories_hold_many_names();
	volume_has_sums = true;
}

static const struct test tests[] = {
	{ "what is written is read, and e2fsck finds it clean", what_is_written_is_read_and_clean },
	{ "the power may go at any write: e2fsck repairs it by itself", power_may_go_at_any_write },
	{ "directories hold many names", directories_hold_many_names },
	{ "a link's text is no list of blocks", a_links_text_is_no_list_of_blocks },
	{ "a group gets its maps when it is first used",
		a_group_gets_its_maps_when_it_is_first_used },
	{ "a group whose sum is wrong is not used", a_group_whose_sum_is_wrong_is_not_used },
	{ "volumes of before, with maps in all groups, are as good",
		volumes_of_before_are_as_good },
	{ "what is no ext2 of ours is left alone", what_is_no_ext2_of_ours_is_left_alone },
};
TEST_MAIN(tests)
