/* SPDX-License-Identifier: Apache-2.0 */
/*
 * solo5.c - the manifest of a Solo5 unikernel and what the host attaches to it.
 */
#include "tender/solo5.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/text.h"
#include "tender/tap.h"

#define BLOCK_BYTES_DEFAULT 512
#define BLOCK_BYTES_MIN     512

static int read_abi(const struct elf *elf, uint32_t target, uint32_t *ret, struct error *e)
{
	const uint8_t *note;
	size_t size;
	struct solo5_abi abi;
	if (elf_note(elf, SOLO5_NOTE_NAME, SOLO5_NOTE_ABI, &note, &size) < 0 || size != sizeof(abi))
		return error_set(e, -ENOEXEC, "it has no Solo5 ABI note");
	memcpy(&abi, note, sizeof(abi));
	if (target == SOLO5_TARGET_ANY && abi.target == SOLO5_TARGET_HVT)
		target = SOLO5_TARGET_HVT;
	if (abi.target != (target == SOLO5_TARGET_ANY ? SOLO5_TARGET_SPT : target))
		return error_set(e, -ENOEXEC, "it is for Solo5 target %u, which is not run here",
			abi.target);
	if (abi.version != SOLO5_ABI_VERSION)
		return error_set(e, -ENOEXEC, "it is for version %u of the Solo5 ABI, not %d",
			abi.version, SOLO5_ABI_VERSION);
	*ret = abi.target;
	return 0;
}

static bool is_device_name(const char name[SOLO5_NAME_SIZE])
{
	size_t length = strnlen(name, SOLO5_NAME_SIZE);
	if (length == 0 || length == SOLO5_NAME_SIZE)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)name[i]))
			return false;
	return true;
}

static bool is_device(const struct solo5_device *device)
{
	return device->type < SOLO5_DEVICE_RESERVED;
}

static int check_manifest(struct solo5_manifest *manifest, struct error *e)
{
	for (uint32_t i = 0; i < manifest->count; i++) {
		struct solo5_device *device = &manifest->devices[i];
		device->is_attached = 0;
		device->host = 0;
		if (!is_device(device))
			continue;
		if (device->type != SOLO5_DEVICE_BLOCK && device->type != SOLO5_DEVICE_NET)
			return error_set(e, -ENOEXEC, "manifest entry %u has the unknown type %u",
				i, device->type);
		if (!is_device_name(device->name))
			return error_set(e, -ENOEXEC, "manifest entry %u has no proper name", i);
		memset(&device->block, 0, sizeof(device->block));
	}
	return 0;
}

static int read_manifest(const struct elf *elf, struct solo5_manifest *ret, struct error *e)
{
	const uint8_t *note;
	size_t size, head = offsetof(struct solo5_manifest, devices);
	struct solo5_manifest manifest = {};
	int r = elf_note(elf, SOLO5_NOTE_NAME, SOLO5_NOTE_MANIFEST, &note, &size);
	if (r == -ENOENT)
		return error_set(e, -ENOEXEC, "it has no Solo5 manifest");
	if (r < 0 || size < SOLO5_MANIFEST_PADDING + head)
		return error_set(e, -ENOEXEC,
			"its Solo5 manifest: the note does not fall within valid size");
	note += SOLO5_MANIFEST_PADDING;
	size -= SOLO5_MANIFEST_PADDING;
	memcpy(&manifest, note, head);
	if (manifest.version != SOLO5_MANIFEST_VERSION || manifest.count > SOLO5_DEVICES_MAX ||
		size < head + manifest.count * sizeof(struct solo5_device))
		return error_set(e, -ENOEXEC,
			"its Solo5 manifest is wrong (version %u, %u entries)", manifest.version,
			manifest.count);
	memcpy(manifest.devices, note + head, manifest.count * sizeof(struct solo5_device));
	r = check_manifest(&manifest, e);
	if (r < 0)
		return r;
	*ret = manifest;
	return 0;
}

int solo5_open(const struct elf *elf, uint32_t target, struct solo5 *ret, struct error *e)
{
	uint32_t found;
	int r = read_abi(elf, target, &found, e);
	if (r < 0)
		return r;
	r = read_manifest(elf, &ret->manifest, e);
	if (r < 0)
		return r;
	ret->elf = *elf;
	ret->target = found;
	return 0;
}

size_t solo5_manifest_size(const struct solo5 *solo5)
{
	return offsetof(struct solo5_manifest, devices) +
		solo5->manifest.count * sizeof(struct solo5_device);
}

