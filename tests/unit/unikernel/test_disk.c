/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's virtio disk over a device that is memory: how many requests are on their way at once, and what comes of
 * those that fail or are answered in another order.
 */
#include "unikernel/machine/disk.h"

#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "unikernel/exit.h"
#include "unikernel/machine/wait.h"

#define SECTOR  512u
#define SECTORS 256u
#define BYTES   (SECTOR * SECTORS)
#define MOST    64u
#define NO_FAIL UINT64_MAX

static uint8_t memory[1u << 20] __attribute__((aligned(4096)));
static uint8_t sectors[BYTES], bytes[BYTES + 4096] __attribute__((aligned(4096)));
static const struct ring *ring;
static uint16_t seen;
static uint32_t ring_size, deepest, kicks;
static uint64_t fails_at, now;

/* The library OS's own, which other files have. */
void kernel_panic(const char *sentence)
{
	test_fail("%s", sentence);
	abort();
}

bool text_is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

uint64_t platform_clock_monotonic(void)
{
	return now += 1000;
}

void wait_until(uint64_t until_ns)
{
	now = until_ns;
}

/* A page is a piece: what is next to each other in memory need not be so for a device. */
uint64_t pages_piece(uint64_t address, uint64_t size, bool is_filled, uint64_t *ret_physical)
{
	uint64_t left = 4096 - address % 4096;
	(void)is_filled;
	*ret_physical = address - MACHINE_BASE;
	return left < size ? left : size;
}

static uint8_t *see(uint64_t physical)
{
	return (uint8_t *)(uintptr_t)(physical + MACHINE_BASE);
}

static void serve(uint16_t entry)
{
	const struct virtio_desc *desc = &ring->desc[entry];
	const struct virtio_blk_outhdr *head = (const void *)see(desc->at);
	uint64_t offset = head->sector * SECTOR;
	bool is_failed = false;
	while (desc->flags & VIRTIO_DESC_NEXT) {
		desc = &ring->desc[desc->next];
		if (!(desc->flags & VIRTIO_DESC_NEXT))
			break;
		is_failed = fails_at >= offset && fails_at < offset + desc->bytes;
		expect(offset + desc->bytes <= BYTES);
		if (head->type == VIRTIO_BLK_T_IN && !is_failed)
			memcpy(see(desc->at), sectors + offset, desc->bytes);
		else if (!is_failed)
			memcpy(sectors + offset, see(desc->at), desc->bytes);
		offset += desc->bytes;
	}
	*see(desc->at) = is_failed ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	volatile struct virtio_used *used = (void *)(uintptr_t)ring->used;
	used->ring[used->index & (ring->size - 1)].id = entry;
	used->index = (uint16_t)(used->index + 1);
}

/* The last one first. */
static void kick(struct virtio *device, uint16_t index)
{
	uint16_t end = ring->avail->index;
	(void)device;
	(void)index;
	kicks++;
	if ((uint16_t)(end - seen) > deepest)
		deepest = (uint16_t)(end - seen);
	for (uint16_t at = end; at != seen; at--)
		serve(ring->avail->ring[(uint16_t)(at - 1) & (ring->size - 1)]);
	seen = end;
}

static uint64_t features(struct virtio *device)
{
	(void)device;
	return UINT64_C(1) << VIRTIO_BLK_F_FLUSH | UINT64_C(1) << 32;
}

static void accept(struct virtio *device, uint64_t bits)
{
	(void)device;
	(void)bits;
}

static uint8_t status(struct virtio *device)
{
	return device->features ? VIRTIO_STATUS_FEATURES_OK : 0;
}

static void set_status(struct virtio *device, uint8_t value)
{
	(void)device;
	(void)value;
}

static uint32_t ring_most(struct virtio *device, uint16_t index)
{
	(void)device;
	(void)index;
	return ring_size;
}

static bool start_ring(struct virtio *device, const struct ring *to)
{
	(void)device;
	ring = to;
	return true;
}

