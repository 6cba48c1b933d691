/* SPDX-License-Identifier: Apache-2.0 */
#include "tender/solo5.h"

#include <errno.h>
#include <fcntl.h>

#include "test.h"

/* An ELF file with one segment and the two notes, as a linker would lay it out. */
struct image {
	Elf64_Ehdr header;
	Elf64_Phdr segments[2];
	struct {
		Elf64_Nhdr head;
		char name[8];
		struct solo5_abi abi;
	} abi;
	struct {
		Elf64_Nhdr head;
		char name[8];
		char padding[SOLO5_MANIFEST_PADDING];
		uint32_t version, count;
		struct solo5_device devices[2];
	} __attribute__((__packed__)) manifest;
};

static struct image good(void)
{
	struct image image = {
		.header = {
			.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_entry = 0x100000,
			.e_phoff = offsetof(struct image, segments),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2,
		},
		.segments = {
			{ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x100000,
				.p_filesz = 64, .p_memsz = 64 },
			{ .p_type = PT_NOTE, .p_offset = offsetof(struct image, abi),
				.p_filesz = sizeof(struct image) - offsetof(struct image, abi) },
		},
		.abi = {
			.head = { sizeof("Solo5"), sizeof(struct solo5_abi), SOLO5_NOTE_ABI },
			.name = "Solo5",
			.abi = { .target = SOLO5_TARGET_SPT, .version = SOLO5_ABI_VERSION },
		},
		.manifest = {
			.head = { sizeof("Solo5"),
				sizeof(image.manifest) - offsetof(struct image, manifest.padding) +
					offsetof(struct image, manifest),
				SOLO5_NOTE_MANIFEST },
			.name = "Solo5",
			.version = SOLO5_MANIFEST_VERSION,
			.count = 2,
			.devices = { { .type = SOLO5_DEVICE_RESERVED },
				{ .name = "storage", .type = SOLO5_DEVICE_BLOCK,
					.is_attached = 1, .host = 99 } },
		},
	};
	return image;
}

static int open_image(const struct image *image, size_t size, struct solo5 *ret, struct error *e)
{
	struct elf elf;
	int r = elf_open(image, size, &elf, e);
	return r < 0 ? r : solo5_open(&elf, SOLO5_TARGET_SPT, ret, e);
}

static void opens_and_forgets_what_the_file_claims(void)
{
	struct image image = good();
	struct solo5 solo5;
	struct error e = {};
	expect_equal(open_image(&image, sizeof(image), &solo5, &e), 0);
	expect_equal(solo5.manifest.count, 2);
	expect_text(solo5.manifest.devices[1].name, "storage");
	expect_equal(solo5.manifest.devices[1].is_attached, 0);
	expect_equal(solo5.manifest.devices[1].host, 0);
	expect_equal(solo5_finish(&solo5, &e), -EINVAL);
	expect_contains(e.text, "storage is declared but not attached");
}

static void every_truncation_is_refused(void)
{
	struct image image = good();
	for (size_t size = 0; size < sizeof(image); size++) {
		/* A copy of that size, so that a reader who goes too far is caught. */
		cleanup(free) char *part = alloc_array(size, char);
		memcpy(part, &image, size);
		struct solo5 solo5;
		struct error e = {};
		expect_equal(open_image((void *)part, size, &solo5, &e), -ENOEXEC);
		expect(e.text[0] != '\0');
	}
}

static void refuses(void (*spoil)(struct image *image), const char *sentence)
{
	struct image image = good();
	spoil(&image);
	struct solo5 solo5;
	struct error e = {};
	expect_equal(open_image(&image, sizeof(image), &solo5, &e), -ENOEXEC);
	expect_contains(e.text, sentence);
}

