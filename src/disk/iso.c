/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iso.c - descriptors, a boot catalog, path tables, directories, files: in this order, each at a whole sector.
 *
 * No long names: whoever reads the disc is a boot loader, which takes the upper-case names of ISO 9660 for lower-case
 * ones.
 */
#include "disk/iso.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"

#define FILES_MAX       32
#define DIRECTORIES_MAX 16
#define NAME_MAX_BYTES  30
#define DESCRIPTORS     16 /* the first sixteen sectors are the system's */
#define CATALOG         19
#define PATHS           20 /* little endian, then big endian */
#define TREE            22
#define TABLE_AT        8 /* ISOLINUX's own: where it stands on the disc */
#define TABLE_SUM       64

struct directory {
	char path[96]; /* "" is the root */
	size_t above;
	const char *name;
};

struct disc {
	const struct iso_options *options;
	struct directory directories[DIRECTORIES_MAX];
	size_t directory_count;
	size_t homes[FILES_MAX]; /* the directory of each file */
	uint32_t sectors[FILES_MAX];
	uint32_t sector_count;
	uint8_t *head; /* all before the files */
};

static void put32_big(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* In both orders of bytes. */
static void put16_both(uint8_t *at, uint32_t value)
{
	put_le16(at, value);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

static void put32_both(uint8_t *at, uint32_t value)
{
	put_le32(at, value);
	put32_big(at + 4, value);
}

static uint32_t sectors_of(uint64_t bytes)
{
	return (uint32_t)((bytes + ISO_SECTOR - 1) / ISO_SECTOR);
}

static int find_directory(struct disc *disc, const char *path, size_t length, size_t *ret)
{
	for (size_t i = 0; i < disc->directory_count; i++)
		if (strlen(disc->directories[i].path) == length &&
			strncmp(disc->directories[i].path, path, length) == 0) {
			*ret = i;
			return 0;
		}
	return -ENOENT;
}

/* The directory of a path, and those above it. They are numbered level by level, as path tables want them. */
static int add_directory(struct disc *disc, const char *path, size_t length, size_t *ret)
{
	size_t above = 0, start = 0;
	if (length == 0 || find_directory(disc, path, length, ret) == 0) {
		if (length == 0)
			*ret = 0;
		return 0;
	}
	for (size_t i = 0; i < length; i++)
		if (path[i] == '/') {
			if (find_directory(disc, path, i, &above) < 0)
				return -ENOENT;
			start = i + 1;
		}
	if (disc->directory_count == DIRECTORIES_MAX ||
		length >= sizeof(disc->directories[0].path) || length == start ||
		length - start > NAME_MAX_BYTES)
		return -E2BIG;
	struct directory *directory = &disc->directories[disc->directory_count];
	snprintf(directory->path, sizeof(directory->path), "%.*s", (int)length, path);
	directory->above = above;
	directory->name = directory->path + start;
	*ret = disc->directory_count++;
	return 0;
}

static int lay_out(struct disc *disc, struct error *e)
{
	const struct iso_options *options = disc->options;
	disc->directory_count = 1;
	disc->directories[0].name = "";
	/* Level by level. */
	for (size_t depth = 1; depth <= 3; depth++)
		for (size_t i = 0; i < options->file_count; i++) {
			const char *path = options->files[i].path;
			size_t level = 0, ignored;
			for (const char *c = path; *c; c++)
				if (*c == '/' && ++level == depth &&
					add_directory(disc, path, (size_t)(c - path), &ignored) < 0)
					return error_set(
						e, -E2BIG, "%.80s: too deep or too many", path);
		}
	disc->sector_count = (uint32_t)(TREE + disc->directory_count);
	for (size_t i = 0; i < options->file_count; i++) {
		const struct iso_file *file = &options->files[i];
		const char *slash = strrchr(file->path, '/');
		if (find_directory(disc, file->path, slash ? (size_t)(slash - file->path) : 0,
			    &disc->homes[i]) < 0 ||
			strlen(slash ? slash + 1 : file->path) > NAME_MAX_BYTES - 3)
			return error_set(e, -EINVAL, "%.80s: no name for a disc", file->path);
		if (file->length >= UINT32_MAX)
			return error_set(e, -E2BIG, "%.80s: too large for a disc", file->path);
		disc->sectors[i] = disc->sector_count;
		disc->sector_count += sectors_of(file->length);
	}
	return 0;
}

static uint32_t directory_sector(size_t which)
{
	return (uint32_t)(TREE + which);
}

/* How many bytes it takes. */
static size_t put_record(uint8_t *at, const char *name, size_t name_length, uint32_t sector,
	uint64_t length, bool is_directory)
{
	size_t bytes = (33 + name_length + 1) / 2 * 2;
	at[0] = (uint8_t)bytes;
	put32_both(at + 2, sector);
	put32_both(at + 10, (uint32_t)length);
	at[18] = 100; /* the first of January 2000: the same files make the same disc */
	at[19] = at[20] = 1;
	at[25] = is_directory ? 2 : 0;
	put16_both(at + 28, 1);
	at[32] = (uint8_t)name_length;
	memcpy(at + 33, name, name_length);
	return bytes;
}

/* "GRUB.CFG" is "GRUB.CFG;1", "KERNEL" is "KERNEL.;1". */
static void file_name(const char *path, char name[NAME_MAX_BYTES + 4])
{
	const char *slash = strrchr(path, '/'), *last = slash ? slash + 1 : path;
	snprintf(name, NAME_MAX_BYTES + 4, "%.28s%s;1", last, strchr(last, '.') ? "" : ".");
}

struct entry {
	char name[NAME_MAX_BYTES + 4];
	uint32_t sector;
	uint64_t length;
	bool is_directory;
};

static void sort(struct entry *entries, size_t count)
{
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && strcmp(entries[j - 1].name, entries[j].name) > 0; j--) {
			struct entry swap = entries[j];
			entries[j] = entries[j - 1];
			entries[j - 1] = swap;
		}
}

static int put_directory(struct disc *disc, size_t which, struct error *e)
{
	struct entry entries[FILES_MAX + DIRECTORIES_MAX];
	uint8_t *sector = disc->head + (size_t)directory_sector(which) * ISO_SECTOR;
	size_t count = 0, at;
	for (size_t i = 1; i < disc->directory_count; i++) {
		if (disc->directories[i].above != which)
			continue;
		struct entry *entry = &entries[count++];
		*entry = (struct entry){ "", directory_sector(i), ISO_SECTOR, true };
		snprintf(entry->name, sizeof(entry->name), "%.30s", disc->directories[i].name);
	}
	for (size_t i = 0; i < disc->options->file_count; i++) {
		if (disc->homes[i] != which)
			continue;
		struct entry *entry = &entries[count++];
		*entry = (struct entry){ "", disc->sectors[i], disc->options->files[i].length,
			false };
		file_name(disc->options->files[i].path, entry->name);
	}
	sort(entries, count);
	at = put_record(sector, "\0", 1, directory_sector(which), ISO_SECTOR, true);
	at += put_record(sector + at, "\1", 1, directory_sector(disc->directories[which].above),
		ISO_SECTOR, true);
	for (size_t i = 0; i < count; i++) {
		if (at + 34 + sizeof(entries[i].name) > ISO_SECTOR)
			return error_set(e, -E2BIG, "too many files in a directory of a disc");
		at += put_record(sector + at, entries[i].name, strlen(entries[i].name),
			entries[i].sector, entries[i].length, entries[i].is_directory);
	}
	return 0;
}

/* In bytes, of both. */
static uint32_t put_paths(const struct disc *disc)
{
	uint8_t *little = disc->head + (size_t)PATHS * ISO_SECTOR, *big = little + ISO_SECTOR;
	size_t at = 0;
	for (size_t i = 0; i < disc->directory_count; i++) {
		const struct directory *directory = &disc->directories[i];
		size_t length = i ? strlen(directory->name) : 1;
		little[at] = big[at] = (uint8_t)length;
		put_le32(little + at + 2, directory_sector(i));
		put32_big(big + at + 2, directory_sector(i));
		put_le16(little + at + 6, (uint32_t)directory->above + 1);
		big[at + 7] = (uint8_t)(directory->above + 1);
		memcpy(little + at + 8, directory->name, i ? length : 0);
		memcpy(big + at + 8, directory->name, i ? length : 0);
		at += 8 + (length + 1) / 2 * 2;
	}
	return (uint32_t)at;
}

static void put_blanks(uint8_t *at, size_t length, const char *text)
{
	memset(at, ' ', length);
	memcpy(at, text, strlen(text));
}

static void put_volume(const struct disc *disc, uint32_t paths_bytes)
{
	static const char never[] = "0000000000000000";
	uint8_t *at = disc->head + (size_t)DESCRIPTORS * ISO_SECTOR;
	at[0] = 1;
	memcpy(at + 1, "CD001\1", 6);
	put_blanks(at + 8, 32, "");
	put_blanks(at + 40, 32, "BERTH");
	put32_both(at + 80, disc->sector_count);
	put16_both(at + 120, 1);
	put16_both(at + 124, 1);
	put16_both(at + 128, ISO_SECTOR);
	put32_both(at + 132, paths_bytes);
	put_le32(at + 140, PATHS);
	put32_big(at + 148, PATHS + 1);
	(void)put_record(at + 156, "\0", 1, directory_sector(0), ISO_SECTOR, true);
	put_blanks(at + 190, 623, "");
	for (int i = 0; i < 4; i++)
		memcpy(at + 813 + 17 * i, never, 16);
	at[881] = 1;
	at += ISO_SECTOR;
	memcpy(at, "\0CD001\1EL TORITO SPECIFICATION", 30);
	put_le32(at + 71, CATALOG);
	at += ISO_SECTOR;
	memcpy(at, "\377CD001\1", 7);
}

static void put_catalog(const struct disc *disc)
{
	const struct iso_options *options = disc->options;
	uint8_t *at = disc->head + (size_t)CATALOG * ISO_SECTOR;
	uint32_t sum = 0;
	at[0] = 1;
	memcpy(at + 4, "berth", 5);
	put_le16(at + 30, 0xaa55);
	for (size_t i = 0; i < 32; i += 2)
		sum += at[i] | (uint32_t)at[i + 1] << 8;
	put_le16(at + 28, 0x10000 - (sum & 0xffff));
	if (options->bios < options->file_count) {
		at[32] = 0x88;
		put_le16(at + 38, 4); /* of 512 bytes: ISOLINUX loads what is left of it */
		put_le32(at + 40, disc->sectors[options->bios]);
	}
	if (options->uefi < options->file_count) {
		at[64] = 0x91;
		at[65] = 0xef;
		put_le16(at + 66, 1);
		at[96] = 0x88;
		put_le16(at + 102, (uint32_t)((options->files[options->uefi].length + 511) / 512));
		put_le32(at + 104, disc->sectors[options->uefi]);
	}
}

/* What ISOLINUX wants to know of itself. */
static int put_table(uint8_t *bytes, size_t length, uint32_t sector, struct error *e)
{
	uint32_t sum = 0;
	if (length < TABLE_SUM || length % 4)
		return error_set(e, -EINVAL, "the BIOS's loader is none");
	for (size_t i = TABLE_SUM; i < length; i += 4)
		sum += bytes[i] | (uint32_t)bytes[i + 1] << 8 | (uint32_t)bytes[i + 2] << 16 |
			(uint32_t)bytes[i + 3] << 24;
	put_le32(bytes + TABLE_AT, DESCRIPTORS);
	put_le32(bytes + TABLE_AT + 4, sector);
	put_le32(bytes + TABLE_AT + 8, (uint32_t)length);
	put_le32(bytes + TABLE_AT + 12, sum);
	return 0;
}

static int write_descriptor(int out, int fd, uint64_t length, struct error *e)
{
	off_t at = 0;
	while ((uint64_t)at < length) {
		ssize_t n = sendfile(out, fd, &at, (size_t)(length - (uint64_t)at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_code(e, n < 0 ? -errno : -EIO, "write the disc");
	}
	return 0;
}

static int write_file(const struct disc *disc, int out, size_t which, struct error *e)
{
	static const uint8_t zeros[ISO_SECTOR];
	const struct iso_file *file = &disc->options->files[which];
	size_t rest = (size_t)(file->length % ISO_SECTOR);
	int r = 0;
	if (file->data && which == disc->options->bios) {
		/* Whole words of it are counted. */
		size_t length = (size_t)(file->length + 3) / 4 * 4;
		cleanup(free) uint8_t *copy = alloc_array(length, uint8_t);
		memcpy(copy, file->data, (size_t)file->length);
		r = put_table(copy, length, disc->sectors[which], e);
		if (r < 0)
			return r;
		r = file_write_all(out, copy, (size_t)file->length);
	} else if (file->data) {
		r = file_write_all(out, file->data, (size_t)file->length);
	} else {
		r = write_descriptor(out, file->fd, file->length, e);
		if (r < 0)
			return r;
	}
	if (r == 0 && rest)
		r = file_write_all(out, zeros, ISO_SECTOR - rest);
	return r < 0 ? error_code(e, r, "write the disc") : 0;
}

int iso_write(int out, const struct iso_options *options, struct error *e)
{
	struct disc disc = { .options = options };
	if (options->file_count > FILES_MAX)
		return error_set(e, -E2BIG, "too many files for a disc");
	int r = lay_out(&disc, e);
	if (r < 0)
		return r;
	size_t head_bytes = (size_t)(TREE + disc.directory_count) * ISO_SECTOR;
	cleanup(free) uint8_t *head = alloc_array(head_bytes, uint8_t);
	disc.head = head;
	put_volume(&disc, put_paths(&disc));
	put_catalog(&disc);
	for (size_t i = 0; r == 0 && i < disc.directory_count; i++)
		r = put_directory(&disc, i, e);
	if (r < 0)
		return r;
	r = file_write_all(out, head, head_bytes);
	if (r < 0)
		return error_code(e, r, "write the disc");
	for (size_t i = 0; r == 0 && i < options->file_count; i++)
		r = write_file(&disc, out, i, e);
	return r;
}