static uint8_t config(struct virtio *device, uint32_t offset)
{
	(void)device;
	return offset < 8 ? (uint8_t)((uint64_t)SECTORS >> 8 * offset) : 0;
}

static const struct virtio_transport transport = { features, accept, status, set_status, ring_most,
	start_ring, kick, config, NULL };

static struct disk *start(uint32_t size)
{
	static struct disk disk;
	static struct pages_range region;
	const struct virtio device = {
		.transport = &transport, .id = VIRTIO_ID_BLOCK, .has_interrupt = true
	};
	memset(memory, 0, sizeof(memory));
	region = (struct pages_range){ (uint64_t)(uintptr_t)memory - MACHINE_BASE, sizeof(memory) };
	virtio_memory(&region);
	ring_size = size;
	seen = 0;
	deepest = kicks = 0;
	fails_at = NO_FAIL;
	disk_start(&disk, &device);
	for (uint32_t i = 0; i < BYTES; i++)
		sectors[i] = (uint8_t)(i * 31 + i / SECTOR);
	return &disk;
}

static void has_many_on_their_way(void)
{
	static const struct {
		uint32_t size, deepest, kicks;
	} cases[] = { { 256, 16, 2 }, { 64, 16, 2 }, { 8, 2, 16 }, { 4, 1, 32 } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct disk *disk = start(cases[i].size);
		memset(bytes, 0, sizeof(bytes));
		expect_equal(disk_read(disk, 0, bytes, BYTES), BYTES);
		expect(memcmp(bytes, sectors, BYTES) == 0);
		expect_equal(deepest, cases[i].deepest);
		expect_equal(kicks, cases[i].kicks);
	}
}

static void moves_what_is_not_whole(void)
{
	static const struct {
		uint32_t offset, at, size;
	} cases[] = { { 0, 0, 1 }, { 511, 3, 2 }, { 100, 0, 9000 }, { 512, 100, 20000 },
		{ 4095, 4095, 4098 }, { 7, 13, BYTES - 7 }, { BYTES - 1, 0, 1 } };
	static uint8_t mirror[BYTES];
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct disk *disk = start(64);
		uint32_t offset = cases[i].offset, size = cases[i].size;
		memset(bytes, 0, sizeof(bytes));
		expect_equal(disk_read(disk, offset, bytes + cases[i].at, size), size);
		expect(memcmp(bytes + cases[i].at, sectors + offset, size) == 0);
		memcpy(mirror, sectors, BYTES);
		for (uint32_t j = 0; j < size; j++)
			bytes[cases[i].at + j] = (uint8_t)(mirror[offset + j] = (uint8_t)(j * 7));
		expect_equal(disk_write(disk, offset, bytes + cases[i].at, size), size);
		expect(memcmp(mirror, sectors, BYTES) == 0);
		expect_equal(disk_flush(disk), 0);
	}
}

static void says_how_far_it_came(void)
{
	struct disk *disk = start(64);
	fails_at = 5 * 4096 + 10;
	expect_equal(disk_read(disk, 0, bytes, BYTES), 5 * 4096);
	expect_equal(disk_write(disk, 4 * 4096, bytes, 8192), 4096);
	expect_equal(disk_read(disk, 5 * 4096, bytes, 4096), -EIO);
	expect_equal(disk_write(disk, 5 * 4096 + 3, bytes, 100), -EIO);
	fails_at = NO_FAIL;
	expect_equal(disk_read(disk, 0, bytes, BYTES), BYTES);
	expect_equal(disk_read(disk, BYTES, bytes, 1), -EIO);
}

static const struct test tests[] = {
	{ "all pieces are on their way at once, as far as the queue goes", has_many_on_their_way },
	{ "what is not whole sectors is read and written as well", moves_what_is_not_whole },
	{ "what failed is not counted, nor what is behind it", says_how_far_it_came },
};
TEST_MAIN(tests)
