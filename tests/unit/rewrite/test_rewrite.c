/* SPDX-License-Identifier: Apache-2.0 */
#include "rewrite/rewrite.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "abi/boot.h"
#include "base/file.h"
#include "test.h"

static const struct rewrite_options forwards = { .forwards = true };

/* Rewrites the program at `path` into a new file, whose name comes back in `result`. */
static struct rewrite_count rewrite_file(const char *path, char result[64])
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	cleanup(free) void *rewritten = NULL;
	size_t size, rewritten_size;
	struct rewrite_count count;
	expect_equal(file_read(AT_FDCWD, path, 512 * MIB, &data, &size, &e), 0);
	int r = rewrite_program(data, size, &forwards, &rewritten, &rewritten_size, &count, &e);
	if (r < 0)
		test_fail("%s: %s", path, e.text);
	strcpy(result, "/tmp/berth-test-rewrite-XXXXXX");
	int fd = mkstemp(result);
	test_removes_at_end(result);
	expect(fd >= 0);
	expect_equal(file_write_all(fd, rewritten, rewritten_size), 0);
	expect_equal(fchmod(fd, 0700), 0);
	close(fd);
	printf("# %s: %u sites, %u by number, %u by follower, %u by leader, %u kept, %u left\n",
		path, count.sites, count.by_number, count.by_follower, count.by_leader, count.kept,
		count.left);
	return count;
}

/* Standard output and status of a command. */
static int run(const char *command, char *output, size_t size)
{
	FILE *pipe = popen(command, "r");
	expect(pipe != NULL);
	size_t length = fread(output, 1, size - 1, pipe);
	output[length] = '\0';
	return pclose(pipe);
}

static void program_runs_as_before(void)
{
	char path[64], before[4096], after[4096];
	struct rewrite_count count = rewrite_file(getenv("PROGRAM"), path);
	expect(count.sites > 50);
	expect_equal(count.left, 0);
	expect_equal(
		count.by_number + count.by_follower + count.by_leader + count.kept, count.sites);
	expect(count.kept >= 2);
	int wanted = run(getenv("PROGRAM"), before, sizeof(before));
	int got = run(path, after, sizeof(after));
	unlink(path);
	expect_text(after, before);
	expect_equal(got, wanted);
	expect_equal(WEXITSTATUS(got), 7);
}

static void stock_busybox_runs_as_before(void)
{
	static const char *const scripts[] = {
		"for i in 1 2 3; do echo $i; done; (exit 3); echo $?",
		"ls -la /etc | busybox sha256sum",
		"trap 'echo trapped' USR1; kill -USR1 $$; echo end",
		"seq 1 5000 | awk '{ s += $1 } END { print s }'",
		"dd if=/dev/zero bs=1 count=100000 2>/dev/null | md5sum",
		"find /etc -name passwd; sleep 0; date +%Y; expr 6 '*' 7",
	};
	char path[64], before[4096], after[4096], command[256];
	if (access("/bin/busybox", X_OK) < 0)
		test_fail("busybox-static is not installed");
	expect_equal(rewrite_file("/bin/busybox", path).left, 0);
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		setenv("SCRIPT", scripts[i], 1);
		snprintf(command, sizeof(command), "bash -c 'exec -a sh %s -c \"$SCRIPT\"'", path);
		int got = run(command, after, sizeof(after));
		int wanted = run(
			"bash -c 'exec -a sh /bin/busybox -c \"$SCRIPT\"'", before, sizeof(before));
		expect_text(after, before);
		expect_equal(got, wanted);
	}
	unlink(path);
}

static void only_what_can_be_rewritten_is(void)
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	size_t size, once_size, twice_size;
	void *once = NULL, *twice = NULL;
	struct rewrite_count count;
	expect_equal(file_read(AT_FDCWD, getenv("PROGRAM"), 512 * MIB, &data, &size, &e), 0);
	expect_equal(rewrite_program(data, size, &forwards, &once, &once_size, &count, &e), 0);
	expect_equal(rewrite_program(once, once_size, &forwards, &twice, &twice_size, &count, &e),
		-ENOEXEC);
	expect_contains(e.text, "already");
	free(once);
	expect_equal(rewrite_program("#!/bin/sh\n", 10, &forwards, &once, &once_size, &count, &e),
		-ENOEXEC);
	/* Cut anywhere, it is refused or stays within its bytes; sanitizers see the rest. */
	for (size_t cut = 64; cut < size; cut += size / 23) {
		cleanup(free) char *part = alloc_array(cut, char);
		memcpy(part, data, cut);
		void *result = NULL;
		int r = rewrite_program(part, cut, &forwards, &result, &once_size, &count, &e);
		expect(r == 0 || r == -ENOEXEC);
		if (r == 0)
			free(result);
	}
}

