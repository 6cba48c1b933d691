/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_image.h - what form a file of an image has, and whether a disk in qcow2 may be converted.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

enum image_form {
	IMAGE_ARCHIVE, /* tar, packed or not; or nobody knows */
	IMAGE_SQUASHFS,
	IMAGE_QCOW2,
	IMAGE_DISK, /* raw: a partition table or a file system stands in it */
};

enum image_form image_form_of(int fd);

/*
 * The size of the disk inside. -EINVAL with a sentence for a qcow2 that is damaged, encrypted, or names other
 * files (a backing file, external data): those would be the host's, not the image's.
 */
int disk_image_check(int fd, enum image_form form, uint64_t *ret_bytes, struct error *e) must_use;
