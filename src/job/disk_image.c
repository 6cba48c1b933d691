/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_image.c - magic numbers, and the header of qcow2.
 */
#include "job/disk_image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SQUASHFS_MAGIC      "hsqs"
#define QCOW_MAGIC          "QFI\xfb"
#define SECTOR              512
#define EXT_MAGIC_AT        0x438
#define ISO_MAGIC_AT        0x8001
#define DISK_BYTES_MAX      (UINT64_C(64) * 1024 * GIB)
#define INCOMPATIBLE_KNOWN  UINT64_C(0x19) /* dirty, zstd, extended L2 */
#define INCOMPATIBLE_DATA   UINT64_C(0x04)
#define INCOMPATIBLE_BROKEN UINT64_C(0x02)

struct __attribute__((__packed__)) qcow_header {
	char magic[4];
	uint32_t version;
	uint64_t backing_offset;
	uint32_t backing_bytes;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t encryption;
	uint32_t l1_size;
	uint64_t l1_offset;
	uint64_t refcount_offset;
	uint32_t refcount_clusters;
	uint32_t snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible; /* from version 3 on */
};
static_assert(sizeof(struct qcow_header) == 80, "wire");

static bool has(int fd, off_t at, const void *bytes, size_t count)
{
	char found[16];
	return pread(fd, found, count, at) == (ssize_t)count && memcmp(found, bytes, count) == 0;
}

enum image_form image_form_of(int fd)
{
	static const uint8_t boot_mark[] = { 0x55, 0xaa }, ext_mark[] = { 0x53, 0xef };
	if (has(fd, 0, SQUASHFS_MAGIC, 4))
		return IMAGE_SQUASHFS;
	if (has(fd, 0, QCOW_MAGIC, 4))
		return IMAGE_QCOW2;
	/* A tar has its own mark where a boot sector has code. */
	if (has(fd, 257, "ustar", 5))
		return IMAGE_ARCHIVE;
	if (has(fd, SECTOR - 2, boot_mark, 2) || has(fd, SECTOR, "EFI PART", 8) ||
		has(fd, EXT_MAGIC_AT, ext_mark, 2) || has(fd, 0, "XFSB", 4) ||
		has(fd, ISO_MAGIC_AT, "CD001", 5))
		return IMAGE_DISK;
	return IMAGE_ARCHIVE;
}

static int refuse(struct error *e, const char *why)
{
	return error_set(e, -EINVAL, "the qcow2 image %s", why);
}

static int check_qcow(int fd, uint64_t *ret_bytes, struct error *e)
{
	struct qcow_header header;
	if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return refuse(e, "is cut short");
	uint32_t version = be32toh(header.version);
	uint64_t incompatible = version >= 3 ? be64toh(header.incompatible) : 0;
	if (version != 2 && version != 3)
		return refuse(e, "is of no version that is known");
	if (header.backing_offset)
		return refuse(e, "has a backing file: flatten it first (qemu-img convert)");
	if (incompatible & INCOMPATIBLE_DATA)
		return refuse(e, "keeps its data in another file: flatten it first");
	if (incompatible & INCOMPATIBLE_BROKEN)
		return refuse(e, "is marked as damaged");
	if (incompatible & ~INCOMPATIBLE_KNOWN)
		return refuse(e, "needs what berth does not know");
	if (header.encryption)
		return refuse(e, "is encrypted");
	uint64_t size = be64toh(header.size);
	if (size == 0 || size > DISK_BYTES_MAX)
		return refuse(e, "says it has no size or more than 64TiB");
	*ret_bytes = size;
	return 0;
}

int disk_image_check(int fd, enum image_form form, uint64_t *ret_bytes, struct error *e)
{
	struct stat status;
	if (form == IMAGE_QCOW2)
		return check_qcow(fd, ret_bytes, e);
	if (fstat(fd, &status) < 0)
		return error_errno(e, "stat the image");
	if (status.st_size == 0 || (uint64_t)status.st_size > DISK_BYTES_MAX)
		return error_set(e, -EINVAL, "the disk image is empty or has more than 64TiB");
	*ret_bytes = (uint64_t)status.st_size;
	return 0;
}
