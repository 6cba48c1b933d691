/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/guest.h"

#include <errno.h>
#include <string.h>

#include "test.h"

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

static const struct test tests[] = {
	{ "a slice outside of memory, over its end or of ROM for writing is refused",
		refuses_slices_outside },
	{ "copies cross regions that touch, or do nothing at all", copies_across_regions },
	{ "regions that overlap or are no whole pages are refused", refuses_overlaps },
	{ "a write to a line that holds decoded code is told", tells_of_writes_to_watched_lines },
};

TEST_MAIN(tests)
