/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/guest.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"
#include "vmm/large.h"

static struct guest *guest_of_two_regions(void)
{
	struct guest *guest = NULL;
	expect_equal(guest_new(&guest, NULL), 0);
	expect_equal(guest_add(guest, 0, 64 * KIB, GUEST_RAM, NULL), 0);
	expect_equal(guest_add(guest, 64 * KIB, 64 * KIB, GUEST_ROM, NULL), 0);
	return guest;
}

static void refuses_slices_outside(void)
{
	cleanup(guest_free) struct guest *guest = guest_of_two_regions();
	expect(guest_slice(guest, 0, 64 * KIB));
	expect(!guest_slice(guest, 1, 64 * KIB));
	expect(!guest_slice(guest, 64 * KIB, 1));
	expect(guest_slice_const(guest, 64 * KIB, 1));
	expect(!guest_slice_const(guest, 128 * KIB, 1));
	expect(!guest_slice(guest, UINT64_MAX, 2));
	expect(!guest_slice(guest, 8, UINT64_MAX - 4));
}

static void copies_across_regions(void)
{
	cleanup(guest_free) struct guest *guest = guest_of_two_regions();
	char text[8] = "";
	expect_equal(guest_load(guest, 64 * KIB - 3, "abcdef", 7), 0);
	expect_equal(guest_read(guest, 64 * KIB - 3, text, 7), 0);
	expect_text(text, "abcdef");
	expect_equal(guest_write(guest, 64 * KIB - 3, "xyzxyz", 7), -EFAULT);
	expect_equal(guest_read(guest, 64 * KIB - 3, text, 7), 0);
	expect_text(text, "abcdef");
	expect_equal(guest_read(guest, 128 * KIB - 3, text, 7), -EFAULT);
}

static void refuses_overlaps(void)
{
	cleanup(guest_free) struct guest *guest = guest_of_two_regions();
	struct error e = {};
	expect_equal(guest_add(guest, 60 * KIB, 64 * KIB, GUEST_RAM, &e), -EINVAL);
	expect_contains(e.text, "two regions");
	expect_equal(guest_add(guest, 1, 4096, GUEST_RAM, &e), -EINVAL);
	expect_equal(guest_add(guest, GIB, 0, GUEST_RAM, &e), -EINVAL);
	expect_equal(guest_add(guest, UINT64_MAX - 4095, 4096, GUEST_RAM, &e), -EINVAL);
}

static uint64_t watched_at;

static void watched(void *data, guest_addr at, uint64_t bytes)
{
	(void)data;
	(void)bytes;
	watched_at = at;
}

static void tells_of_writes_to_watched_lines(void)
{
	cleanup(guest_free) struct guest *guest = guest_of_two_regions();
	guest->watch = watched;
	atomic_store(&guest->regions[0].watched[2], UINT64_C(1) << 3);
	watched_at = 1;
	expect_equal(guest_write(guest, 0x2000, "abc", 3), 0);
	expect_equal(watched_at, 1);
	expect_equal(guest_write(guest, 0x20be, "abc", 3), 0);
	expect_equal(watched_at, 0x2000);
}

static uint64_t pages_there(const struct guest *guest, uint64_t large)
{
	unsigned char there[LARGE_BYTES / GUEST_PAGE];
	uint64_t count = 0;
	expect_equal(mincore(guest->regions[0].host + large * LARGE_BYTES, LARGE_BYTES, there), 0);
	for (size_t i = 0; i < sizeof(there); i++)
		count += there[i] & 1;
	return count;
}

static void use(struct guest *guest, uint64_t large, uint32_t pages)
{
	for (uint64_t i = 0; i < pages; i++) {
		guest_addr at = large * LARGE_BYTES + 2 * i * GUEST_PAGE;
		expect_equal(guest_write(guest, at, &i, sizeof(i)), 0);
		guest_used(guest, at);
	}
}

