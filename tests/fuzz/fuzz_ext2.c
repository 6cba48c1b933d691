/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ext2.c - a broken volume below the library OS's ext2: the first bytes change the metadata of a good one, the others
 * say what is done with it. Nothing but errors may come of it.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unikernel/ext2.h"
#include "unit/unikernel/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t good[VOLUME_BYTES];
static bool has_good;

static int none(void *data, const char *name, uint32_t length, uint32_t number)
{
	uint32_t *last = data;
	*last += number + length + (uint8_t)name[length - 1];
	return 0;
}

static bool make_good(void)
{
	char path[] = "/tmp/berth-fuzz-ext2-XXXXXX";
	struct ext2_inode root, file = { .mode = S_IFREG | 0644, .links = 1 };
	static uint8_t bytes[300000];
	uint32_t there;
	int fd = mkstemp(path);
	if (fd < 0)
		return false;
	close(fd);
	bool is_made = volume_make(path) && ext2_open(VOLUME_BYTES) == 0;
	unlink(path);
	if (!is_made || ext2_read_inode(EXT2_ROOT, &root) < 0)
		return false;
	int64_t number = ext2_new_inode(EXT2_ROOT, false);
	(void)ext2_write((uint32_t)number, &file, bytes, sizeof(bytes), 4000000);
	(void)ext2_write_inode((uint32_t)number, &file);
	(void)ext2_add_entry(EXT2_ROOT, &root, "file", 4, (uint32_t)number, S_IFREG, &there);
	ext2_close();
	memcpy(good, volume, sizeof(good));
	return true;
}

static void use(uint8_t what, uint8_t number, uint32_t argument)
{
	static uint8_t bytes[20000];
	struct ext2_inode inode;
	uint32_t there = 0;
	int64_t fresh;
	if (ext2_read_inode(number, &inode) < 0)
		return;
	switch (what % 8) {
	case 0:
		(void)ext2_list(&inode, none, &there);
		break;
	case 1:
		(void)ext2_read(&inode, bytes, sizeof(bytes), argument);
		break;
	case 2:
		(void)ext2_write(number, &inode, bytes, argument % sizeof(bytes), argument);
		(void)ext2_write_inode(number, &inode);
		break;
	case 3:
		(void)ext2_truncate(number, &inode, argument);
		break;
	case 4:
		(void)ext2_add_entry(number, &inode, "a-name", 6, argument, S_IFREG, &there);
		break;
	case 5:
		(void)ext2_remove_entry(&inode, "file", 4);
		break;
	case 6:
		fresh = ext2_new_inode(number, argument & 1);
		if (fresh > 0)
			ext2_free_inode((uint32_t)fresh, argument & 1);
		break;
	default:
		(void)ext2_set_opaque(number);
		(void)ext2_sync();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!has_good && !make_good())
		return 0;
	has_good = true;
	memcpy(volume, good, sizeof(volume));
	size_t changes = size ? data[0] % 32 : 0, at = 1;
	for (; changes > 0 && at + 4 <= size; changes--, at += 4) {
		/* The super block, the groups, bitmaps and inodes stand in the first blocks. */
		uint32_t offset =
			data[at] | (uint32_t)data[at + 1] << 8 | (uint32_t)(data[at + 2] & 3) << 16;
		volume[offset] = data[at + 3];
	}
	if (ext2_open(VOLUME_BYTES) < 0)
		return 0;
	for (int count = 0; count < 64 && at + 6 <= size; count++, at += 6) {
		uint32_t argument;
		memcpy(&argument, data + at + 2, sizeof(argument));
		use(data[at], data[at + 1], argument & 0x7ffffff);
	}
	ext2_close();
	return 0;
}
