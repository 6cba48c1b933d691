/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/balloon.h"

#include <errno.h>
#include <sys/stat.h>

#include "driver.h"

#define FEATURES   (UINT64_C(1) << 1 | UINT64_C(1) << 3 | UINT64_C(1) << 5)
#define COMMAND_AT DRIVER_BUFFERS
#define PAGES_AT   UINT64_C(0x200000)
#define CONFIG_AT  0x2000

enum { INFLATE, DEFLATE, STATS, HINT, REPORT };

static struct virtio_device *balloon;

static void plug_in(struct driver *driver, uint64_t features, uint32_t queues)
{
	driver_board(driver);
	balloon = balloon_new(driver->guest, driver->loop, &driver->bus);
	driver_plug(driver, balloon);
	driver_start(driver, features, queues);
}

static uint64_t resident(const struct driver *driver)
{
	struct stat file;
	expect(fstat(driver->guest->memfd, &file) == 0);
	return (uint64_t)file.st_blocks * 512;
}

static void fill(struct driver *driver, uint64_t at, uint64_t bytes)
{
	uint8_t *page = guest_slice(driver->guest, at, bytes);
	expect(page != NULL);
	memset(page, 7, bytes);
}

static bool is_filled(struct driver *driver, uint64_t at)
{
	uint8_t byte;
	expect(guest_read(driver->guest, at, &byte, 1) == 0);
	return byte == 7;
}

static void hints(struct driver *driver, bool on)
{
	bus_guard(&driver->bus);
	balloon_hints(balloon, on);
}

static struct balloon_stats stats(struct driver *driver)
{
	bus_guard(&driver->bus);
	return balloon_stats(balloon);
}

static void put_command(struct driver *driver, uint32_t command)
{
	const struct buffer buffer = { COMMAND_AT, sizeof(command), false };
	expect(guest_write(driver->guest, COMMAND_AT, &command, sizeof(command)) == 0);
	driver_put(driver, HINT, &buffer, 1);
}

static void put_hint(struct driver *driver, uint64_t at, uint32_t bytes)
{
	const struct buffer buffer = { at, bytes, true };
	driver_put(driver, HINT, &buffer, 1);
}

/* Asks, and the guest begins. */
static uint32_t begin(struct driver *driver)
{
	hints(driver, true);
	uint32_t command = (uint32_t)driver_read(driver, CONFIG_AT + 8, 4);
	expect(command >= 2);
	put_command(driver, command);
	driver_kick(driver, HINT);
	return command;
}

static void gives_back_hinted_pages_while_the_bell_rings(void)
{
	struct driver driver;
	plug_in(&driver, FEATURES, 5);
	expect(stats(&driver).can_hint);
	fill(&driver, PAGES_AT, 1 * MIB);
	begin(&driver);
	expect(stats(&driver).is_hinting);
	uint64_t before = resident(&driver);
	put_hint(&driver, PAGES_AT, 1 * MIB);
	driver_kick(&driver, HINT);
	/* The loop has not run. */
	expect(!is_filled(&driver, PAGES_AT));
	expect(before - resident(&driver) >= 1 * MIB - 4096);
	expect_equal(stats(&driver).hinted_bytes, 1 * MIB);
	expect_equal(driver_used(&driver, HINT), 2);
	put_command(&driver, 0);
	driver_kick(&driver, HINT);
	expect(!stats(&driver).is_hinting);
	hints(&driver, false);
	expect_equal(driver_read(&driver, CONFIG_AT + 8, 4), 1);
	driver_done(&driver);
}

static void leaves_hints_that_waited(void)
{
	struct driver driver;
	plug_in(&driver, FEATURES, 5);
	begin(&driver);
	fill(&driver, PAGES_AT, 64 * KIB);
	put_hint(&driver, PAGES_AT, 32 * KIB);
	put_hint(&driver, PAGES_AT + 32 * KIB, 32 * KIB);
	driver_kick(&driver, HINT);
	expect_equal(driver_used(&driver, HINT), 3);
	expect(is_filled(&driver, PAGES_AT));
	expect(is_filled(&driver, PAGES_AT + 32 * KIB));
	/* Nor does the I/O thread take one: the guest may be anywhere by then. */
	put_hint(&driver, PAGES_AT, 32 * KIB);
	{
		bus_guard(&driver.bus);
		virtio_again(balloon, HINT);
	}
	expect(loop_step(driver.loop, 100 * NS_PER_MS) == 0);
	expect_equal(driver_used(&driver, HINT), 3);
	expect(is_filled(&driver, PAGES_AT));
	driver_done(&driver);
}