static void puts_what_is_used_into_large_pages(void)
{
	cleanup(guest_free) struct guest *guest = NULL;
	uint64_t value = 0;
	expect_equal(guest_new(&guest, NULL), 0);
	expect_equal(guest_add(guest, 0, 5 * LARGE_BYTES, GUEST_RAM, NULL), 0);
	expect_equal((uintptr_t)guest->regions[0].host % LARGE_BYTES, 0);
	use(guest, 0, 63);
	expect_equal(pages_there(guest, 0), 63);
	/* Given back, if only in part; a file; the others are not asked. */
	expect_equal(guest_give_back(guest, LARGE_BYTES + GUEST_PAGE, GUEST_PAGE), 0);
	use(guest, 1, 100);
	expect_equal(pages_there(guest, 1), 100);
	cleanup(close) int fd = memfd_create("file", MFD_CLOEXEC);
	expect(fd >= 0 && ftruncate(fd, GUEST_PAGE) == 0);
	expect_equal(guest_map(guest, 2 * LARGE_BYTES + GUEST_PAGE, GUEST_PAGE, fd,
			     GUEST_MAP_SHARED, NULL),
		0);
	use(guest, 2, 100);
	expect_equal(pages_there(guest, 2), 100);
	use(guest, 0, 64);
	if (pages_there(guest, 0) == 64)
		test_skip("this kernel has no large pages for shared memory");
	expect_equal(pages_there(guest, 0), LARGE_BYTES / GUEST_PAGE);
	expect_equal(pages_there(guest, 3), 0);
	expect_equal(guest_give_back(guest, LARGE_BYTES, LARGE_BYTES), 0);
	use(guest, 1, 64);
	expect_equal(pages_there(guest, 1), LARGE_BYTES / GUEST_PAGE);
	for (uint64_t i = 0; i < 64; i++) {
		expect_equal(guest_read(guest, 2 * i * GUEST_PAGE, &value, sizeof(value)), 0);
		expect_equal(value, i);
		expect_equal(guest_read(guest, (2 * i + 1) * GUEST_PAGE, &value, sizeof(value)), 0);
		expect_equal(value, 0);
	}
}

static void keeps_regions_at_their_place_in_large_pages(void)
{
	cleanup(guest_free) struct guest *guest = guest_of_two_regions();
	expect_equal(guest_add(guest, GIB, LARGE_BYTES, GUEST_RAM, NULL), 0);
	for (uint32_t i = 0; i < guest->region_count; i++)
		expect_equal((uintptr_t)guest->regions[i].host % LARGE_BYTES,
			guest->regions[i].file_offset % LARGE_BYTES);
	/* No whole large page is in one of these, nor is anything outside of them. */
	for (uint32_t i = 0; i < 200; i++) {
		guest_used(guest, 0);
		guest_used(guest, GIB);
		guest_used(guest, GIB + LARGE_BYTES - 1);
		guest_used(guest, GIB + LARGE_BYTES);
	}
	expect_equal(guest_give_back(guest, GIB, LARGE_BYTES), 0);
	expect_equal(guest_give_back(guest, 2 * GIB, 1), -EINVAL);
}

/* Of a file of a page and a byte: two pages, each with its place in the file. */
static void has_one_image(void)
{
	cleanup(guest_free) struct guest *guest = guest_of_two_regions();
	const struct guest_region *region = guest_region(guest, 0);
	cleanup(close) int fd = memfd_create("image", MFD_CLOEXEC);
	uint64_t offset = 0, at = 8 * GUEST_PAGE;
	expect(fd >= 0 && ftruncate(fd, (off_t)GUEST_PAGE + 1) == 0);
	expect_equal(guest_map(guest, 0, GUEST_PAGE, fd, GUEST_MAP_SHARED, NULL), 0);
	expect_equal(guest_map(guest, at, GUEST_PAGE + 1, fd, GUEST_MAP_READ, NULL), 0);
	expect(guest->image_fd >= 0);
	expect(guest_in_image(guest, at + GUEST_PAGE, &offset));
	expect_equal(offset, GUEST_PAGE);
	expect(guest_is_rom(guest, region, at) && !guest_in_memfd(guest, at));
	expect(!guest_in_image(guest, at - GUEST_PAGE, &offset));
	expect(!guest_in_image(guest, at + 2 * GUEST_PAGE, &offset));
	/* The other file is the guest's to write. */
	expect(!guest_in_image(guest, 0, &offset) && !guest_is_rom(guest, region, 0));
	expect_equal(guest_map(guest, at + 4 * GUEST_PAGE, 1, fd, GUEST_MAP_READ, NULL), -EEXIST);
	expect(guest_in_memfd(guest, at + 4 * GUEST_PAGE));
	/* A reset maps it once more. */
	expect_equal(guest_map(guest, at, GUEST_PAGE + 1, fd, GUEST_MAP_READ, NULL), 0);
	expect(guest_in_image(guest, at, &offset));
}

static const struct test tests[] = {
	{ "a slice outside of memory, over its end or of ROM for writing is refused",
		refuses_slices_outside },
	{ "copies cross regions that touch, or do nothing at all", copies_across_regions },
	{ "regions that overlap or are no whole pages are refused", refuses_overlaps },
	{ "what is used much is put into large pages of the host, and nothing else",
		puts_what_is_used_into_large_pages },
	{ "a region stands in the host's large pages as in its file",
		keeps_regions_at_their_place_in_large_pages },
	{ "of one file the guest only reads", has_one_image },
	{ "a write to a line that holds decoded code is told", tells_of_writes_to_watched_lines },
};

TEST_MAIN(tests)
