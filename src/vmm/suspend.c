/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suspend.c - state.h's bytes, and from the next page on the guest's memory at its offsets in the memfd.
 */
#include "vmm/suspend.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define CHUNK (1 * MIB)

static off_t next_page(off_t at)
{
	return (off_t)(((uint64_t)at + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1));
}

static int write_range(const uint8_t *from, int fd, off_t at, uint64_t bytes)
{
	while (bytes > 0) {
		ssize_t n = pwrite(fd, from, bytes < CHUNK ? bytes : CHUNK, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		from += n;
		at += n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, GUEST_PAGE - 1) == 0;
}

/* Whole pages; those of zeroes stay holes. */
static int write_pages(const uint8_t *from, int fd, off_t at, uint64_t bytes)
{
	int r = 0;
	for (uint64_t done = 0, part; r == 0 && done < bytes; done += part) {
		part = 0;
		while (done + part < bytes && !is_zero(from + done + part))
			part += GUEST_PAGE;
		if (part)
			r = write_range(from + done, fd, at + (off_t)done, part);
		else
			part = GUEST_PAGE;
	}
	return r;
}

/* Only what the guest has touched. */
static int write_region(
	const struct guest *guest, const struct guest_region *region, int fd, off_t base)
{
	off_t start = (off_t)region->file_offset, end = start + (off_t)region->bytes;
	for (off_t at = start; at < end;) {
		off_t data = lseek(guest->memfd, at, SEEK_DATA);
		if (data < 0 || data >= end)
			return data < 0 && errno != ENXIO ? -errno : 0;
		off_t hole = lseek(guest->memfd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		if (hole > end)
			hole = end;
		int r = write_pages(
			region->host + (data - start), fd, base + data, (uint64_t)(hole - data));
		if (r < 0)
			return r;
		at = hole;
	}
	return 0;
}

int suspend_write(struct machine *machine, int fd, uint64_t at, struct error *e)
{
	cleanup(state_done) struct state state = {};
	const struct guest *guest = machine->guest;
	if (ftruncate(fd, 0) < 0 || lseek(fd, (off_t)at, SEEK_SET) < 0)
		return error_errno(e, "empty the file of the state");
	int r = machine_save(machine, &state, e);
	if (r == 0)
		r = state_write(&state, fd, e);
	if (r < 0)
		return r;
	off_t base = next_page(lseek(fd, 0, SEEK_CUR));
	for (uint32_t i = 0; r == 0 && i < guest->region_count; i++)
		r = write_region(guest, &guest->regions[i], fd, base);
	if (r == 0 && ftruncate(fd, base + (off_t)guest->file_bytes) < 0)
		r = -errno;
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	return r < 0 ? error_code(e, r, "write the guest's memory") : 0;
}

static int read_range(int fd, uint8_t *to, off_t at, uint64_t bytes)
{
	while (bytes > 0) {
		ssize_t n = pread(fd, to, bytes < CHUNK ? bytes : CHUNK, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EINVAL;
		to += n;
		at += n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/* Whatever was put there before goes: holes are zeroes. */
static int read_region(
	const struct guest *guest, const struct guest_region *region, int fd, off_t base)
{
	off_t start = base + (off_t)region->file_offset, end = start + (off_t)region->bytes;
	int r = guest_give_back(guest, region->at, region->bytes);
	if (r < 0)
		return r;
	for (off_t at = start; at < end;) {
		off_t data = lseek(fd, at, SEEK_DATA);
		if (data < 0 || data >= end)
			break;
		off_t hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0 || hole > end)
			hole = end;
		r = read_range(fd, region->host + (data - start), data, (uint64_t)(hole - data));
		if (r < 0)
			return r;
		at = hole;
	}
	guest_wrote(guest, region->at, region->bytes);
	return 0;
}

int suspend_read(struct machine *machine, int fd, struct error *e)
{
	cleanup(state_done) struct state state = {};
	const struct guest *guest = machine->guest;
	struct stat status;
	int r = state_read(&state, fd, e);
	if (r < 0)
		return r;
	off_t base = next_page(lseek(fd, 0, SEEK_CUR));
	if (fstat(fd, &status) < 0)
		return error_errno(e, "stat the saved state");
	if ((uint64_t)status.st_size != (uint64_t)base + guest->file_bytes)
		return error_set(e, -EINVAL,
			"saved state: its memory is cut off, or of a machine with another size");
	for (uint32_t i = 0; r == 0 && i < guest->region_count; i++)
		r = read_region(guest, &guest->regions[i], fd, base);
	if (r < 0)
		return error_code(e, r, "read the guest's memory");
	return machine_load(machine, &state, e);
}
