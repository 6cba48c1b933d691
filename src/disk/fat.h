/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fat.h - a file system for UEFI: FAT16 with one program, EFI/BOOT/BOOTX64.EFI.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"
#include "base/text.h"

#define FAT_PROGRAM_MAX (28 * MIB) /* as many clusters as FAT16 has, of one sector each */

/* Adds it to the text, in whole sectors of 512 bytes. -E2BIG. */
int fat_add(const void *program, size_t length, struct text *ret, struct error *e) must_use;
