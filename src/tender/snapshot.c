/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - writes a unikernel that waits into a file, and maps it.
 *
 * Theory of operation. The file begins with a head and the list of runs that want more than to be there: rights of their
 * own, the image's pages, memory that lies elsewhere. Then come the variables of the library OS, what lies elsewhere, and
 * the whole memory at its own distances, with holes where nothing was: one mapping shows all of it, copy-on-write.
 */
#include "tender/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tender/platform_call.h"
#include "tender/snapshot_file.h"
#include "unikernel/snapshot.h"

#define PAGE_BYTES 4096u
#define WRITE_MOST (1u << 30)

/* Of the linker. */
extern const char __ehdr_start[], _end[];
extern char __start_unikernel_data[], __stop_unikernel_data[];
extern char __start_unikernel_bss[], __stop_unikernel_bss[];

struct writing {
	int fd;
	bool is_stream; /* of struct snapshot_piece, read by suspend.c */
	struct snapshot_head head;
	uint64_t next; /* where the next bytes from elsewhere go */
};

static struct snapshot_entry entries[SNAPSHOT_RUNS_MOST];

static uint64_t number_of(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

static uint64_t page_up(uint64_t value)
{
	return (value + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

/* The read-only part of this program: a change of anything changes addresses in it. */
static struct snapshot_build build_of(void)
{
	uint64_t sum = UINT64_C(14695981039346656037);
	const uint64_t *word = (const uint64_t *)number_of(__ehdr_start);
	/* The head, the relocations and the first code: a build id stands there. */
	for (size_t i = 0; i < 8 * PAGE_BYTES / sizeof(*word); i++)
		sum = (sum ^ word[i]) * UINT64_C(1099511628211);
	return (struct snapshot_build){ sum, number_of(_end), number_of(__start_unikernel_data),
		number_of(__start_unikernel_bss) };
}

/* Into the stream, or at a place of the file. */
static int put_all(const struct writing *writing, uint64_t at, const void *from, uint64_t bytes)
{
	const char *start = from;
	long call = writing->is_stream ? SYS_write : SYS_pwrite64;
	while (bytes > 0) {
		uint64_t part = bytes < WRITE_MOST ? bytes : WRITE_MOST;
		int64_t put = platform_syscall(
			call, (uint64_t)writing->fd, number_of(start), part, at, 0, 0);
		if (put == -EINTR)
			continue;
		if (put <= 0)
			return put < 0 ? (int)put : -EIO;
		start += put;
		at += (uint64_t)put;
		bytes -= (uint64_t)put;
	}
	return 0;
}

static int put(const struct writing *writing, uint64_t at, const void *from, uint64_t bytes)
{
	const struct snapshot_piece piece = { at, bytes };
	int r = writing->is_stream ? put_all(writing, 0, &piece, sizeof(piece)) : 0;
	return r < 0 ? r : put_all(writing, at, from, bytes);
}

static int put_run(void *data, const struct snapshot_run *run)
{
	struct writing *writing = data;
	struct snapshot_head *head = &writing->head;
	bool is_plain = run->rights == (PLATFORM_READ | PLATFORM_WRITE);
	bool is_inside = run->address >= SNAPSHOT_MEMORY_AT &&
		run->address - SNAPSHOT_MEMORY_AT < head->place.memory_bytes;
	struct snapshot_entry one = { run->address, run->bytes, run->from - SNAPSHOT_IMAGE_AT,
		(uint32_t)run->kind, (uint32_t)run->rights };
	int r = 0;
	if (run->kind == SNAPSHOT_BYTES) {
		one.from = is_inside ? head->memory_at + (run->address - SNAPSHOT_MEMORY_AT)
				     : writing->next;
		if (!(run->rights & PLATFORM_READ))
			platform_syscall(
				SYS_mprotect, run->address, run->bytes, PROT_READ, 0, 0, 0);
		r = put(writing, one.from, (const void *)(uintptr_t)run->address, run->bytes);
		if (!(run->rights & PLATFORM_READ))
			platform_syscall(SYS_mprotect, run->address, run->bytes,
				(uint64_t)run->rights, 0, 0, 0);
		writing->next += is_inside ? 0 : run->bytes;
	}
	if (r < 0 || (is_inside && is_plain && run->kind == SNAPSHOT_BYTES))
		return r;
	if (head->entry_count == SNAPSHOT_RUNS_MOST || writing->next > head->memory_at)
		return -E2BIG;
	entries[head->entry_count++] = one;
	return 0;
}

static int write_all(struct writing *writing, const struct snapshot_place *place)
{
	struct snapshot_head *head = &writing->head;
	uint64_t data_bytes = number_of(__stop_unikernel_data) - number_of(__start_unikernel_data);
	uint64_t bss_bytes = number_of(__stop_unikernel_bss) - number_of(__start_unikernel_bss);
	*head = (struct snapshot_head){ .magic = SNAPSHOT_MAGIC,
		.version = SNAPSHOT_VERSION,
		.build = build_of(),
		.place = *place };
	head->data_at = page_up(sizeof(*head) + sizeof(entries));
	head->bss_at = head->data_at + page_up(data_bytes);
	head->elsewhere_at = writing->next = head->bss_at + page_up(bss_bytes);
	/* A program at a fixed address is no larger than that; the file has a hole there. */
	head->memory_at = head->elsewhere_at + (UINT64_C(1) << 32);
	int r = unikernel_snapshot_runs(put_run, writing);
	if (r == 0)
		r = put(writing, head->data_at, __start_unikernel_data, data_bytes);
	if (r == 0)
		r = put(writing, head->bss_at, __start_unikernel_bss, bss_bytes);
	if (r == 0)
		r = put(writing, sizeof(*head), entries,
			head->entry_count * sizeof(struct snapshot_entry));
	/* The end of the memory may be a hole: the file has it all the same. */
	if (r == 0)
		r = put(writing, head->memory_at + place->memory_bytes, "", 1);
	/* The head last: what has one is whole. */
	return r < 0 ? r : put(writing, 0, head, sizeof(*head));
}

int snapshot_write(int fd, const struct snapshot_place *place)
{
	struct writing writing = { .fd = fd };
	return write_all(&writing, place);
}

void snapshot_send(int fd, const struct snapshot_place *place)
{
	struct writing writing = { .fd = fd, .is_stream = true };
	int r = write_all(&writing, place);
	const struct snapshot_piece end = { (uint64_t)(int64_t)r, 0 };
	(void)put_all(&writing, 0, &end, sizeof(end));
}

static int read_head(int fd, struct snapshot_head *ret, struct error *e)
{
	const struct snapshot_build build = build_of();
	return snapshot_read_head(fd, &build, SNAPSHOT_PROCESS, ret, e);
}

int snapshot_read(int fd, struct snapshot_place *ret, struct error *e)
{
	struct snapshot_head head;
	int r = read_head(fd, &head, e);
	if (r == 0)
		*ret = head.place;
	return r;
}

void snapshot_same_addresses(char **words)
{
	int now = personality(UINT32_MAX);
	if (now >= 0 && !(now & ADDR_NO_RANDOMIZE) &&
		personality((unsigned long)now | ADDR_NO_RANDOMIZE) >= 0)
		execv("/proc/self/exe", words);
}

static bool map_at(uint64_t address, uint64_t bytes, uint32_t rights, int fd, uint64_t offset)
{
	return mmap((void *)(uintptr_t)address, bytes, (int)rights, MAP_PRIVATE | MAP_FIXED, fd,
		       (off_t)offset) != MAP_FAILED;
}

static int map_entry(const struct snapshot_entry *entry, int fd, int image_fd,
	const struct snapshot_place *place)
{
	bool is_inside = false, is_there;
	if (!snapshot_check_entry(entry, place, &is_inside))
		return -EINVAL;
	if (entry->kind == SNAPSHOT_NONE && !is_inside)
		is_there = mmap((void *)(uintptr_t)entry->address, entry->bytes, (int)entry->rights,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
				   0) != MAP_FAILED;
	else if (entry->kind == SNAPSHOT_IMAGE || !is_inside)
		is_there = map_at(entry->address, entry->bytes, entry->rights,
			entry->kind == SNAPSHOT_IMAGE ? image_fd : fd, entry->from);
	else
		is_there = mprotect((void *)(uintptr_t)entry->address, entry->bytes,
				   (int)entry->rights) == 0;
	return is_there ? 0 : -errno;
}

static bool read_variables(int fd, const struct snapshot_head *head)
{
	ssize_t data_bytes = __stop_unikernel_data - __start_unikernel_data;
	ssize_t bss_bytes = __stop_unikernel_bss - __start_unikernel_bss;
	return pread(fd, __start_unikernel_data, (size_t)data_bytes, (off_t)head->data_at) ==
		data_bytes &&
		pread(fd, __start_unikernel_bss, (size_t)bss_bytes, (off_t)head->bss_at) ==
		bss_bytes;
}

int snapshot_map(int fd, int image_fd, const struct snapshot_place *place, struct error *e)
{
	struct snapshot_head head;
	int r = read_head(fd, &head, e);
	if (r < 0)
		return r;
	r = snapshot_check_place(&head.place, place, e);
	if (r < 0)
		return r;
	ssize_t list_bytes = (ssize_t)(head.entry_count * sizeof(struct snapshot_entry));
	if (pread(fd, entries, (size_t)list_bytes, sizeof(head)) != list_bytes ||
		mmap((void *)(uintptr_t)SNAPSHOT_MEMORY_AT, head.place.memory_bytes,
			PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED_NOREPLACE | MAP_NORESERVE,
			fd, (off_t)head.memory_at) == MAP_FAILED)
		return error_errno(e, "map its memory");
	for (uint32_t i = 0; i < head.entry_count; i++) {
		r = map_entry(&entries[i], fd, image_fd, &head.place);
		if (r < 0)
			return error_code(e, r, "map 0x%" PRIx64, entries[i].address);
	}
	return read_variables(fd, &head) ? 0 : error_set(e, -EIO, "it ends early");
}
