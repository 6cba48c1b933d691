/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disks_erase.c - what the last tenant wrote is gone: by the disk itself if it can, else by zeros.
 *
 * What a disk says of its own erasure is not believed: it is read in many places, and whatever is not zero is
 * overwritten.
 */
#include "agent/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "agent/ata.h"
#include "agent/init.h"

#define IDENTIFY       0x06
#define FORMAT         0x80
#define ERASE_USER     1u
#define ERASE_CRYPTO   2u
#define FORMAT_MS      (30u * 60 * 1000)
#define LOOKS          64
#define LOOK_BYTES     (1 * MIB)
#define IDENTIFY_BYTES 4096

static int identify(int fd, uint32_t namespace, uint32_t what, uint8_t bytes[IDENTIFY_BYTES])
{
	struct nvme_admin_cmd command = { .opcode = IDENTIFY,
		.nsid = namespace,
		.addr = (uint64_t)(uintptr_t)bytes,
		.data_len = IDENTIFY_BYTES,
		.cdw10 = what };
	return ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command) == 0 ? 0 : -EIO;
}

static int format(int fd, uint32_t namespace, uint32_t layout, uint32_t erase)
{
	struct nvme_admin_cmd command = { .opcode = FORMAT,
		.nsid = namespace,
		.cdw10 = layout | erase << 9,
		.timeout_ms = FORMAT_MS };
	return ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command) == 0 ? 0 : -EIO;
}

/* Format NVM with erasure, the layout kept. */
static int erase_nvme(int fd, const char **ret_method)
{
	static uint8_t controller[IDENTIFY_BYTES], space[IDENTIFY_BYTES];
	int namespace = ioctl(fd, NVME_IOCTL_ID);
	if (namespace <= 0 || identify(fd, 0, 1, controller) < 0 ||
		identify(fd, (uint32_t) namespace, 0, space) < 0)
		return -EIO;
	bool can_format = controller[256] & 2, can_crypto = controller[524] & 4;
	/* Number and metadata of the layout, and its protection, as they are. */
	uint32_t layout = (space[26] & 0x1fu) | (uint32_t)(space[29] & 7) << 5;
	if (!can_format)
		return -EOPNOTSUPP;
	if (can_crypto && format(fd, (uint32_t) namespace, layout, ERASE_CRYPTO) == 0) {
		*ret_method = "nvme-crypto";
		return 0;
	}
	int r = format(fd, (uint32_t) namespace, layout, ERASE_USER);
	if (r == 0)
		*ret_method = "nvme-format";
	return r;
}

static void erase_ata(int fd, const struct disk_fact *disk, const char **ret_method)
{
	struct error e = {};
	int r = ata_erase(ata_send_sg, &fd, disk->is_rotational, ret_method, &e);
	if (r < 0 && r != -EOPNOTSUPP)
		init_say("berth-agent: %s: %s", disk->name, e.text);
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* Both ends and places between. 1: all zero, 0: not, or an error. */
static int reads_zero(int fd, uint64_t bytes)
{
	uint8_t *buffer =
		mmap(NULL, LOOK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer == MAP_FAILED)
		return -ENOMEM;
	int r = 1;
	for (uint64_t i = 0; r == 1 && i < LOOKS; i++) {
		uint64_t span = bytes > LOOK_BYTES ? bytes - LOOK_BYTES : 0;
		uint64_t at = span / (LOOKS - 1) * i / 4096 * 4096;
		if (i == LOOKS - 1)
			at = span / 512 * 512;
		ssize_t n = pread(fd, buffer, LOOK_BYTES, (off_t)at);
		if (n <= 0)
			r = n < 0 ? -errno : -EIO;
		else if (!is_zero(buffer, (size_t)n))
			r = 0;
	}
	munmap(buffer, LOOK_BYTES);
	return r;
}

int disks_erase(const struct disk_fact *disk, const char **ret_method, struct error *e)
{
	char path[64];
	snprintf(path, sizeof(path), "/dev/%s", disk->name);
	cleanup(close) int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);
	uint64_t range[2] = { 0, disk->bytes };
	const char *method = NULL;
	if (disk->is_nvme)
		(void)!erase_nvme(fd, &method);
	if (text_starts(disk->name, "sd"))
		erase_ata(fd, disk, &method);
	if (!method && ioctl(fd, BLKDISCARD, range) == 0)
		method = "discard";
	(void)ioctl(fd, BLKFLSBUF);
	int r = method ? reads_zero(fd, disk->bytes) : 0;
	/* Encrypted anew it may read as anything: zeros then cost little and are seen. */
	if (r == 0) {
		if (ioctl(fd, BLKZEROOUT, range) < 0 || fsync(fd) < 0)
			return error_errno(e, "overwrite %s", path);
		if (!method || text_equal(method, "discard"))
			method = "overwrite";
		(void)ioctl(fd, BLKFLSBUF);
		r = reads_zero(fd, disk->bytes);
	}
	if (r == 0)
		return error_set(e, -EIO, "%s: does not read as zeros after it was erased", path);
	if (r < 0)
		return error_code(e, r, "read %s after it was erased", path);
	(void)ioctl(fd, BLKRRPART);
	*ret_method = method;
	return 0;
}
