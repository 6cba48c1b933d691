/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#define FILE_BYTES (40 * GUEST_PAGE)

/* Two pages and a bit, far apart, and a hole at the end. */
static int sparse_file(uint8_t want[FILE_BYTES])
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	memset(want, 0, FILE_BYTES);
	memset(want, 'a', GUEST_PAGE);
	memset(want + 20 * GUEST_PAGE, 'b', GUEST_PAGE);
	memcpy(want + 30 * GUEST_PAGE + 77, "middle", 6);
	expect_equal(ftruncate(fd, (off_t)FILE_BYTES), 0);
	expect_equal(pwrite(fd, want, GUEST_PAGE, 0), (ssize_t)GUEST_PAGE);
	expect_equal(pwrite(fd, want + 20 * GUEST_PAGE, GUEST_PAGE, 20 * GUEST_PAGE),
		(ssize_t)GUEST_PAGE);
	expect_equal(pwrite(fd, "middle", 6, 30 * GUEST_PAGE + 77), 6);
	return fd;
}

static struct guest *some_guest(void)
{
	struct guest *guest = NULL;
	expect_equal(guest_new(&guest, NULL), 0);
	expect_equal(guest_add(guest, 0, MIB, GUEST_RAM, NULL), 0);
	expect_equal(guest_add(guest, MIB, MIB, GUEST_RAM, NULL), 0);
	return guest;
}

static void leaves_holes_alone(void)
{
	static uint8_t want[FILE_BYTES];
	cleanup(close) int fd = sparse_file(want);
	cleanup(guest_free) struct guest *guest = some_guest();
	struct image image;
	struct stat status;
	expect_equal(image_init(&image, fd, "kernel", NULL), 0);
	expect_equal(image_load(&image, 0, FILE_BYTES, guest, MIB + 2 * GUEST_PAGE, NULL), 0);
	expect_equal(fstat(guest->memfd, &status), 0);
	expect((uint64_t)status.st_blocks * 512 <= 4 * GUEST_PAGE);
	const uint8_t *got = guest_slice(guest, MIB + 2 * GUEST_PAGE, FILE_BYTES);
	expect(memcmp(got, want, FILE_BYTES) == 0);
}

static void loads_any_part_to_any_place(void)
{
	static uint8_t want[FILE_BYTES], got[FILE_BYTES + 1];
	cleanup(close) int fd = sparse_file(want);
	struct image image;
	expect_equal(image_init(&image, fd, "kernel", NULL), 0);
	static const struct {
		uint64_t offset, bytes;
		guest_addr at;
	} parts[] = { { 5, 3 * GUEST_PAGE, 7 }, { 20 * GUEST_PAGE - 9, 12 * GUEST_PAGE, 0x1003 },
		{ 30 * GUEST_PAGE + 79, 1, MIB - 1 }, { 3, 1, 0 },
		{ 21 * GUEST_PAGE, 2 * GUEST_PAGE, MIB }, { 0, FILE_BYTES, MIB + 1 },
		{ 4096, 0, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		cleanup(guest_free) struct guest *guest = some_guest();
		expect_equal(image_load(&image, parts[i].offset, parts[i].bytes, guest, parts[i].at,
				     NULL),
			0);
		expect_equal(guest_read(guest, parts[i].at, got, parts[i].bytes + 1), 0);
		expect(memcmp(got, want + parts[i].offset, parts[i].bytes) == 0);
		expect_equal(got[parts[i].bytes], 0);
	}
}

static void says_what_does_not_fit(void)
{
	static uint8_t want[FILE_BYTES];
	cleanup(close) int fd = sparse_file(want);
	cleanup(guest_free) struct guest *guest = some_guest();
	struct image image;
	struct error e = {};
	expect_equal(image_init(&image, fd, "kernel", NULL), 0);
	expect_equal(image_load(&image, 1, FILE_BYTES, guest, 0, &e), -EINVAL);
	expect_contains(e.text, "kernel: it is cut off");
	expect_equal(image_load(&image, 0, FILE_BYTES, guest, MIB - 1, &e), -EINVAL);
	expect_contains(e.text, "do not fit");
	expect_equal(ftruncate(fd, 10 * GUEST_PAGE), 0);
	expect_equal(image_load(&image, 0, FILE_BYTES, guest, 0, &e), -EINVAL);
	expect_contains(e.text, "it became shorter");
	expect_equal(image_load(&image, 12 * GUEST_PAGE, 1, guest, 0, &e), -EINVAL);
	expect_contains(e.text, "it became shorter");
}

static const struct test tests[] = {
	{ "holes of a file take no memory of the guest", leaves_holes_alone },
	{ "any part of a file comes to any place, and nothing behind it",
		loads_any_part_to_any_place },
	{ "what does not fit, is cut off or became shorter is said", says_what_does_not_fit },
};

TEST_MAIN(tests)
