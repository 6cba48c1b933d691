/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_disk_image.c - any bytes as an image: what it is taken for, and whether it may be converted.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "job/disk_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(close) int fd = memfd_create("image", MFD_CLOEXEC);
	if (fd < 0 || file_write_all(fd, data, size) < 0)
		return 0;
	enum image_form form = image_form_of(fd);
	uint64_t bytes = 0;
	struct error e = {};
	if (form != IMAGE_QCOW2 && form != IMAGE_DISK)
		return 0;
	if (disk_image_check(fd, form, &bytes, &e) == 0)
		assert(bytes > 0);
	else
		assert(e.text[0] != '\0');
	return 0;
}