/* The address of the first or second segment that is loaded becomes another one. */
static void move_segment(char *data, unsigned which, uint64_t address)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	memcpy(&header, data, sizeof(header));
	for (unsigned i = 0; i < header.e_phnum; i++) {
		char *at = data + header.e_phoff + i * sizeof(segment);
		memcpy(&segment, at, sizeof(segment));
		if (segment.p_type != PT_LOAD || which-- > 0)
			continue;
		segment.p_vaddr = address;
		memcpy(at, &segment, sizeof(segment));
		return;
	}
	test_fail("the program has fewer segments");
}

static void odd_segments_are_refused(void)
{
	static const struct {
		unsigned which;
		uint64_t address;
		const char *why;
	} cases[] = {
		{ 1, 0x400000, "overlap, or are not in order" },
		{ 0, 0x7f0000000, "overlap, or are not in order" },
		{ 0, 0x20000, "below 0x21000" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error e = {};
		cleanup(free) char *data = NULL;
		size_t size, result_size;
		struct rewrite_count count;
		void *result;
		expect_equal(
			file_read(AT_FDCWD, getenv("PROGRAM"), 512 * MIB, &data, &size, &e), 0);
		move_segment(data, cases[i].which, cases[i].address);
		expect_equal(
			rewrite_program(data, size, &forwards, &result, &result_size, &count, &e),
			-ENOEXEC);
		expect_contains(e.text, cases[i].why);
	}
}

/* Bytes of the first `size` that were LOCK and are DS, and others that are not what they were. */
static uint32_t count_unlocked(const uint8_t *before, const uint8_t *after, size_t size)
{
	uint32_t count = 0;
	for (size_t i = 0; i < size; i++)
		count += before[i] == 0xf0 && after[i] == 0x3e;
	return count;
}

static void atomic_instructions_are_not_locked(void)
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	cleanup(free) void *alone = NULL, *beside = NULL;
	size_t size, alone_size, beside_size;
	struct rewrite_count count, other;
	expect_equal(file_read(AT_FDCWD, getenv("PROGRAM"), 512 * MIB, &data, &size, &e), 0);
	expect_equal(rewrite_program(data, size, &(struct rewrite_options){}, &alone, &alone_size,
			     &count, &e),
		0);
	expect_equal(rewrite_program(data, size, &forwards, &beside, &beside_size, &other, &e), 0);
	expect(count.locks > 100);
	expect(count_unlocked((uint8_t *)data, alone, size) >= count.locks);
	expect_equal(other.locks, 0);
	expect(count_unlocked((uint8_t *)data, beside, size) < 3); /* parts of jumps */
	static const char constant[] = "not code\xf0\x48\x01\x08";
	expect(memmem(alone, size, constant, sizeof(constant) - 1) != NULL);
}

/* Who has its number just before it calls through the slot of that, others through the first. */
static void numbers_have_slots(void)
{
	static const char below[] =
		"\x48\x8d\x64\x24\x80\xff\x14\x25"; /* lea -128(%rsp), %rsp; call *slot */
	struct error e = {};
	cleanup(free) char *data = NULL;
	cleanup(free) void *result = NULL;
	size_t size, result_size;
	struct rewrite_count count;
	uint32_t own = 0, first = 0;
	expect_equal(file_read(AT_FDCWD, getenv("PROGRAM"), 512 * MIB, &data, &size, &e), 0);
	expect_equal(rewrite_program(data, size, &(struct rewrite_options){}, &result, &result_size,
			     &count, &e),
		0);
	const char *end = (char *)result + result_size;
	for (const char *at = result; (at = memmem(at, (size_t)(end - at), below, 8)); at += 12) {
		uint32_t slot, number;
		memcpy(&slot, at + 8, sizeof(slot));
		memcpy(&number, at - 4, sizeof(number));
		bool is_known = at[-5] == '\xb8' && number < BOOT_SLOTS;
		expect_equal(slot, BOOT_SLOT + (is_known ? 8 * number : 0));
		own += slot != BOOT_SLOT;
		first += slot == BOOT_SLOT;
	}
	expect(own > 50 && own >= count.by_number - 1); /* that of read is the first */
	expect_equal(own + first, count.by_number + count.by_follower + count.by_leader);
}

