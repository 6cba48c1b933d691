/* SPDX-License-Identifier: Apache-2.0 */
/*
 * partition.h - the last partition of an image grown to the end of the disk it was put on: MBR and GPT; pure
 * but for the last function.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

#define PARTITION_SECTOR 512

/*
 * The boot record with its last primary partition, if it is a Linux one, up to `sectors`. 1 if it changed, 0
 * if there is nothing to grow, -EINVAL if it is no boot record.
 */
int partition_grow_mbr(uint8_t record[PARTITION_SECTOR], uint64_t sectors) must_use;
/* It only says that there is a GPT. */
bool partition_is_protective(const uint8_t record[PARTITION_SECTOR]);

/*
 * A GPT: `header` is its sector, `entries` all `entries_bytes` of its table, which the header names. Grown for a
 * disk of `sectors`: both are changed, and *ret_backup is the header for the last sector. 1, 0 as above (the
 * backup's place changed only), -EINVAL if it is broken.
 */
int partition_grow_gpt(uint8_t header[PARTITION_SECTOR], uint8_t *entries, size_t entries_bytes,
	uint64_t sectors, uint8_t ret_backup[PARTITION_SECTOR]) must_use;
/* How many bytes its table has and where it begins; -EINVAL if that is not plausible. */
int partition_gpt_table(
	const uint8_t header[PARTITION_SECTOR], uint64_t *ret_sector, size_t *ret_bytes) must_use;

uint32_t partition_crc(const void *bytes, size_t length);

/* On the disk, whose logical blocks have 512 bytes; the kernel reads the table anew. 1, 0 or an error. */
int partition_grow(int disk, struct error *e) must_use;
