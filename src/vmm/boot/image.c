/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - parts of a file, checked against its size.
 */
#include "vmm/boot/image.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

int image_init(struct image *image, int fd, const char *name, struct error *e)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return error_errno(e, "%s", name);
	if (!S_ISREG(status.st_mode))
		return error_set(e, -EINVAL, "%s: not a file", name);
	if (status.st_size <= 0)
		return error_set(e, -EINVAL, "%s: it is empty", name);
	*image = (struct image){ fd, name, (uint64_t)status.st_size };
	return 0;
}

static int check(const struct image *image, uint64_t offset, uint64_t bytes, struct error *e)
{
	if (offset > image->bytes || bytes > image->bytes - offset)
		return error_set(e, -EINVAL, "%s: it is cut off: %ju bytes at %ju of %ju",
			image->name, (uintmax_t)bytes, (uintmax_t)offset, (uintmax_t)image->bytes);
	return 0;
}

static int read_part(
	const struct image *image, uint64_t offset, void *data, size_t bytes, struct error *e)
{
	int r = file_read_at(image->fd, data, bytes, offset);
	if (r == -ENODATA)
		return error_set(
			e, -EINVAL, "%s: it became shorter while it was read", image->name);
	return r < 0 ? error_code(e, r, "read %s", image->name) : 0;
}

int image_read(
	const struct image *image, uint64_t offset, void *data, size_t bytes, struct error *e)
{
	int r = check(image, offset, bytes, e);
	return r < 0 ? r : read_part(image, offset, data, bytes, e);
}

/* Where the file's next bytes begin that are no hole, and where they end, at most at `end`; false: nobody knows. */
static bool find_data(const struct image *image, uint64_t *at, uint64_t end, uint64_t *ret_end)
{
	off_t data = lseek(image->fd, (off_t)*at, SEEK_DATA);
	if (data < 0 && errno == ENXIO) /* a hole up to its end, which is to be where it was */
		data = lseek(image->fd, 0, SEEK_END) < (off_t)end ? -1 : (off_t)end;
	off_t hole = data < (off_t)end && data >= 0 ? lseek(image->fd, data, SEEK_HOLE) : data;
	if (hole < 0)
		return false;
	*at = (uint64_t)data < end ? (uint64_t)data : end;
	*ret_end = (uint64_t)hole < end ? (uint64_t)hole : end;
	return true;
}

/*
 * From file to file: the host need not clear pages that are overwritten at once, nor map those that nobody touches. Holes stay holes: the
 * guest's memory is new. Returns how many bytes are there; not every file system can.
 */
static uint64_t send_part(const struct image *image, uint64_t offset, uint64_t bytes,
	const struct guest *guest, guest_addr at)
{
	const struct guest_region *region = guest_region(guest, at);
	uint64_t to = region->file_offset + (at - region->at) - offset;
	uint64_t next = offset, end = offset + bytes, part_end;
	while (next < end && find_data(image, &next, end, &part_end)) {
		off_t from = (off_t)next;
		if (lseek(guest->memfd, (off_t)(to + next), SEEK_SET) < 0)
			break;
		while (next < part_end &&
			sendfile(guest->memfd, image->fd, &from, part_end - next) > 0)
			next = (uint64_t)from;
		if (next < part_end)
			break;
	}
	return next - offset;
}

int image_load(const struct image *image, uint64_t offset, uint64_t bytes, struct guest *guest,
	guest_addr at, struct error *e)
{
	int r = check(image, offset, bytes, e);
	if (r < 0 || bytes == 0)
		return r;
	uint8_t *data = guest_slice(guest, at, bytes);
	if (!data)
		return error_set(e, -EINVAL,
			"%s: %ju bytes at 0x%jx do not fit into the guest's memory", image->name,
			(uintmax_t)bytes, (uintmax_t)at);
	uint64_t done = send_part(image, offset, bytes, guest, at);
	return read_part(image, offset + done, data + done, bytes - done, e);
}
