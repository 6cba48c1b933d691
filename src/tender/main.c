/* SPDX-License-Identifier: Apache-2.0 */
/*
 * berth-tender - loads a unikernel into this process, locks the process, and lets it run.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "rewrite/rewrite.h"
#include "tender/card.h"
#include "tender/hvt.h"
#include "tender/machine.h"
#include "tender/process.h"
#include "tender/spt.h"

#define KERNEL_BYTES_MAX (512 * MIB)
#define MEMORY_MIB       512

static const char usage[] =
	"usage: berth-tender [OPTION...] [--] UNIKERNEL [ARGUMENT...]\n"
	"       berth-tender --build ROOTDIR PROGRAM IMAGE [WORD...]\n"
	"       berth-tender [OPTION...] --root=IMAGE [--] [WORD...]\n"
	"       berth-tender run PLAN      as berthd's runner of one unikernel\n"
	"  --build                        make an image of a directory, with PROGRAM and what that loads\n"
	"  --root=IMAGE                   run the program of such an image; WORDs replace its own\n"
	"  --engine=process|kvm           what runs it (process)\n"
	"  --explain-engine               what costs less on this host, as it was measured\n"
	"  --verbose                      say at the end which system calls the program missed\n" CARD_USAGE
	"  --volume=FILE                  its storage: a file or device with ext2 (mke2fs -b 4096)\n"
	"  --snapshot=FILE                write it there when it first waits, and end\n"
	"  --from=FILE                    go on from there: the same --root, and no program\n"
	"  --mem=MIB                      memory of the unikernel (512)\n"
	"  --block:NAME=FILE              attach FILE as its block device NAME\n"
	"  --block-sector-size:NAME=N     its block size (512)\n"
	"  --net:NAME=TAP                 attach the tap interface, or the descriptor @N\n"
	"  --net-mac:NAME=MAC             its address (random)\n"
	"  --ring=auto|0|3                where a unikernel of the target hvt runs (auto: measured)\n"
	"  --version, --help\n";

/* `ret_fd` may be NULL: then the file does not stay open. */
static int map_file(
	const char *path, const void **ret, size_t *ret_size, int *ret_fd, struct error *e)
{
	cleanup(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0)
		return error_errno(e, "open");
	if (!S_ISREG(status.st_mode) || status.st_size == 0)
		return error_set(e, -ENOEXEC, "it is no file with content");
	if ((uint64_t)status.st_size > KERNEL_BYTES_MAX)
		return error_set(
			e, -E2BIG, "it has more than %d MiB", (int)(KERNEL_BYTES_MAX / MIB));
	void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED)
		return error_errno(e, "map");
	*ret = data;
	*ret_size = (size_t)status.st_size;
	if (ret_fd)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The one thing a program that was made for the library OS has, and a Solo5 unikernel has not. */
static bool is_rewritten(const struct elf *elf)
{
	for (uint32_t i = 0; i < elf->segment_count; i++)
		if (elf->segments[i].p_type == PT_BERTH_SLOT)
			return true;
	return false;
}

static int take_option(
	struct solo5 *solo5, const char *option, uint64_t *memory_bytes, struct error *e)
{
	static const struct {
		const char *start;
		int (*take)(struct solo5 *solo5, const char *option, struct error *e);
	} options[] = {
		{ "--block:", solo5_attach_block },
		{ "--block-sector-size:", solo5_set_block_size },
		{ "--net:", solo5_attach_net },
		{ "--net-mac:", solo5_set_mac },
	};
	uint64_t mib;
	int r = -EINVAL;
	if (text_starts(option, "--mem=")) {
		if (text_to_u64(option + strlen("--mem="), &mib) < 0 ||
			mib < SPT_MEMORY_MIN / MIB || mib > SPT_MEMORY_MAX / MIB)
			return error_set(e, -EINVAL, "%s: from %d to %d MiB", option,
				(int)(SPT_MEMORY_MIN / MIB), (int)(SPT_MEMORY_MAX / MIB));
		*memory_bytes = mib * MIB;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!text_starts(option, options[i].start))
			continue;
		r = options[i].take(solo5, option + strlen(options[i].start), e);
		return r < 0 ? error_prefix(e, r, "%.*s", (int)strlen(options[i].start) - 1,
				       options[i].start)
			     : 0;
	}
	return error_set(e, r, "there is no option %s; see --help", option);
}

