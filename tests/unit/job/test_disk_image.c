/* SPDX-License-Identifier: Apache-2.0 */
#include "job/disk_image.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

static int image(const void *bytes, size_t count, off_t at)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	expect(ftruncate(fd, 65536) == 0);
	expect_equal(pwrite(fd, bytes, count, at), count);
	return fd;
}

static void knows_forms(void)
{
	static const struct {
		const char *bytes;
		size_t count;
		off_t at;
		enum image_form form;
	} cases[] = {
		{ "hsqs", 4, 0, IMAGE_SQUASHFS },
		{ "QFI\xfb", 4, 0, IMAGE_QCOW2 },
		{ "\x55\xaa", 2, 510, IMAGE_DISK },
		{ "EFI PART", 8, 512, IMAGE_DISK },
		{ "\x53\xef", 2, 0x438, IMAGE_DISK },
		{ "CD001", 5, 0x8001, IMAGE_DISK },
		{ "ustar", 5, 257, IMAGE_ARCHIVE },
		{ "\x1f\x8b", 2, 0, IMAGE_ARCHIVE },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup(close) int fd = image(cases[i].bytes, cases[i].count, cases[i].at);
		expect_equal(image_form_of(fd), cases[i].form);
	}
}

struct fields {
	uint32_t version, encryption;
	uint64_t backing, size, incompatible;
};

static int qcow(const struct fields *fields)
{
	uint8_t header[80] = "QFI\xfb";
	uint32_t version = htobe32(fields->version), encryption = htobe32(fields->encryption);
	uint64_t backing = htobe64(fields->backing), size = htobe64(fields->size);
	uint64_t incompatible = htobe64(fields->incompatible);
	memcpy(header + 4, &version, 4);
	memcpy(header + 8, &backing, 8);
	memcpy(header + 24, &size, 8);
	memcpy(header + 32, &encryption, 4);
	memcpy(header + 72, &incompatible, 8);
	return image(header, sizeof(header), 0);
}

static void refuses_what_reaches_out(void)
{
	static const struct {
		struct fields fields;
		const char *why;
	} cases[] = {
		{ { 3, 0, 0x100, MIB, 0 }, "backing file" },
		{ { 3, 0, 0, MIB, 4 }, "data in another file" },
		{ { 3, 0, 0, MIB, 2 }, "damaged" },
		{ { 3, 0, 0, MIB, 1 << 20 }, "does not know" },
		{ { 3, 2, 0, MIB, 0 }, "encrypted" },
		{ { 7, 0, 0, MIB, 0 }, "no version" },
		{ { 2, 0, 0, 0, 0 }, "no size" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error e = {};
		uint64_t bytes;
		cleanup(close) int fd = qcow(&cases[i].fields);
		expect_equal(disk_image_check(fd, IMAGE_QCOW2, &bytes, &e), -EINVAL);
		expect_contains(e.text, cases[i].why);
	}
}

static void tells_the_size_inside(void)
{
	const struct fields fields = { 3, 0, 0, 10 * GIB, 1 };
	struct error e = {};
	uint64_t bytes = 0;
	cleanup(close) int fd = qcow(&fields);
	expect_equal(disk_image_check(fd, IMAGE_QCOW2, &bytes, &e), 0);
	expect_equal(bytes, 10 * GIB);
	expect_equal(disk_image_check(fd, IMAGE_DISK, &bytes, &e), 0);
	expect_equal(bytes, 65536);
}

static const struct test tests[] = {
	{ "what a file is, is seen by its marks", knows_forms },
	{ "a qcow2 that names other files, or is damaged, is refused", refuses_what_reaches_out },
	{ "the size of the disk inside is told", tells_the_size_inside },
};
TEST_MAIN(tests)