/* The device of "NAME=WHAT" and WHAT. */
static int find_device(struct solo5 *solo5, const char *option, uint32_t type,
	struct solo5_device **ret, const char **ret_what, struct error *e)
{
	const char *equals = strchr(option, '=');
	if (!equals || equals == option || !equals[1])
		return error_set(e, -EINVAL, "%s is not NAME=VALUE", option);
	size_t length = (size_t)(equals - option);
	for (uint32_t i = 0; i < solo5->manifest.count; i++) {
		struct solo5_device *device = &solo5->manifest.devices[i];
		if (is_device(device) && device->type == type && strlen(device->name) == length &&
			memcmp(device->name, option, length) == 0) {
			*ret = device;
			*ret_what = equals + 1;
			return 0;
		}
	}
	return error_set(e, -ENOENT, "the manifest declares no %s device %.*s",
		type == SOLO5_DEVICE_BLOCK ? "block" : "network", (int)length, option);
}

int solo5_attach_block(struct solo5 *solo5, const char *option, struct error *e)
{
	struct solo5_device *device;
	const char *path;
	int r = find_device(solo5, option, SOLO5_DEVICE_BLOCK, &device, &path, e);
	if (r < 0)
		return r;
	cleanup(close) int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open %s", path);
	off_t size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return error_errno(e, "size of %s", path);
	device->block.capacity_bytes = (uint64_t)size;
	device->host = (uint64_t)TAKE_FD(fd);
	device->is_attached = 1;
	return 0;
}

int solo5_set_block_size(struct solo5 *solo5, const char *option, struct error *e)
{
	struct solo5_device *device;
	const char *text;
	uint64_t bytes;
	int r = find_device(solo5, option, SOLO5_DEVICE_BLOCK, &device, &text, e);
	if (r < 0)
		return r;
	if (text_to_u64(text, &bytes) < 0 || bytes < BLOCK_BYTES_MIN || bytes > UINT16_MAX ||
		(bytes & (bytes - 1)) != 0)
		return error_set(e, -EINVAL,
			"%s: Block size must be a multiple of 2 greater than or equal %d (a "
			"power of 2)",
			text, BLOCK_BYTES_MIN);
	device->block.block_bytes = (uint16_t)bytes;
	return 0;
}

int solo5_attach_net(struct solo5 *solo5, const char *option, struct error *e)
{
	struct solo5_device *device;
	const char *what;
	int fd = -1;
	int r = find_device(solo5, option, SOLO5_DEVICE_NET, &device, &what, e);
	if (r < 0)
		return r;
	r = tap_open(what, &fd, &device->net.mtu, NULL, e);
	if (r < 0)
		return r;
	device->host = (uint64_t)fd;
	device->is_attached = 1;
	return 0;
}

int solo5_set_mac(struct solo5 *solo5, const char *option, struct error *e)
{
	struct solo5_device *device;
	const char *text;
	unsigned char mac[6];
	int end = 0;
	int r = find_device(solo5, option, SOLO5_DEVICE_NET, &device, &text, e);
	if (r < 0)
		return r;
	if (strlen(text) != 17 ||
		sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2],
			&mac[3], &mac[4], &mac[5], &end) != 6 ||
		end != 17)
		return error_set(e, -EINVAL, "%s is no MAC address", text);
	memcpy(device->net.mac, mac, sizeof(mac));
	return 0;
}

/* The words of the two sentences on block sizes are those that Solo5's suite looks for. */
static int finish_block(struct solo5_device *device, struct error *e)
{
	struct solo5_block *block = &device->block;
	if (!block->block_bytes)
		block->block_bytes = BLOCK_BYTES_DEFAULT;
	if (block->capacity_bytes < block->block_bytes ||
		block->capacity_bytes % block->block_bytes != 0)
		return error_set(e, -EINVAL,
			"block device %s: Backing storage size must be block aligned (%" PRIu64
			" bytes are no whole number of blocks of %u)",
			device->name, block->capacity_bytes, block->block_bytes);
	return 0;
}

static void finish_net(struct solo5_device *device)
{
	static const uint8_t none[6];
	if (memcmp(device->net.mac, none, sizeof(none)) != 0)
		return;
	ssize_t got = getrandom(device->net.mac, sizeof(device->net.mac), 0);
	assert(got == sizeof(device->net.mac));
	device->net.mac[0] =
		(uint8_t)((device->net.mac[0] & 0xfc) | 0x02); /* local, one receiver */
}

int solo5_finish(struct solo5 *solo5, struct error *e)
{
	for (uint32_t i = 0; i < solo5->manifest.count; i++) {
		struct solo5_device *device = &solo5->manifest.devices[i];
		if (!is_device(device))
			continue;
		if (!device->is_attached)
			return error_set(
				e, -EINVAL, "device %s is declared but not attached", device->name);
		if (device->type == SOLO5_DEVICE_NET) {
			finish_net(device);
			continue;
		}
		int r = finish_block(device, e);
		if (r < 0)
			return r;
	}
	return 0;
}