static void make_arm(struct image *image)
{
	image->header.e_machine = EM_AARCH64;
}
static void make_hvt(struct image *image)
{
	image->abi.abi.target = SOLO5_TARGET_HVT;
}
static void make_future(struct image *image)
{
	image->abi.abi.version = 3;
}
static void make_many(struct image *image)
{
	image->manifest.count = UINT32_MAX;
}
static void make_type(struct image *image)
{
	image->manifest.devices[1].type = 7;
}
static void make_endless_name(struct image *image)
{
	memset(image->manifest.devices[1].name, 'x', SOLO5_NAME_SIZE);
}
static void make_strange_name(struct image *image)
{
	strcpy(image->manifest.devices[1].name, "a/b");
}
static void make_high(struct image *image)
{
	image->segments[0].p_vaddr = UINT64_MAX - 8;
}
static void make_outside(struct image *image)
{
	image->segments[0].p_offset = UINT64_MAX - 8;
}
static void make_shrunk(struct image *image)
{
	image->segments[0].p_memsz = 8;
}
static void make_nameless(struct image *image)
{
	image->abi.head.n_namesz = UINT32_MAX;
}

static void what_is_wrong_is_said(void)
{
	refuses(make_arm, "not for x86-64");
	refuses(make_hvt, "it is for Solo5 target 1, which is not run here");
	refuses(make_future, "version 3");
	refuses(make_many, "entries");
	refuses(make_type, "unknown type 7");
	refuses(make_endless_name, "no proper name");
	refuses(make_strange_name, "no proper name");
	refuses(make_high, "outside the address space");
	refuses(make_outside, "outside the file");
	refuses(make_shrunk, "larger in the file");
	refuses(make_nameless, "no Solo5 ABI note");
}

static void options_are_strict(void)
{
	struct image image = good();
	struct solo5 solo5;
	struct error e = {};
	expect_equal(open_image(&image, sizeof(image), &solo5, &e), 0);
	expect_equal(solo5_attach_block(&solo5, "storage", &e), -EINVAL);
	expect_equal(solo5_attach_block(&solo5, "=x", &e), -EINVAL);
	expect_equal(solo5_attach_block(&solo5, "store=/dev/null", &e), -ENOENT);
	expect_contains(e.text, "no block device store");
	expect_equal(solo5_attach_block(&solo5, "storage=/nonexistent", &e), -ENOENT);
	expect_equal(solo5_attach_net(&solo5, "storage=tap0", &e), -ENOENT);
	expect_equal(solo5_set_block_size(&solo5, "storage=521", &e), -EINVAL);
	expect_equal(solo5_set_block_size(&solo5, "storage=65536", &e), -EINVAL);
	expect_equal(solo5_set_block_size(&solo5, "storage=4096", &e), 0);
}

static void backing_file_is_a_whole_number_of_blocks(void)
{
	char path[] = "/tmp/berth-test-solo5-XXXXXX";
	cleanup(close) int fd = mkstemp(path);
	test_removes_at_end(path);
	expect(fd >= 0);
	expect_equal(ftruncate(fd, 6144), 0);
	struct image image = good();
	struct solo5 solo5;
	struct error e = {};
	cleanup(free) char *option = alloc_printf("storage=%s", path);
	expect_equal(open_image(&image, sizeof(image), &solo5, &e), 0);
	expect_equal(solo5_attach_block(&solo5, option, &e), 0);
	expect_equal(solo5_set_block_size(&solo5, "storage=4096", &e), 0);
	expect_equal(solo5_finish(&solo5, &e), -EINVAL);
	expect_equal(solo5_set_block_size(&solo5, "storage=2048", &e), 0);
	expect_equal(solo5_finish(&solo5, &e), 0);
	expect_equal(solo5.manifest.devices[1].block.capacity_bytes, 6144);
	unlink(path);
}

static const struct test tests[] = {
	{ "a unikernel opens; what its file claims of the host is forgotten",
		opens_and_forgets_what_the_file_claims },
	{ "a file cut anywhere is refused", every_truncation_is_refused },
	{ "what is wrong with a file is said", what_is_wrong_is_said },
	{ "device options are strict and name the device", options_are_strict },
	{ "a backing file is a whole number of blocks", backing_file_is_a_whole_number_of_blocks },
};
TEST_MAIN(tests)
