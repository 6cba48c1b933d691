/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.h - what the library OS finds at its start, written by whoever loads it.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define BOOT_VERSION 1

struct boot {
	uint32_t version;        /* BOOT_VERSION */
	uint32_t size;           /* of this struct */
	uint64_t memory_address; /* for brk, mmap and stacks; page-aligned, mapped, zero */
	uint64_t memory_bytes;
	uint64_t program_address; /* the ELF file of the program, readable */
	uint64_t program_bytes;
	uint64_t words_address; /* arguments, each with its NUL, then the environment likewise */
	uint32_t words_bytes;
	uint32_t argument_count;
	uint32_t environment_count;
	uint32_t reserved;
	uint8_t random[32];
};
static_assert(sizeof(struct boot) == 96, "boot");
