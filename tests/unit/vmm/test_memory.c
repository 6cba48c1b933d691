/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/memory.h"

#include <errno.h>
#include <sys/stat.h>

#include "driver.h"

#define ROOM_AT    UINT64_C(0x40000000)
#define ROOM_BYTES (44 * MIB)
#define REQUEST_AT DRIVER_BUFFERS
#define ANSWER_AT  (DRIVER_BUFFERS + 0x100)

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };
enum { PLUGGED, UNPLUGGED, MIXED };

static struct virtio_device *device;

static void plug_in(struct driver *driver)
{
	struct error e = {};
	driver_board(driver);
	expect(guest_add(driver->guest, ROOM_AT, ROOM_BYTES, GUEST_RAM, &e) == 0);
	device = memory_new(driver->guest, driver->loop, &driver->bus, ROOM_AT, ROOM_BYTES);
	driver_plug(driver, device);
	driver_start(driver, 0, 1);
}

static void want(struct driver *driver, uint64_t bytes)
{
	bus_guard(&driver->bus);
	memory_want(device, bytes);
}

/* What the device says to a request for `blocks` from `at`; a state is above its type. */
static uint32_t ask(struct driver *driver, uint16_t type, uint64_t at, uint16_t blocks)
{
	const struct {
		uint16_t type, reserved[3];
		uint64_t at;
		uint16_t blocks, reserved_too[3];
	} request = { .type = type, .at = at, .blocks = blocks };
	uint16_t answer[5];
	const struct buffer buffers[] = { { REQUEST_AT, sizeof(request), false },
		{ ANSWER_AT, sizeof(answer), true } };
	expect(guest_write(driver->guest, REQUEST_AT, &request, sizeof(request)) == 0);
	expect_equal(driver_send(driver, 0, buffers, 2), sizeof(answer));
	expect(guest_read(driver->guest, ANSWER_AT, answer, sizeof(answer)) == 0);
	return (uint32_t)(answer[0] | answer[4] << 16);
}

static uint64_t block(uint64_t number)
{
	return ROOM_AT + number * MEMORY_BLOCK;
}

static void plugs_what_is_wanted(void)
{
	struct driver driver;
	plug_in(&driver);
	expect_equal(driver_read(&driver, 0x2000, 8), MEMORY_BLOCK);
	expect_equal(driver_read(&driver, 0x2010, 8), ROOM_AT);
	expect_equal(driver_read(&driver, 0x2018, 8), ROOM_BYTES);
	expect_equal(ask(&driver, PLUG, block(0), 1), NACK);
	driver_read(&driver, 0x1000, 1);
	uint32_t before = driver.interrupts;
	want(&driver, 13 * MIB);
	expect(driver.interrupts > before);
	expect_equal(driver_read(&driver, 0x2030, 8), 12 * MIB);
	expect_equal(ask(&driver, PLUG, block(1), 2), ACK);
	expect_equal(driver_read(&driver, 0x2028, 8), 8 * MIB);
	expect_equal(memory_plugged(device), 8 * MIB);
	expect_equal(ask(&driver, PLUG, block(3), 2), NACK);
	expect_equal(ask(&driver, PLUG, block(2), 1), ERROR);
	expect_equal(ask(&driver, STATE, block(1), 2), ACK | PLUGGED << 16);
	expect_equal(ask(&driver, STATE, block(3), 8), ACK | UNPLUGGED << 16);
	expect_equal(ask(&driver, STATE, block(0), 11), ACK | MIXED << 16);
	want(&driver, UINT64_MAX);
	expect_equal(driver_read(&driver, 0x2030, 8), ROOM_BYTES);
	driver_done(&driver);
}

