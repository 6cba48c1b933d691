/* SPDX-License-Identifier: Apache-2.0 */
#include "tender/snapshot_file.h"

#include "abi/boot.h"
#include "test.h"

#define PAGE 4096u

static const struct snapshot_place place = { .memory_bytes = 4 * MIB,
	.image_bytes = 10 * PAGE + 1 };

static bool may(uint64_t address, uint64_t bytes, uint64_t from, uint32_t kind, uint32_t rights)
{
	const struct snapshot_entry entry = { address, bytes, from, kind, rights };
	bool is_inside;
	return snapshot_check_entry(&entry, &place, &is_inside);
}

static void maps_memory_and_programs(void)
{
	expect(may(SNAPSHOT_MEMORY_AT, 4 * MIB, 0, SNAPSHOT_BYTES, 3));
	expect(may(SNAPSHOT_MEMORY_AT + PAGE, PAGE, 0, SNAPSHOT_NONE, 0));
	expect(may(0x400000, 11 * PAGE, 0, SNAPSHOT_IMAGE, 5));
	expect(may(0x400000, PAGE, 10 * PAGE, SNAPSHOT_IMAGE, 3));
	expect(may(BOOT_SLOT + PAGE, PAGE, 0, SNAPSHOT_BYTES, 1));
}

static void refuses_what_lies_elsewhere(void)
{
	expect(!may(BOOT_SLOT, PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(0, PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(SNAPSHOT_MEMORY_AT - PAGE, 2 * PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(SNAPSHOT_MEMORY_AT + 4 * MIB - PAGE, 2 * PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(SNAPSHOT_IMAGE_AT, PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(UINT64_MAX - PAGE + 1, PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(0x400000, UINT64_MAX, 0, SNAPSHOT_BYTES, 3));
	expect(!may(0x400001, PAGE, 0, SNAPSHOT_BYTES, 3));
	expect(!may(0x400000, 0, 0, SNAPSHOT_BYTES, 3));
	expect(!may(0x400000, 12 * PAGE, 0, SNAPSHOT_IMAGE, 1));
	expect(!may(0x400000, PAGE, 12 * PAGE, SNAPSHOT_IMAGE, 1));
}

static void refuses_rights_that_nothing_has(void)
{
	expect(!may(0x400000, PAGE, 0, SNAPSHOT_BYTES, 5));
	expect(!may(SNAPSHOT_MEMORY_AT, PAGE, 0, SNAPSHOT_NONE, 4));
	expect(!may(0x400000, PAGE, 0, SNAPSHOT_IMAGE, 7));
	expect(!may(0x400000, PAGE, 0, SNAPSHOT_BYTES, 8 | 3));
	expect(!may(0x400000, PAGE, 0, SNAPSHOT_NONE + 1, 3));
}

static void says_what_it_does_not_find_again(void)
{
	struct error e = {};
	struct snapshot_place now = place;
	expect(snapshot_check_place(&place, &now, &e) == 0);
	now.volume_bytes = MIB; /* more than there was */
	expect(snapshot_check_place(&place, &now, &e) == 0);
	now.image_time = 1;
	expect(snapshot_check_place(&place, &now, &e) < 0);
	expect_text(e.text, "it was made with another image");
	now = place;
	now.vdso = 1;
	expect(snapshot_check_place(&place, &now, &e) < 0);
	expect_text(e.text, "it was made under another kernel");
	struct snapshot_place was = place;
	was.clock_ns = 1;
	expect(snapshot_check_place(&was, &place, &e) < 0);
	expect_text(e.text, "it was made before the host was started anew");
	was = place;
	was.volume_bytes = 1;
	expect(snapshot_check_place(&was, &place, &e) < 0);
	expect_text(e.text, "its storage was larger");
}

static void says_which_engine_made_it(void)
{
	static const struct snapshot_build build = { 1, 2, 3, 4 };
	struct snapshot_head head = { .magic = SNAPSHOT_MAGIC,
		.version = SNAPSHOT_VERSION,
		.build = build,
		.place = place,
		.engine = SNAPSHOT_KVM };
	struct error e = {};
	expect_equal(snapshot_check_head(&head, &build, SNAPSHOT_KVM, &e), 0);
	expect(snapshot_check_head(&head, &build, SNAPSHOT_PROCESS, &e) < 0);
	expect_text(
		e.text, "it was made under the engine kvm, this one is process: set berth.engine");
	head.engine = SNAPSHOT_ENGINES;
	expect(snapshot_check_head(&head, &build, SNAPSHOT_KVM, &e) < 0);
	expect_text(e.text, "it is of an engine that there is not");
}

static const struct test tests[] = {
	{ "memory, and a program where it is linked to, are mapped", maps_memory_and_programs },
	{ "what lies elsewhere is refused", refuses_what_lies_elsewhere },
	{ "rights that nothing has are refused", refuses_rights_that_nothing_has },
	{ "a state is of one engine", says_which_engine_made_it },
	{ "what is not found again is said", says_what_it_does_not_find_again },
};
TEST_MAIN(tests)
