/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "disk/disk.h"
#include "driver.h"
#include "vmm/virtio/block.h"

#define DISK_BYTES (1 * MIB)
#define HEADER_AT  DRIVER_BUFFERS
#define DATA_AT    (DRIVER_BUFFERS + 0x1000)
#define STATUS_AT  (DRIVER_BUFFERS + 0x20000)

enum { READ = 0, WRITE = 1, FLUSH = 4, ID = 8, DISCARD = 11, ZEROES = 13 };

static int disk_fd;

static void plug_with(struct driver *driver, const struct block_options *options)
{
	struct error e = {};
	struct disk *disk;
	struct virtio_device *device;
	disk_fd = memfd_create("disk", MFD_CLOEXEC);
	expect(ftruncate(disk_fd, DISK_BYTES) == 0);
	expect(raw_open_fd(dup(disk_fd), "disk", false, &disk, &e) == 0);
	driver_board(driver);
	expect(block_new(driver->guest, driver->loop, &driver->bus, disk, options, &device, &e) ==
		0);
	driver_plug(driver, device);
}

static void plug(struct driver *driver)
{
	const struct block_options options = { .id = "tested" };
	plug_with(driver, &options);
	driver_start(driver, UINT64_C(1) << 9, 1);
}

static void unplug(struct driver *driver)
{
	driver_done(driver);
	close(disk_fd);
}

/* One request; its status. */
static uint8_t request(struct driver *driver, uint32_t type, uint64_t sector, uint32_t bytes)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header = { type, 0, sector };
	uint8_t status = 0xee;
	expect(guest_write(driver->guest, HEADER_AT, &header, sizeof(header)) == 0);
	expect(guest_write(driver->guest, STATUS_AT, &status, 1) == 0);
	const struct buffer buffers[] = {
		{ HEADER_AT, sizeof(header), false },
		{ DATA_AT, bytes, type == READ || type == ID },
		{ STATUS_AT, 1, true },
	};
	const struct buffer short_buffers[] = { buffers[0], buffers[2] };
	driver_send(driver, 0, bytes ? buffers : short_buffers, bytes ? 3 : 2);
	expect(guest_read(driver->guest, STATUS_AT, &status, 1) == 0);
	return status;
}

static void writes_and_reads(void)
{
	struct driver driver;
	uint8_t out[1024], in[1024] = {};
	plug(&driver);
	expect_equal(driver_read(&driver, 0x2000, 8), DISK_BYTES / 512);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	expect(guest_write(driver.guest, DATA_AT, out, sizeof(out)) == 0);
	expect_equal(request(&driver, WRITE, 5, sizeof(out)), 0);
	expect(pread(disk_fd, in, sizeof(in), 5L * 512) == sizeof(in));
	expect(memcmp(in, out, sizeof(in)) == 0);
	memset(in, 0, sizeof(in));
	expect(guest_write(driver.guest, DATA_AT, in, sizeof(in)) == 0);
	expect_equal(request(&driver, READ, 5, sizeof(in)), 0);
	expect(guest_read(driver.guest, DATA_AT, in, sizeof(in)) == 0);
	expect(memcmp(in, out, sizeof(in)) == 0);
	expect(driver.interrupts > 0);
	unplug(&driver);
}

static void refuses_what_lies_outside(void)
{
	struct driver driver;
	plug(&driver);
	expect_equal(request(&driver, READ, DISK_BYTES / 512, 512), 1);
	expect_equal(request(&driver, READ, UINT64_MAX / 512 - 1, 1024), 1);
	expect_equal(request(&driver, WRITE, UINT64_MAX, 512), 1);
	expect_equal(request(&driver, READ, 0, 100), 1);
	expect_equal(request(&driver, 99, 0, 0), 2);
	expect_equal(request(&driver, READ, 0, 512), 0);
	unplug(&driver);
}