static void refuses_what_lies_outside(void)
{
	struct driver driver;
	plug_in(&driver);
	want(&driver, ROOM_BYTES);
	for (uint16_t type = PLUG; type <= STATE + 1; type++) {
		if (type == UNPLUG_ALL)
			continue;
		expect_equal(ask(&driver, type, block(0), 0), ERROR);
		expect_equal(ask(&driver, type, block(0), 12), ERROR);
		expect_equal(ask(&driver, type, block(10), 2), ERROR);
		expect_equal(ask(&driver, type, block(11), 1), ERROR);
		expect_equal(ask(&driver, type, block(0) + GUEST_PAGE, 1), ERROR);
		expect_equal(ask(&driver, type, 0, 1), ERROR);
		expect_equal(ask(&driver, type, UINT64_MAX - MEMORY_BLOCK + 1, 2), ERROR);
	}
	expect_equal(memory_plugged(device), 0);
	expect_equal(ask(&driver, UNPLUG, block(0), 1), ERROR);
	/* A request that is cut off. */
	const struct buffer buffers[] = { { REQUEST_AT, 4, false }, { ANSWER_AT, 10, true } };
	uint16_t answer;
	driver_send(&driver, 0, buffers, 2);
	expect(guest_read(driver.guest, ANSWER_AT, &answer, sizeof(answer)) == 0);
	expect_equal(answer, ERROR);
	driver_done(&driver);
}

static uint64_t used_bytes(const struct driver *driver)
{
	struct stat status;
	expect(fstat(driver->guest->memfd, &status) == 0);
	return (uint64_t)status.st_blocks * 512;
}

static void gives_back_what_is_unplugged(void)
{
	struct driver driver;
	uint64_t word = 1;
	plug_in(&driver);
	want(&driver, ROOM_BYTES);
	expect_equal(ask(&driver, PLUG, block(0), 11), ACK);
	uint64_t before = used_bytes(&driver);
	for (uint64_t at = ROOM_AT; at < ROOM_AT + ROOM_BYTES; at += GUEST_PAGE)
		expect(guest_write(driver.guest, at, &word, sizeof(word)) == 0);
	expect(used_bytes(&driver) >= before + ROOM_BYTES);
	expect_equal(ask(&driver, UNPLUG, block(2), 3), ACK);
	expect_equal(memory_plugged(device), 32 * MIB);
	expect(used_bytes(&driver) <= before + 33 * MIB);
	expect(guest_read(driver.guest, block(4), &word, sizeof(word)) == 0);
	expect_equal(word, 0);
	expect_equal(ask(&driver, UNPLUG, block(2), 1), ERROR);
	expect_equal(ask(&driver, UNPLUG_ALL, 0, 0), ACK);
	expect_equal(memory_plugged(device), 0);
	expect(used_bytes(&driver) <= before + MIB);
	driver_done(&driver);
}

static void keeps_its_state(void)
{
	struct driver driver;
	struct state state = {};
	struct error e = {};
	plug_in(&driver);
	want(&driver, 20 * MIB);
	expect_equal(ask(&driver, PLUG, block(8), 3), ACK);
	{
		bus_guard(&driver.bus);
		virtio_pci_save(driver.transport, &state);
	}
	/* A reset of the device takes nothing away. */
	driver_write(&driver, 20, 1, 0);
	expect_equal(memory_plugged(device), 12 * MIB);
	driver_done(&driver);
	plug_in(&driver);
	{
		bus_guard(&driver.bus);
		expect(virtio_pci_load(driver.transport, &state, &e) == 0);
	}
	expect_equal(memory_plugged(device), 12 * MIB);
	expect_equal(driver_read(&driver, 0x2030, 8), 20 * MIB);
	driver_done(&driver);
	/* Another range. */
	driver_board(&driver);
	expect(guest_add(driver.guest, ROOM_AT, ROOM_BYTES, GUEST_RAM, &e) == 0);
	device = memory_new(driver.guest, driver.loop, &driver.bus, ROOM_AT + MEMORY_BLOCK,
		ROOM_BYTES - MEMORY_BLOCK);
	driver_plug(&driver, device);
	{
		bus_guard(&driver.bus);
		expect_equal(virtio_pci_load(driver.transport, &state, &e), -EINVAL);
	}
	driver_done(&driver);
	state_done(&state);
}

static const struct test tests[] = {
	{ "memory is plugged up to what is wanted, and no more", plugs_what_is_wanted },
	{ "requests outside the range, not whole or cut off are errors",
		refuses_what_lies_outside },
	{ "what is unplugged goes back to the host", gives_back_what_is_unplugged },
	{ "what is plugged is saved and loaded, for the same range only", keeps_its_state },
};
TEST_MAIN(tests)
