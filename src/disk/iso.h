/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iso.h - a disc that servers boot: ISO 9660 with El Torito entries for BIOS and for UEFI.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define ISO_SECTOR 2048

/* A file of bytes, or of a descriptor's first `length` bytes. */
struct iso_file {
	const char *path; /* as it stands on the disc: "BOOT/GRUB/GRUB.CFG"; no deeper than three */
	const void *data; /* NULL: of `fd` */
	int fd;
	uint64_t length;
};

struct iso_options {
	const struct iso_file *files;
	size_t file_count;
	size_t bios; /* which file is ISOLINUX's first, that the BIOS loads; SIZE_MAX: none */
	size_t uefi; /* which is UEFI's file system; SIZE_MAX: none */
};

/* Writes it to `out` from where that stands. -E2BIG, -EINVAL, or that of a write. */
int iso_write(int out, const struct iso_options *options, struct error *e) must_use;
