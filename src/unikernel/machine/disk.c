/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - a virtio disk, some requests at a time.
 *
 * Whole sectors go to and from the memory that was named, a piece of it a request (some devices take no more), and all
 * pieces are on their way at once, as far as there are slots; what is not whole goes through a page of ours. Whoever asks
 * waits for all of it, sleeping; a device that does not answer is not asked again.
 */
#include "unikernel/machine/disk.h"

#include <linux/virtio_blk.h>

#include "unikernel/machine/wait.h"

#define SECTOR         512u
#define PIECE_MOST     (1u << 20)
#define REQUESTS       0
#define ENTRIES_MOST   64u                   /* a power of two, for all slots */
#define ANSWER_LONGEST UINT64_C(30000000000) /* ns */
#define LOOK_AGAIN     UINT64_C(20000000)    /* ns; in case that a wake-up was lost */
#define SLOT_BYTES     64u /* of our first page: the head of a request, and its status */
#define STATUS_AT      32u
#define SLOT_ENTRIES   3u
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
	ring_start(&disk->ring, own, REQUESTS, ENTRIES_MOST);
	if (disk->ring.size < SLOT_ENTRIES)
		virtio_broke(own, "has too short a queue");
	disk->slot_count = disk->ring.size / SLOT_ENTRIES;
	if (disk->slot_count > DISK_SLOTS)
		disk->slot_count = DISK_SLOTS;
	disk->page = virtio_alloc(2ull * KERNEL_PAGE);
	virtio_ready(own);
}

/* Where the head and the status of a request stand. */
static struct virtio_blk_outhdr *head_of(const struct disk *disk, uint32_t slot)
{
	return (void *)(disk->page + (uint64_t)slot * SLOT_BYTES);
}

static volatile uint8_t *status_of(const struct disk *disk, uint32_t slot)
{
	return disk->page + (uint64_t)slot * SLOT_BYTES + STATUS_AT;
}

/* What the device is done with is noted: true if there was anything. */
static bool take_answers(struct disk *disk)
{
	uint16_t entry;
	uint32_t bytes;
	bool was_any = false;
	while (ring_take(&disk->ring, &entry, &bytes)) {
		uint32_t slot = entry / SLOT_ENTRIES;
		uint64_t offset = head_of(disk, slot)->sector * SECTOR;
		if (*status_of(disk, slot) != VIRTIO_BLK_S_OK && offset < disk->failed_at)
			disk->failed_at = offset;
		disk->is_busy[slot] = false;
		disk->busy_count--;
		was_any = true;
	}
	return was_any;
}

/* Until at least one request is over. */
static void wait_for_answer(struct disk *disk)
{
	uint64_t start = platform_clock_monotonic();
	if (disk->wants_kick)
		ring_kick(&disk->ring);
	disk->wants_kick = false;
	while (!take_answers(disk)) {
		uint64_t now = platform_clock_monotonic();
		if (now - start > ANSWER_LONGEST) {
			disk->is_broken = true;
			virtio_broke(&disk->device, "does not answer");
		}
		ring_listen(&disk->ring, true);
		if (disk->device.transport->quiet)
			(void)disk->device.transport->quiet(&disk->device);
		if (!ring_has(&disk->ring))
			wait_until(
				now + (disk->device.has_interrupt ? LOOK_AGAIN : LOOK_AGAIN / 100));
		ring_listen(&disk->ring, false);
	}
}

static uint32_t free_slot(struct disk *disk)
{
	uint32_t slot = 0;
	while (disk->busy_count == disk->slot_count)
		wait_for_answer(disk);
	while (disk->is_busy[slot])
		slot++;
	return slot;
}

/* One request on its way; the piece is in one run of memory, 0 bytes for none. The slot is where it is waited for. */
static uint32_t ask(
	struct disk *disk, uint32_t type, uint64_t offset, uint64_t physical, uint32_t bytes)
{
	uint32_t slot = free_slot(disk);
	uint16_t first = (uint16_t)(slot * SLOT_ENTRIES);
	uint16_t last = (uint16_t)(first + (bytes ? 2 : 1));
	*head_of(disk, slot) =
		(struct virtio_blk_outhdr){ .type = type, .sector = offset / SECTOR };
	*status_of(disk, slot) = 0xff;
	ring_describe(&disk->ring, first, pages_physical(head_of(disk, slot)),
		sizeof(struct virtio_blk_outhdr), VIRTIO_DESC_NEXT, (uint16_t)(first + 1));
	if (bytes)
		ring_describe(&disk->ring, (uint16_t)(first + 1), physical, bytes,
			VIRTIO_DESC_NEXT | (type == VIRTIO_BLK_T_IN ? VIRTIO_DESC_WRITE : 0), last);
	ring_describe(&disk->ring, last,
		pages_physical(disk->page + (uint64_t)slot * SLOT_BYTES + STATUS_AT), 1,
		VIRTIO_DESC_WRITE, 0);
	ring_offer(&disk->ring, first);
	disk->is_busy[slot] = true;
	disk->busy_count++;
	disk->wants_kick = true;
	return slot;
}

/* One request and its answer; others may be on their way beside it. */
static int request(
	struct disk *disk, uint32_t type, uint64_t offset, uint64_t physical, uint32_t bytes)
{
	if (disk->is_broken)
		return -EIO;
	uint32_t slot = ask(disk, type, offset, physical, bytes);
	while (disk->is_busy[slot])
		wait_for_answer(disk);
	return *status_of(disk, slot) == VIRTIO_BLK_S_OK ? 0 : -EIO;
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
	(void)ask(disk, is_read ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, offset, physical,
		(uint32_t)bytes);
	return (int64_t)bytes;
}

/* No two pieces have a sector in common, so their order is the device's. What failed counts from there on. */
static int64_t move(struct disk *disk, uint64_t offset, uint8_t *data, uint64_t size, bool is_read)
{
	uint64_t done = 0;
	int64_t r = 0;
	if (offset > disk->bytes || size > disk->bytes - offset || disk->is_broken)
		return -EIO;
	disk->failed_at = UINT64_MAX;
	while (done < size && disk->failed_at == UINT64_MAX) {
		r = move_piece(disk, offset + done, data + done, size - done, is_read);
		if (r < 0)
			break;
		done += (uint64_t)r;
	}
	while (disk->busy_count)
		wait_for_answer(disk);
	if (disk->failed_at < offset + done) {
		done = disk->failed_at > offset ? disk->failed_at - offset : 0;
		r = -EIO;
	}
	return done || r >= 0 ? (int64_t)done : r;
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
