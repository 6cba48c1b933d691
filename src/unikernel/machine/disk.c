/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - a virtio disk, one request at a time.
 *
 * Whole sectors go to and from the memory that was named, a piece of it a request (some devices take no more); what is not
 * whole goes through a page of ours. Whoever asks waits, sleeping; a device that does not answer is not asked again.
 */
#include "unikernel/machine/disk.h"

#include <linux/virtio_blk.h>

#include "unikernel/machine/wait.h"

#define SECTOR         512u
#define PIECE_MOST     (1u << 20)
#define REQUESTS       0
#define ANSWER_LONGEST UINT64_C(30000000000) /* ns */
#define LOOK_AGAIN     UINT64_C(20000000)    /* ns; in case that a wake-up was lost */
#define STATUS_AT      64u
#define BIT(name)      (UINT64_C(1) << (name))

void disk_start(struct disk *disk, const struct virtio *device)
{
	*disk = (struct disk){ .device = *device };
	struct virtio *own = &disk->device;
	uint64_t sectors = 0;
	uint32_t most = PIECE_MOST;
	virtio_begin(
		own, BIT(VIRTIO_BLK_F_RO) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_SIZE_MAX));
	virtio_config(own, 0, &sectors, sizeof(sectors));
	if (virtio_has(own, VIRTIO_BLK_F_SIZE_MAX))
		virtio_config(
			own, offsetof(struct virtio_blk_config, size_max), &most, sizeof(most));
	if (sectors > UINT64_MAX / 2 / SECTOR || most < KERNEL_PAGE)
		virtio_broke(own, "has an impossible size");
	disk->bytes = sectors * SECTOR;
	disk->is_read_only = virtio_has(own, VIRTIO_BLK_F_RO);
	disk->has_flush = virtio_has(own, VIRTIO_BLK_F_FLUSH);
	disk->piece_most = (most < PIECE_MOST ? most : PIECE_MOST) & ~(SECTOR - 1);
	ring_start(&disk->ring, own, REQUESTS, 4);
	if (disk->ring.size < 4)
		virtio_broke(own, "has too short a queue");
	disk->page = virtio_alloc(2ull * KERNEL_PAGE);
	virtio_ready(own);
}

static bool wait_for_answer(struct disk *disk)
{
	uint16_t entry;
	uint32_t bytes;
	uint64_t start = platform_clock_monotonic();
	while (!ring_take(&disk->ring, &entry, &bytes)) {
		uint64_t now = platform_clock_monotonic();
		if (now - start > ANSWER_LONGEST)
			return false;
		ring_listen(&disk->ring, true);
		if (disk->device.transport->quiet)
			(void)disk->device.transport->quiet(&disk->device);
		if (!ring_has(&disk->ring))
			wait_until(
				now + (disk->device.has_interrupt ? LOOK_AGAIN : LOOK_AGAIN / 100));
		ring_listen(&disk->ring, false);
	}
	return true;
}

/* One request; the piece is in one run of memory, 0 bytes for none. */
static int request(
	struct disk *disk, uint32_t type, uint64_t offset, uint64_t physical, uint32_t bytes)
{
	struct virtio_blk_outhdr *head = (void *)disk->page;
	volatile uint8_t *status = disk->page + STATUS_AT;
	if (disk->is_broken)
		return -EIO;
	*head = (struct virtio_blk_outhdr){ .type = type, .sector = offset / SECTOR };
	*status = 0xff;
	uint16_t last = bytes ? 2 : 1;
	ring_describe(&disk->ring, 0, pages_physical(head), sizeof(*head), VIRTIO_DESC_NEXT, 1);
	if (bytes)
		ring_describe(&disk->ring, 1, physical, bytes,
			VIRTIO_DESC_NEXT | (type == VIRTIO_BLK_T_IN ? VIRTIO_DESC_WRITE : 0), 2);
	ring_describe(
		&disk->ring, last, pages_physical(disk->page + STATUS_AT), 1, VIRTIO_DESC_WRITE, 0);
	ring_offer(&disk->ring, 0);
	ring_kick(&disk->ring);
	if (!wait_for_answer(disk)) {
		disk->is_broken = true;
		virtio_broke(&disk->device, "does not answer");
	}
	return *status == VIRTIO_BLK_S_OK ? 0 : -EIO;
}

static uint8_t *bounce(const struct disk *disk)
{
	return disk->page + KERNEL_PAGE;
}

/* What is not whole sectors, at most one page of them: bytes that were moved, or a negative errno. */
static int64_t move_part(
	struct disk *disk, uint64_t offset, uint8_t *data, uint64_t size, bool is_read)
{
	uint64_t first = offset & ~(uint64_t)(SECTOR - 1), skip = offset - first;
	uint64_t count = size < KERNEL_PAGE - skip ? size : KERNEL_PAGE - skip;
	uint32_t whole = (uint32_t)((skip + count + SECTOR - 1) & ~(uint64_t)(SECTOR - 1));
	uint64_t at_bounce = pages_physical(bounce(disk));
	bool is_whole = skip == 0 && count == whole;
	int r = is_read || !is_whole ? request(disk, VIRTIO_BLK_T_IN, first, at_bounce, whole) : 0;
	if (r < 0)
		return r;
	if (is_read) {
		memcpy(data, bounce(disk) + skip, count);
		return (int64_t)count;
	}
	memcpy(bounce(disk) + skip, data, count);
	r = request(disk, VIRTIO_BLK_T_OUT, first, at_bounce, whole);
	return r < 0 ? r : (int64_t)count;
}

static int64_t move_piece(
	struct disk *disk, uint64_t offset, uint8_t *data, uint64_t size, bool is_read)
{
	uint64_t physical = 0;
	uint64_t bytes = pages_piece(address_of(data), size, is_read, &physical);
	if (!bytes)
		return -EFAULT;
	if (bytes > disk->piece_most)
		bytes = disk->piece_most;
	bytes &= ~(uint64_t)(SECTOR - 1);
	if (offset % SECTOR || bytes == 0)
		return move_part(disk, offset, data, size, is_read);
	int r = request(disk, is_read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, offset, physical,
		(uint32_t)bytes);
	return r < 0 ? r : (int64_t)bytes;
}

static int64_t move(struct disk *disk, uint64_t offset, uint8_t *data, uint64_t size, bool is_read)
{
	uint64_t done = 0;
	if (offset > disk->bytes || size > disk->bytes - offset)
		return -EIO;
	while (done < size) {
		int64_t r = move_piece(disk, offset + done, data + done, size - done, is_read);
		if (r < 0)
			return done ? (int64_t)done : r;
		done += (uint64_t)r;
	}
	return (int64_t)done;
}

int64_t disk_read(struct disk *disk, uint64_t offset, void *to, size_t size)
{
	return move(disk, offset, to, size, true);
}

int64_t disk_write(struct disk *disk, uint64_t offset, const void *from, size_t size)
{
	if (disk->is_read_only)
		return -EROFS;
	return move(disk, offset, (uint8_t *)(uintptr_t)from, size, false);
}

int64_t disk_flush(struct disk *disk)
{
	return disk->has_flush ? request(disk, VIRTIO_BLK_T_FLUSH, 0, 0, 0) : 0;
}