static void leaves_hints_of_another_command(void)
{
	struct driver driver;
	plug_in(&driver, FEATURES, 5);
	fill(&driver, PAGES_AT, 64 * KIB);
	put_hint(&driver, PAGES_AT, 64 * KIB);
	driver_kick(&driver, HINT);
	expect(is_filled(&driver, PAGES_AT));
	uint32_t first = begin(&driver);
	hints(&driver, false);
	put_hint(&driver, PAGES_AT, 64 * KIB);
	driver_kick(&driver, HINT);
	expect(is_filled(&driver, PAGES_AT));
	hints(&driver, true);
	expect(driver_read(&driver, CONFIG_AT + 8, 4) != first);
	put_command(&driver, first);
	driver_kick(&driver, HINT);
	put_hint(&driver, PAGES_AT, 64 * KIB);
	driver_kick(&driver, HINT);
	expect(is_filled(&driver, PAGES_AT));
	expect(!stats(&driver).is_hinting);
	driver_done(&driver);
}

static void a_pause_ends_hints(void)
{
	struct driver driver;
	struct error e = {};
	struct state state = {};
	plug_in(&driver, FEATURES, 5);
	uint32_t command = begin(&driver);
	{
		bus_guard(&driver.bus);
		virtio_pci_pause(driver.transport, true);
		virtio_pci_save(driver.transport, &state);
	}
	expect(!stats(&driver).is_hinting);
	expect_equal(driver_read(&driver, CONFIG_AT + 8, 4), 1);
	driver_done(&driver);
	driver_board(&driver);
	balloon = balloon_new(driver.guest, driver.loop, &driver.bus);
	driver_plug(&driver, balloon);
	{
		bus_guard(&driver.bus);
		expect(virtio_pci_load(driver.transport, &state, &e) == 0);
	}
	hints(&driver, true);
	expect(driver_read(&driver, CONFIG_AT + 8, 4) > command);
	driver_done(&driver);
	state_done(&state);
}

static void without_hints_the_fourth_queue_reports(void)
{
	struct driver driver;
	plug_in(&driver, FEATURES & ~(UINT64_C(1) << 3), 4);
	expect(!stats(&driver).can_hint);
	fill(&driver, PAGES_AT, 64 * KIB);
	put_hint(&driver, PAGES_AT, 64 * KIB);
	driver_kick(&driver, HINT);
	driver_wait(&driver, HINT, 1);
	expect(!is_filled(&driver, PAGES_AT));
	expect_equal(stats(&driver).reported_bytes, 64 * KIB);
	hints(&driver, true);
	expect(!stats(&driver).is_hinting);
	driver_done(&driver);
}

static void reports_beside_hints(void)
{
	struct driver driver;
	plug_in(&driver, FEATURES, 5);
	fill(&driver, PAGES_AT, 64 * KIB);
	const struct buffer buffer = { PAGES_AT, 64 * KIB, true };
	driver_send(&driver, REPORT, &buffer, 1);
	expect(!is_filled(&driver, PAGES_AT));
	expect_equal(stats(&driver).reported_bytes, 64 * KIB);
	driver_done(&driver);
}

/* Linux hands them over before it says that it is ready, so the bell is not heard. */
static void has_the_numbers_from_before_it_was_ready(void)
{
	struct driver driver;
	plug_in(&driver, FEATURES, 5);
	const struct __attribute__((__packed__)) {
		uint16_t tag;
		uint64_t value;
	} numbers[] = { { 4, 300 * MIB }, { 5, 400 * MIB } };
	const struct buffer buffer = { COMMAND_AT, sizeof(numbers), false };
	expect(guest_write(driver.guest, COMMAND_AT, numbers, sizeof(numbers)) == 0);
	driver_put(&driver, STATS, &buffer, 1);
	expect(loop_step(driver.loop, 100 * NS_PER_MS) == 0);
	expect_equal(stats(&driver).free_bytes, 300 * MIB);
	expect_equal(stats(&driver).total_bytes, 400 * MIB);
	uint64_t answers = stats(&driver).answers;
	{
		bus_guard(&driver.bus);
		balloon_ask(balloon);
	}
	driver_put(&driver, STATS, &buffer, 1);
	driver_kick(&driver, STATS);
	expect(loop_step(driver.loop, 100 * NS_PER_MS) == 0);
	expect_equal(stats(&driver).answers, answers + 1);
	driver_done(&driver);
}

static const struct test tests[] = {
	{ "a hinted page is the host's before the guest's write of the bell returns",
		gives_back_hinted_pages_while_the_bell_rings },
	{ "hints that waited in the ring are given back unused", leaves_hints_that_waited },
	{ "hints of no command, or of another, are given back unused",
		leaves_hints_of_another_command },
	{ "a pause ends hints, and a saved state knows the last command", a_pause_ends_hints },
	{ "a guest without hints reports in the fourth queue",
		without_hints_the_fourth_queue_reports },
	{ "a guest with hints reports in the fifth", reports_beside_hints },
	{ "the guest's first numbers are seen", has_the_numbers_from_before_it_was_ready },
};
TEST_MAIN(tests)
