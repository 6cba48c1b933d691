/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest.c - guest memory in one memfd.
 */
#include "vmm/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/large.h"

#define LINE_BYTES UINT64_C(64)

/* Of 512 pages: most of a kernel's memory is used, or hardly any of it. */
#define USED_MUCH 64
/* A host that has no large pages left is not asked again and again. */
#define LARGE_FAILS 4

int guest_new(struct guest **ret, struct error *e)
{
	cleanup(close) int memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (memfd < 0)
		return error_errno(e, "guest memory");
	struct guest *guest = alloc(struct guest);
	guest->memfd = TAKE_FD(memfd);
	guest->image_fd = -1;
	*ret = guest;
	return 0;
}

void guest_free(struct guest *guest)
{
	if (!guest)
		return;
	for (uint32_t i = 0; i < guest->region_count; i++) {
		munmap(guest->regions[i].host, guest->regions[i].bytes + GUEST_PAGE);
		free((void *)(uintptr_t)guest->regions[i].watched);
		free((void *)(uintptr_t)guest->regions[i].used);
	}
	close(guest->memfd);
	if (guest->image_fd >= 0)
		close(guest->image_fd);
	free(guest);
}

int guest_add(struct guest *guest, guest_addr at, uint64_t bytes, enum guest_access access,
	struct error *e)
{
	if (bytes == 0 || (at | bytes) % GUEST_PAGE != 0 || at + bytes < at ||
		bytes > INT64_MAX - guest->file_bytes - GUEST_PAGE)
		return error_set(e, -EINVAL, "guest memory: 0x%jx bytes at 0x%jx", (uintmax_t)bytes,
			(uintmax_t)at);
	if (guest->region_count == GUEST_REGIONS_MAX)
		return error_set(
			e, -ENOSPC, "guest memory: more than %d regions", GUEST_REGIONS_MAX);
	for (uint32_t i = 0; i < guest->region_count; i++) {
		const struct guest_region *other = &guest->regions[i];
		if (at < other->at + other->bytes && other->at < at + bytes)
			return error_set(
				e, -EINVAL, "guest memory: two regions at 0x%jx", (uintmax_t)at);
	}
	if (ftruncate(guest->memfd, (off_t)(guest->file_bytes + bytes)) < 0)
		return error_errno(e, "guest memory of %ju bytes", (uintmax_t)bytes);

	/* One page more stays without access: a run over the end faults and never meets another map. */
	uint8_t *host = large_reserve(bytes + GUEST_PAGE, guest->file_bytes % LARGE_BYTES);
	if (host == MAP_FAILED)
		return error_errno(e, "guest memory of %ju bytes", (uintmax_t)bytes);
	_Atomic uint64_t *watched = calloc(bytes / GUEST_PAGE, sizeof(*watched));
	_Atomic uint16_t *used = calloc(bytes / LARGE_BYTES + 2, sizeof(*used));
	if (!watched || !used ||
		mmap(host, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, guest->memfd,
			(off_t)guest->file_bytes) == MAP_FAILED) {
		int code = error_errno(e, "guest memory of %ju bytes", (uintmax_t)bytes);
		munmap(host, bytes + GUEST_PAGE);
		free((void *)(uintptr_t)watched);
		free((void *)(uintptr_t)used);
		return code;
	}
	guest->regions[guest->region_count++] = (struct guest_region){
		.at = at,
		.bytes = bytes,
		.host = host,
		.file_offset = guest->file_bytes,
		.access = access,
		.watched = watched,
		.used = used,
	};
	guest->file_bytes += bytes;
	return 0;
}

const struct guest_region *guest_region(const struct guest *guest, guest_addr at)
{
	for (uint32_t i = 0; i < guest->region_count; i++)
		if (at - guest->regions[i].at < guest->regions[i].bytes)
			return &guest->regions[i];
	return NULL;
}

static uint8_t *slice(const struct guest *guest, guest_addr at, uint64_t bytes, bool is_write)
{
	const struct guest_region *region = guest_region(guest, at);
	if (!region || bytes > region->bytes - (at - region->at))
		return NULL;
	if (is_write && region->access == GUEST_ROM)
		return NULL;
	return region->host + (at - region->at);
}

