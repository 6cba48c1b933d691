/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume.h - a volume in memory below the library OS's ext2, for tests.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "unikernel/heap.h"
#include "unikernel/platform.h"

#define VOLUME_BYTES (8u << 20)

static uint8_t volume[VOLUME_BYTES];
static int64_t writes_left = INT64_MAX; /* after that many the power is off */

int64_t platform_volume_read(uint64_t offset, void *to, size_t size)
{
	if (offset > VOLUME_BYTES || size > VOLUME_BYTES - offset)
		return 0;
	memcpy(to, volume + offset, size);
	return (int64_t)size;
}

int64_t platform_volume_write(uint64_t offset, const void *from, size_t size)
{
	if (offset > VOLUME_BYTES || size > VOLUME_BYTES - offset)
		return -EFBIG;
	if (writes_left-- > 0)
		memcpy(volume + offset, from, size);
	return (int64_t)size;
}

int64_t platform_volume_flush(void)
{
	return 0;
}

uint64_t platform_clock_realtime(void)
{
	return UINT64_C(1700000000000000000);
}

void *heap_alloc(uint64_t bytes)
{
	return calloc(1, bytes);
}

void *heap_alloc_raw(uint64_t bytes)
{
	return malloc(bytes);
}

void *heap_page(void)
{
	return calloc(1, 4096);
}

void heap_free(void *pointer)
{
	free(pointer);
}

/* As a new volume has it: several groups, most of them without maps; or one group, as volumes of before have it. */
static bool volume_has_sums = true;

/* A fresh file system in the volume; false without mke2fs. */
static bool volume_make(const char *path)
{
	char command[256];
	snprintf(command, sizeof(command),
		"PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t ext2 -b 4096 -I 256 -i 16384 -m 0 -O "
		"none,filetype,sparse_super,large_file,ext_attr%s %s %uk",
		volume_has_sums ? ",uninit_bg -g 512" : "", path, VOLUME_BYTES >> 10);
	FILE *file = system(command) == 0 ? fopen(path, "r") : NULL;
	if (!file)
		return false;
	memset(volume, 0, sizeof(volume));
	bool is_read = fread(volume, 1, sizeof(volume), file) > 0;
	fclose(file);
	return is_read;
}
