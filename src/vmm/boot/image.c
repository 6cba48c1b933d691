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

/*
 * From file to file: the host need not clear pages that are overwritten at once, nor map those that nobody touches. Returns how
 * many bytes are there; not every file system can.
 */
static uint64_t send_part(const struct image *image, uint64_t offset, uint64_t bytes,
	const struct guest *guest, guest_addr at)
{
	const struct guest_region *region = guest_region(guest, at);
	off_t from = (off_t)offset, to = (off_t)(region->file_offset + (at - region->at));
	uint64_t done = 0;
	ssize_t part = 1;
	if (lseek(guest->memfd, to, SEEK_SET) < 0)
		return 0;
	for (; done < bytes && part > 0; done += part > 0 ? (uint64_t)part : 0)
		part = sendfile(guest->memfd, image->fd, &from, bytes - done);
	return done;
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