/* The index of the unikernel's word: the first that is no option. */
static int find_unikernel(int count, char **words)
{
	int i = 1;
	while (i < count && words[i][0] == '-' && !text_equal(words[i], "--"))
		i++;
	return i < count && text_equal(words[i], "--") ? i + 1 : i;
}

static uint32_t count_words(char **words)
{
	uint32_t count = 0;
	while (words[count])
		count++;
	return count;
}

/* What the options say of a program for the library OS. */
struct program_options {
	const char *root, *volume, *snapshot, *from;
	bool is_verbose, is_machine;
	uint64_t memory_bytes;
	enum hvt_ring ring;
	struct card card;
};

static int take_ring(const char *text, enum hvt_ring *ret, struct error *e)
{
	static const char *const names[] = { "auto", "0", "3" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (text_equal(text, names[i])) {
			*ret = (enum hvt_ring)i;
			return 0;
		}
	}
	return error_set(e, -EINVAL, "--ring: \"%.20s\" is none of auto, 0, 3", text);
}

static int take_engine(const char *text, struct program_options *options, struct error *e)
{
	options->is_machine = text_equal(text, "kvm");
	return options->is_machine || text_equal(text, "process")
		? 0
		: error_set(e, -EINVAL, "--engine: \"%.20s\" is none of process, kvm", text);
}

static int take_options(int end, char **words, struct solo5 *solo5, struct program_options *options,
	struct error *e)
{
	for (int i = 1; i < end && !text_equal(words[i], "--"); i++) {
		if (text_starts(words[i], "--root=")) {
			options->root = words[i] + strlen("--root=");
			continue;
		}
		if (text_starts(words[i], "--engine=")) {
			int r = take_engine(words[i] + strlen("--engine="), options, e);
			if (r < 0)
				return r;
			continue;
		}
		if (text_starts(words[i], "--volume=")) {
			options->volume = words[i] + strlen("--volume=");
			continue;
		}
		if (text_starts(words[i], "--snapshot=")) {
			options->snapshot = words[i] + strlen("--snapshot=");
			continue;
		}
		if (text_starts(words[i], "--from=")) {
			options->from = words[i] + strlen("--from=");
			continue;
		}
		if (text_starts(words[i], "--ring=")) {
			int r = take_ring(words[i] + strlen("--ring="), &options->ring, e);
			if (r < 0)
				return r;
			continue;
		}
		if (text_equal(words[i], "--verbose")) {
			options->is_verbose = true;
			continue;
		}
		int r = card_take_option(&options->card, words[i], e);
		if (r == -ENOENT)
			r = take_option(solo5, words[i], &options->memory_bytes, e);
		if (r < 0)
			return r;
	}
	return card_finish(&options->card, e);
}

static bool has_root(int end, char **words)
{
	for (int i = 1; i < end; i++)
		if (text_starts(words[i], "--root="))
			return true;
	return false;
}

struct snapshot {
	int to_fd, from_fd;
	const void *root; /* the image where a snapshot wants it */
	struct snapshot_place place;
};

