/* SPDX-License-Identifier: Apache-2.0 */
/* Discs and the file system of UEFI, read back by programs that are not ours: libarchive, dosfstools, mtools. */
#include "disk/iso.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/file.h"
#include "disk/fat.h"
#include "test.h"

#define LOADER_BYTES 4000

static char kernel[5000], loader[LOADER_BYTES];

static uint32_t get32(const uint8_t *at)
{
	return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int make(int *ret, const struct iso_file *files, size_t count)
{
	struct error e = {};
	*ret = memfd_create("disc", MFD_CLOEXEC);
	return iso_write(*ret,
		&(struct iso_options){ .files = files, .file_count = count, .bios = 0, .uefi = 3 },
		&e);
}

static int make_usual(int *ret)
{
	cleanup(close) int fd = memfd_create("kernel", MFD_CLOEXEC);
	memset(kernel, 'k', sizeof(kernel));
	memset(loader, 'l', sizeof(loader));
	expect_equal(file_write_all(fd, kernel, sizeof(kernel)), 0);
	const struct iso_file files[] = {
		{ "ISOLINUX/ISOLINUX.BIN", loader, -1, sizeof(loader) },
		{ "ISOLINUX/ISOLINUX.CFG", "DEFAULT x\n", -1, 10 },
		{ "BOOT/KERNEL", NULL, fd, sizeof(kernel) },
		{ "BOOT/EFI.IMG", "fat", -1, 3 },
		{ "BOOT/GRUB/GRUB.CFG", "linux x\n", -1, 8 },
		{ ".DISK/INFO", "berth\n", -1, 6 },
	};
	return make(ret, files, ARRAY_SIZE(files));
}

static void is_read_by_others(void)
{
	static const struct {
		const char *path;
		size_t length;
		char first;
	} wanted[] = { { "ISOLINUX/ISOLINUX.BIN", LOADER_BYTES, 'l' },
		{ "ISOLINUX/ISOLINUX.CFG", 10, 'D' }, { "BOOT/KERNEL", 5000, 'k' },
		{ "BOOT/EFI.IMG", 3, 'f' }, { "BOOT/GRUB/GRUB.CFG", 8, 'l' },
		{ ".DISK/INFO", 6, 'b' } };
	cleanup(close) int disc = -1;
	size_t found = 0;
	expect_equal(make_usual(&disc), 0);
	lseek(disc, 0, SEEK_SET);
	struct archive *archive = archive_read_new();
	archive_read_support_format_iso9660(archive);
	expect_equal(archive_read_open_fd(archive, disc, 10240), ARCHIVE_OK);
	for (struct archive_entry *entry; archive_read_next_header(archive, &entry) == ARCHIVE_OK;)
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
			char bytes[8] = "";
			if (!text_equal(archive_entry_pathname(entry), wanted[i].path))
				continue;
			expect_equal(archive_entry_size(entry), wanted[i].length);
			expect(archive_read_data(archive, bytes, sizeof(bytes)) > 0);
			expect_equal(bytes[0], wanted[i].first);
			found++;
		}
	archive_read_free(archive);
	expect_equal(found, ARRAY_SIZE(wanted));
}

static void has_both_entries(void)
{
	cleanup(close) int disc = -1;
	static uint8_t sectors[21 * ISO_SECTOR];
	uint8_t first[ISO_SECTOR];
	expect_equal(make_usual(&disc), 0);
	expect_equal(file_read_at(disc, sectors, sizeof(sectors), 0), 0);
	expect(memcmp(sectors + 17 * ISO_SECTOR + 7, "EL TORITO SPECIFICATION", 23) == 0);
	const uint8_t *catalog = sectors + get32(sectors + 17 * ISO_SECTOR + 71) * ISO_SECTOR;
	uint32_t sum = 0;
	for (size_t i = 0; i < 32; i += 2)
		sum += catalog[i] | (uint32_t)catalog[i + 1] << 8;
	expect_equal(sum & 0xffff, 0);
	expect(catalog[32] == 0x88 && catalog[65] == 0xef && catalog[96] == 0x88);
	/* ISOLINUX was told where it stands, and what its words add up to. */
	expect_equal(file_read_at(disc, first, sizeof(first),
			     (uint64_t)get32(catalog + 40) * ISO_SECTOR),
		0);
	expect_equal(get32(first + 12), get32(catalog + 40));
	expect_equal(get32(first + 16), LOADER_BYTES);
	expect_equal(get32(first + 20), (uint32_t)(0x6c6c6c6cu * ((LOADER_BYTES - 64) / 4)));
	expect_equal(file_read_at(disc, first, 3, (uint64_t)get32(catalog + 104) * ISO_SECTOR), 0);
	expect(memcmp(first, "fat", 3) == 0);
}

static void refuses(void)
{
	static const char *const paths[] = { "A/B/C/D/TOO.DEEP",
		"THE/NAME-OF-THIS-FILE-IS-MUCH-TOO-LONG.TXT", "A//B" };
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cleanup(close) int disc = -1;
		const struct iso_file file = { paths[i], "x", -1, 1 };
		expect(make(&disc, &file, 1) < 0);
	}
	cleanup(close) int disc = -1;
	const struct iso_file file = { "SHORT.BIN", "x", -1, 1 };
	expect(make(&disc, &file, 1) < 0);
}

static void fat_is_read_by_others(void)
{
	cleanup(text_done) struct text text = {};
	cleanup(free) char *program = alloc_array(3 * MIB, char);
	char path[] = "/tmp/berth-fat.XXXXXX", command[256];
	memset(program, 'p', 3 * MIB);
	expect_equal(fat_add(program, FAT_PROGRAM_MAX + 1, &text, NULL), -E2BIG);
	for (size_t length = 1000; length <= 3 * MIB; length += 3 * MIB - 1000) {
		text_done(&text);
		text = (struct text){};
		expect_equal(fat_add(program, length, &text, NULL), 0);
		int fd = mkstemp(path);
		test_removes_at_end(path);
		expect(fd >= 0 && file_write_all(fd, text.data, text.length) == 0);
		close(fd);
		snprintf(command, sizeof(command),
			"PATH=$PATH:/sbin:/usr/sbin; command -v fsck.vfat mtype >/dev/null || exit 77; "
			"fsck.vfat -n %s >&2 && test $(mtype -i %s ::EFI/BOOT/BOOTX64.EFI | wc -c) = %zu",
			path, path, length);
		int status = system(command);
		unlink(path);
		memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
		if (WEXITSTATUS(status) == 77)
			test_skip("there is no fsck.vfat, or no mtype");
		expect_equal(status, 0);
	}
}

static const struct test tests[] = {
	{ "a disc's files are read by others", is_read_by_others },
	{ "BIOS and UEFI find what they load", has_both_entries },
	{ "what has no place on a disc is refused", refuses },
	{ "UEFI's file system is whole, and its program is read by others", fat_is_read_by_others },
};
TEST_MAIN(tests)