static Elf64_Shdr table_of_functions(const char *data)
{
	Elf64_Ehdr header;
	Elf64_Shdr section, names;
	memcpy(&header, data, sizeof(header));
	memcpy(&names, data + header.e_shoff + header.e_shstrndx * sizeof(names), sizeof(names));
	for (unsigned i = 0; i < header.e_shnum; i++) {
		memcpy(&section, data + header.e_shoff + i * sizeof(section), sizeof(section));
		if (strcmp(data + names.sh_offset + section.sh_name, ".eh_frame") == 0)
			return section;
	}
	test_fail("there is no table");
}

/* With any word of its start wrong, and any byte of it. */
static void a_wrong_table_harms_nobody(void)
{
	struct error e = {};
	cleanup(free) char *data = NULL;
	size_t size;
	expect_equal(file_read(AT_FDCWD, getenv("PROGRAM"), 512 * MIB, &data, &size, &e), 0);
	Elf64_Shdr table = table_of_functions(data);
	static const uint32_t words[] = { 0, 0x7fffffff, 0xffffffff };
	for (size_t i = 0; i < 12 * ARRAY_SIZE(words); i++) {
		cleanup(free) void *result = NULL;
		size_t result_size;
		struct rewrite_count count;
		char *word = data + table.sh_offset + 2 * (i / ARRAY_SIZE(words)), kept[4];
		memcpy(kept, word, sizeof(kept));
		memcpy(word, &words[i % ARRAY_SIZE(words)], sizeof(kept));
		expect_equal(rewrite_program(data, size, &(struct rewrite_options){}, &result,
				     &result_size, &count, &e),
			0);
		memcpy(word, kept, sizeof(kept));
	}
}

/* Its size goes round the end of the numbers: a page that cannot be read is behind the file. */
static void a_table_without_an_end_is_none(void)
{
	static const char names[] = "\0.eh_frame";
	const size_t size = 0x3000;
	struct error e = {};
	struct rewrite_count count;
	void *result;
	size_t result_size;
	uint8_t *data = mmap(
		NULL, size + 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(data != MAP_FAILED && mprotect(data + size, 0x1000, PROT_NONE) == 0);
	Elf64_Ehdr header = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1,
		.e_shoff = 0x200,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 2,
		.e_shstrndx = 1 };
	/* Further on in the file than in memory. */
	Elf64_Phdr segment = { .p_type = PT_LOAD,
		.p_flags = PF_R | PF_X,
		.p_offset = 0x2000,
		.p_vaddr = 0x1000,
		.p_filesz = 0x1000,
		.p_memsz = 0x1000 };
	Elf64_Shdr sections[] = { { .sh_name = 1, .sh_addr = 0x1000, .sh_size = -0x2000ul },
		{ .sh_offset = 0x400, .sh_size = sizeof(names) } };
	memcpy(data, &header, sizeof(header));
	memcpy(data + header.e_phoff, &segment, sizeof(segment));
	memcpy(data + header.e_shoff, sections, sizeof(sections));
	memcpy(data + sections[1].sh_offset, names, sizeof(names));
	expect_equal(rewrite_program(data, size, &(struct rewrite_options){}, &result, &result_size,
			     &count, &e),
		0);
	expect_equal(count.locks, 0);
	free(result);
	munmap(data, size + 0x1000);
}

static const struct test tests[] = {
	{ "a program with signals, threads and a child runs as before", program_runs_as_before },
	{ "the stock busybox runs as before, no site left", stock_busybox_runs_as_before },
	{ "atomic instructions are not locked, and constants stay",
		atomic_instructions_are_not_locked },
	{ "calls whose number is seen have slots of their own", numbers_have_slots },
	{ "a table whose size goes round harms nobody", a_table_without_an_end_is_none },
	{ "a table of functions that is wrong harms nobody", a_wrong_table_harms_nobody },
	{ "a script, a cut file and a rewritten file are refused", only_what_can_be_rewritten_is },
	{ "segments that overlap, are out of order or too low are refused",
		odd_segments_are_refused },
};
TEST_MAIN(tests)