static int open_snapshot(const struct program_options *options, const void *root, size_t root_bytes,
	int root_fd, struct snapshot *ret, struct error *e)
{
	struct stat status;
	if (!options->snapshot && !options->from)
		return 0;
	if (!root || fstat(root_fd, &status) < 0)
		return error_set(e, -EINVAL, "a snapshot wants --root");
	if (options->volume)
		return error_set(e, -EOPNOTSUPP, "a snapshot has no volume");
	if (options->snapshot && options->card.fd)
		return error_set(e, -EOPNOTSUPP,
			"a snapshot is written without a card; what starts from it may have one");
	ret->root = mremap((void *)(uintptr_t)root, root_bytes, root_bytes,
		MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(uintptr_t)SNAPSHOT_IMAGE_AT);
	if (ret->root == MAP_FAILED)
		return error_errno(e, "move the image");
	if (options->snapshot) {
		ret->to_fd = open(options->snapshot, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (ret->to_fd < 0)
			return error_errno(e, "make %s", options->snapshot);
	}
	if (options->from) {
		ret->from_fd = open(options->from, O_RDONLY | O_CLOEXEC);
		if (ret->from_fd < 0)
			return error_errno(e, "open %s", options->from);
		int r = snapshot_read(ret->from_fd, &ret->place, e);
		if (r < 0)
			return error_prefix(e, r, "%s", options->from);
	}
	ret->place.image_bytes = root_bytes;
	ret->place.image_time =
		(uint64_t)status.st_mtim.tv_sec * NS_PER_SEC + (uint64_t)status.st_mtim.tv_nsec;
	return 0;
}

static int run_in_machine(const struct unikernel_options *options, struct error *e)
{
	int kvm;
	if (!options->root)
		return error_set(e, -EINVAL, "--engine=kvm: --root=IMAGE is wanted");
	if (options->to_fd || options->from_fd)
		return error_set(
			e, -EOPNOTSUPP, "--engine=kvm: snapshots are of the engine process");
	int r = machine_probe(&kvm, e);
	return r < 0 ? r : machine_run(kvm, options, e);
}

/* A program from a file, or from the root's image if `data` is NULL. */
static int run_program(const struct program_options *options, const void *data, size_t size,
	char **words, int count, struct error *e)
{
	const void *root = NULL;
	size_t root_bytes = 0;
	int root_fd = 0;
	uint64_t memory_bytes = options->memory_bytes;
	if (options->root) {
		int r = map_file(options->root, &root, &root_bytes, &root_fd, e);
		if (r < 0)
			return error_prefix(e, r, "%s", options->root);
	}
	cleanup(close) int volume =
		options->volume ? open(options->volume, O_RDWR | O_CLOEXEC) : -1;
	off_t volume_bytes = volume < 0 ? 0 : lseek(volume, 0, SEEK_END);
	if (options->volume && (volume < 0 || volume_bytes < 0))
		return error_errno(e, "open %s", options->volume);
	struct snapshot snapshot = {};
	int r = open_snapshot(options, root, root_bytes, root_fd, &snapshot, e);
	if (r < 0)
		return r;
	if (options->from)
		memory_bytes = snapshot.place.memory_bytes;
	const struct unikernel_options given = { .memory_bytes = memory_bytes,
		.to_fd = snapshot.to_fd,
		.from_fd = snapshot.from_fd,
		.place = snapshot.place,
		.arguments = words,
		.argument_count = (uint32_t)count,
		.environment = environ,
		.environment_count = count_words(environ),
		.root = snapshot.root ?: root,
		.root_bytes = root_bytes,
		.root_fd = root_fd,
		.volume_fd = volume < 0 ? 0 : volume,
		.volume_bytes = (uint64_t)volume_bytes,
		.card = &options->card,
		.is_verbose = options->is_verbose };
	if (!options->is_machine)
		return process_run(data, size, &given, e);
	return run_in_machine(&given, e);
}

static int run_solo5(struct solo5 *solo5, const struct program_options *options, char **words,
	int count, struct error *e)
{
	uint64_t memory_bytes = options->memory_bytes;
	int r = solo5_finish(solo5, e);
	if (r < 0)
		return r;
	cleanup(text_done) struct text line = {};
	for (int i = 0; i < count; i++)
		text_printf(&line, "%s%s", i > 0 ? " " : "", words[i]);
	if (solo5->target == SOLO5_TARGET_SPT)
		return spt_run(solo5, memory_bytes, text_str(&line), e);
	/* From here on the process is locked: nothing is let go of, and it ends at once. */
	int status = 1;
	if (hvt_run(solo5, memory_bytes, text_str(&line), options->ring, &status, e) < 0) {
		char sentence[ERROR_TEXT_SIZE + 32];
		int length = snprintf(sentence, sizeof(sentence), "berth-tender: %s\n", e->text);
		(void)!write(STDERR_FILENO, sentence, (size_t)length);
	}
	_exit(status);
}

static int run(int count, char **words, struct error *e)
{
	int kernel = find_unikernel(count, words);
	const void *data = NULL;
	size_t size = 0;
	struct elf elf;
	struct solo5 solo5 = {};
	struct program_options options = { .memory_bytes = MEMORY_MIB * MIB };
	if (has_root(kernel, words)) {
		int r = take_options(kernel, words, &solo5, &options, e);
		return r < 0 ? r
			     : run_program(&options, NULL, 0, words + kernel, count - kernel, e);
	}
	if (kernel >= count)
		return error_set(e, -EINVAL, "usage");
	int r = map_file(words[kernel], &data, &size, NULL, e);
	if (r == 0)
		r = elf_open(data, size, &elf, e);
	bool is_program = r == 0 && is_rewritten(&elf);
	if (r == 0 && !is_program)
		r = solo5_open(&elf, SOLO5_TARGET_ANY, &solo5, e);
	if (r == -ENOEXEC && !is_program)
		error_prefix(
			e, r, "no program that --build has prepared, and no unikernel of Solo5");
	if (r < 0)
		return error_prefix(e, r, "%s", words[kernel]);
	r = take_options(kernel, words, &solo5, &options, e);
	if (r < 0)
		return r;
	if (is_program)
		return run_program(&options, data, size, words + kernel, count - kernel, e);
	return run_solo5(&solo5, &options, words + kernel + 1, count - kernel - 1, e);
}

/* Addresses that a snapshot keeps are the same in every process. */
static void want_same_addresses(int count, char **words)
{
	bool wants = false;
	for (int i = 1; i < count && words[i][0] == '-' && !text_equal(words[i], "--"); i++)
		wants |= text_starts(words[i], "--snapshot=") || text_starts(words[i], "--from=");
	if (wants)
		snapshot_same_addresses(words);
}

/* What berthd asks for is another program, which stands beside this one. */
static void become(const char *name, char **words)
{
	char self[4096], path[sizeof(self) + 64];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[length < 0 ? 0 : length] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		slash[1] = '\0';
	snprintf(path, sizeof(path), "%s%s", self, name);
	execv(path, words);
	fprintf(stderr, "berth-tender: run %s: %s\n", path, strerror(errno));
	exit(1);
}

static bool is_for_runner(const char *word)
{
	return text_equal(word, "run") || text_equal(word, "exec") || text_equal(word, "files") ||
		text_equal(word, "--explain-engine");
}

int main(int count, char **words)
{
	want_same_addresses(count, words);
	if (count >= 2 && is_for_runner(words[1]))
		become("berth-tender-run", words);
	for (int i = 1; i < count && words[i][0] == '-' && !text_equal(words[i], "--"); i++) {
		if (text_equal(words[i], "--help")) {
			fputs(usage, stdout);
			return 0;
		}
		if (text_equal(words[i], "--version")) {
			printf("berth-tender: Solo5 spt and hvt ABI version %d\n",
				SOLO5_ABI_VERSION);
			return 0;
		}
	}
	struct error e = {};
	if (count >= 5 && text_equal(words[1], "--build"))
		become("berth-rewrite", words + 1);
	else if (count >= 2 && text_equal(words[1], "--build"))
		error_set(&e, -EINVAL, "--build: ROOTDIR, PROGRAM and IMAGE are wanted");
	else
		(void)run(count, words, &e);
	if (text_equal(e.text, "usage"))
		fputs(usage, stderr);
	else
		fprintf(stderr, "berth-tender: %s\n", e.text);
	return 1;
}