const void *guest_slice_const(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	return slice(guest, at, bytes, false);
}

void *guest_slice(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	return slice(guest, at, bytes, true);
}

/* Where a file system is mounted without the right to execute nothing of it can be mapped like that. */
static int executable_image(int fd)
{
	void *try = mmap(NULL, GUEST_PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (try == MAP_FAILED)
		return -1;
	munmap(try, GUEST_PAGE);
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int guest_map(struct guest *guest, guest_addr at, uint64_t bytes, int fd, enum guest_map how,
	struct error *e)
{
	uint64_t whole = (bytes + GUEST_PAGE - 1) / GUEST_PAGE * GUEST_PAGE;
	void *host = at % GUEST_PAGE ? NULL : guest_slice(guest, at, whole);
	if (!host)
		return error_set(e, -EINVAL, "guest memory: 0x%jx bytes at 0x%jx", (uintmax_t)bytes,
			(uintmax_t)at);
	uint32_t number = 0;
	while (number < guest->map_count && guest->maps[number].at != at)
		number++;
	if (number == GUEST_MAPS_MAX)
		return error_set(e, -ENOSPC, "guest memory: more than %d files", GUEST_MAPS_MAX);
	for (uint32_t i = 0; how == GUEST_MAP_READ && i < guest->map_count; i++)
		if (i != number && guest->maps[i].how == GUEST_MAP_READ)
			return error_set(e, -EEXIST, "guest memory: two files that are only read");
	if (mmap(host, whole, PROT_READ | PROT_WRITE,
		    (how == GUEST_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED, fd,
		    0) == MAP_FAILED)
		return error_errno(e, "map a file into the guest's memory");
	guest->map_count += number == guest->map_count;
	guest->maps[number].at = at;
	guest->maps[number].how = how;
	if (how == GUEST_MAP_READ) {
		if (guest->image_fd >= 0)
			close(guest->image_fd);
		guest->image_fd = executable_image(fd);
	}
	if (guest->maps[number].bytes < whole)
		guest->maps[number].bytes = whole;
	guest_wrote(guest, at, whole);
	return 0;
}

static bool has_files(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	for (uint32_t i = 0; i < guest->map_count; i++)
		if (at < guest->maps[i].at + guest->maps[i].bytes && guest->maps[i].at < at + bytes)
			return true;
	return false;
}

bool guest_in_memfd(const struct guest *guest, guest_addr at)
{
	return !has_files(guest, at, 1);
}

bool guest_in_image(const struct guest *guest, guest_addr at, uint64_t *ret_offset)
{
	for (uint32_t i = 0; i < guest->map_count; i++) {
		uint64_t offset = at - guest->maps[i].at;
		if (guest->maps[i].how != GUEST_MAP_READ || offset >= guest->maps[i].bytes)
			continue;
		*ret_offset = offset;
		return true;
	}
	return false;
}

bool guest_is_rom(const struct guest *guest, const struct guest_region *region, guest_addr at)
{
	uint64_t offset;
	return region->access == GUEST_ROM || guest_in_image(guest, at, &offset);
}

/* The lines of the page at `page` that [at, at + bytes) touches. */
static uint64_t lines_of(guest_addr page, guest_addr at, uint64_t bytes)
{
	uint64_t first = at > page ? (at - page) / LINE_BYTES : 0;
	uint64_t last = (at + bytes - 1 - page) / LINE_BYTES;
	if (last > 63)
		last = 63;
	return (UINT64_MAX >> (63 - last)) & (UINT64_MAX << first);
}

void guest_wrote(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	if (!guest->watch || bytes == 0)
		return;
	for (guest_addr page = at & ~(GUEST_PAGE - 1); page < at + bytes; page += GUEST_PAGE) {
		const struct guest_region *region = guest_region(guest, page);
		if (!region)
			continue;
		uint64_t lines = atomic_load(&region->watched[(page - region->at) / GUEST_PAGE]);
		if (lines & lines_of(page, at, bytes))
			guest->watch(guest->watch_data, page, GUEST_PAGE);
	}
}

/* How many bytes from `at` can be had in one piece, at most `bytes`; 0 if there are none. */
static uint64_t piece(const struct guest *guest, guest_addr at, uint64_t bytes, bool is_write)
{
	const struct guest_region *region = guest_region(guest, at);
	if (!region || (is_write && region->access == GUEST_ROM))
		return 0;
	uint64_t there = region->bytes - (at - region->at);
	return there < bytes ? there : bytes;
}

static bool is_there(const struct guest *guest, guest_addr at, uint64_t bytes, bool is_write)
{
	while (bytes > 0) {
		uint64_t part = piece(guest, at, bytes, is_write);
		if (part == 0)
			return false;
		at += part;
		bytes -= part;
	}
	return true;
}

int guest_read(const struct guest *guest, guest_addr at, void *to, uint64_t bytes)
{
	if (!is_there(guest, at, bytes, false))
		return -EFAULT;
	for (uint8_t *next = to; bytes > 0;) {
		uint64_t part = piece(guest, at, bytes, false);
		memcpy(next, slice(guest, at, part, false), part);
		next += part;
		at += part;
		bytes -= part;
	}
	return 0;
}

static int copy_in(
	const struct guest *guest, guest_addr at, const void *from, uint64_t bytes, bool is_guest)
{
	if (!is_there(guest, at, bytes, is_guest))
		return -EFAULT;
	for (const uint8_t *next = from; bytes > 0;) {
		uint64_t part = piece(guest, at, bytes, is_guest);
		memcpy(slice(guest, at, part, is_guest), next, part);
		guest_wrote(guest, at, part);
		next += part;
		at += part;
		bytes -= part;
	}
	return 0;
}

int guest_write(const struct guest *guest, guest_addr at, const void *from, uint64_t bytes)
{
	return copy_in(guest, at, from, bytes, true);
}

int guest_load(const struct guest *guest, guest_addr at, const void *from, uint64_t bytes)
{
	return copy_in(guest, at, from, bytes, false);
}

/* Which of the region's large pages holds the byte at `offset`. */
static uint64_t large_number(const struct guest_region *region, uint64_t offset)
{
	return ((uintptr_t)region->host % LARGE_BYTES + offset) / LARGE_BYTES;
}

void guest_used(struct guest *guest, guest_addr at)
{
	const struct guest_region *region = guest_region(guest, at);
	if (!region)
		return;
	uint64_t number = large_number(region, at - region->at);
	uint16_t count = atomic_load_explicit(&region->used[number], memory_order_relaxed);
	if (count >= USED_MUCH)
		return;
	/* If two CPUs count at once one is lost. */
	atomic_store_explicit(&region->used[number], ++count, memory_order_relaxed);
	if (count < USED_MUCH || atomic_load(&guest->large_fails) >= LARGE_FAILS)
		return;
	uint64_t before = (uintptr_t)region->host % LARGE_BYTES, start = number * LARGE_BYTES;
	if (start < before || start - before + LARGE_BYTES > region->bytes ||
		has_files(guest, region->at + start - before, LARGE_BYTES))
		return;
	if (!large_collapse(region->host + (start - before)))
		atomic_fetch_add(&guest->large_fails, 1);
}

static void forget_uses(const struct guest_region *region, uint64_t offset, uint64_t bytes)
{
	uint64_t start = offset + (uintptr_t)region->host % LARGE_BYTES;
	uint64_t end = start + bytes;
	for (uint64_t i = start / LARGE_BYTES; i * LARGE_BYTES < end; i++) {
		bool is_whole = i * LARGE_BYTES >= start && (i + 1) * LARGE_BYTES <= end;
		atomic_store_explicit(
			&region->used[i], is_whole ? 0 : USED_MUCH, memory_order_relaxed);
	}
}

int guest_give_back(const struct guest *guest, guest_addr at, uint64_t bytes)
{
	const struct guest_region *region = guest_region(guest, at);
	uint64_t offset = region ? at - region->at : 0;
	if (!region || bytes == 0 || bytes > region->bytes - offset)
		return -EINVAL;
	if (fallocate(guest->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)(region->file_offset + offset), (off_t)bytes) < 0)
		return -errno;
	forget_uses(region, offset, bytes);
	guest_wrote(guest, at, bytes);
	return 0;
}