static void flushes_discards_and_zeroes(void)
{
	struct driver driver;
	struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} segment = { 8, 8, 0 };
	char page[4096], zero[4096] = {};
	plug(&driver);
	memset(page, 'x', sizeof(page));
	expect(pwrite(disk_fd, page, sizeof(page), 4096) == sizeof(page));
	expect(pwrite(disk_fd, page, sizeof(page), 8192) == sizeof(page));
	expect_equal(request(&driver, FLUSH, 0, 0), 0);
	expect(guest_write(driver.guest, DATA_AT, &segment, sizeof(segment)) == 0);
	expect_equal(request(&driver, ZEROES, 0, sizeof(segment)), 0);
	expect(pread(disk_fd, page, sizeof(page), 4096) == sizeof(page));
	expect(memcmp(page, zero, sizeof(page)) == 0);
	segment.sector = 16;
	expect(guest_write(driver.guest, DATA_AT, &segment, sizeof(segment)) == 0);
	expect_equal(request(&driver, DISCARD, 0, sizeof(segment)), 0);
	expect(pread(disk_fd, page, sizeof(page), 8192) == sizeof(page));
	expect(memcmp(page, zero, sizeof(page)) == 0);
	segment.sectors = UINT32_MAX;
	expect(guest_write(driver.guest, DATA_AT, &segment, sizeof(segment)) == 0);
	expect_equal(request(&driver, DISCARD, 0, sizeof(segment)), 1);
	unplug(&driver);
}

static void says_who_it_is(void)
{
	struct driver driver;
	char id[20];
	plug(&driver);
	expect_equal(request(&driver, ID, 0, sizeof(id)), 0);
	expect(guest_read(driver.guest, DATA_AT, id, sizeof(id)) == 0);
	expect_text(id, "tested");
	unplug(&driver);
}

static void holds_to_its_limit(void)
{
	const struct block_options options = { .operations_per_second = 100 };
	struct driver driver;
	plug_with(&driver, &options);
	driver_start(&driver, 0, 1);
	uint64_t start = loop_now();
	for (int i = 0; i < 30; i++)
		expect_equal(request(&driver, READ, 0, 512), 0);
	/* A burst of ten, then one each ten milliseconds. */
	expect(loop_now() - start > 150 * NS_PER_MS);
	unplug(&driver);
}

static void survives_a_broken_chain(void)
{
	struct driver driver;
	plug(&driver);
	const struct buffer nowhere[] = { { DRIVER_MEMORY - 8, 16, false } };
	driver_put(&driver, 0, nowhere, 1);
	driver_kick(&driver, 0);
	for (int i = 0; i < 5; i++)
		expect(loop_step(driver.loop, 10 * NS_PER_MS) == 0);
	expect(driver_read(&driver, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
	driver_start(&driver, 0, 1);
	expect(guest_write(driver.guest, 0x12002, "\0", 2) == 0);
	expect_equal(request(&driver, READ, 0, 512), 0);
	unplug(&driver);
}

static void state_moves_to_another_machine(void)
{
	struct driver one, two;
	cleanup(state_done) struct state state = {};
	struct error e = {};
	plug(&one);
	int first = disk_fd;
	expect_equal(request(&one, READ, 0, 512), 0);
	bus_enter(&one.bus);
	pci_save(&one.pci, &state);
	virtio_pci_save(one.transport, &state);
	bus_leave(&one.bus);
	const struct block_options options = {};
	plug_with(&two, &options);
	char memory[4096];
	for (uint64_t at = 0; at < DRIVER_MEMORY; at += sizeof(memory)) {
		expect(guest_read(one.guest, at, memory, sizeof(memory)) == 0);
		expect(guest_write(two.guest, at, memory, sizeof(memory)) == 0);
	}
	bus_enter(&two.bus);
	expect_equal(pci_load(&two.pci, &state, &e), 0);
	expect_equal(virtio_pci_load(two.transport, &state, &e), 0);
	bus_leave(&two.bus);
	memcpy(two.next, one.next, sizeof(two.next));
	memcpy(two.next_desc, one.next_desc, sizeof(two.next_desc));
	expect_equal(request(&two, READ, 1, 512), 0);
	unplug(&two);
	disk_fd = first;
	unplug(&one);
}

static const struct test tests[] = {
	{ "what is written is on the disk and reads back", writes_and_reads },
	{ "a request outside of the disk or of no known type is an error to the guest alone",
		refuses_what_lies_outside },
	{ "flush, discard and write-zeroes do what they say", flushes_discards_and_zeroes },
	{ "the disk has a serial number", says_who_it_is },
	{ "the limit of operations a second holds", holds_to_its_limit },
	{ "a chain outside of guest memory breaks the queue until a reset",
		survives_a_broken_chain },
	{ "a saved disk goes on in another machine", state_moves_to_another_machine },
};
TEST_MAIN(tests)
