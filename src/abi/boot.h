/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.h - what the library OS finds at its start, written by whoever loads it.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define BOOT_VERSION 2

#define BOOT_IN_TERMINAL  1u /* console input is a terminal */
#define BOOT_OUT_TERMINAL 2u /* so is its output */
#define BOOT_FSGSBASE     4u /* a program can set the base of FS itself */
#define BOOT_VERBOSE      8u /* say at the end what the program missed */

struct boot {
	uint32_t version;        /* BOOT_VERSION */
	uint32_t size;           /* of this struct */
	uint64_t memory_address; /* for brk, mmap and stacks; page-aligned, mapped, zero */
	uint64_t memory_bytes;
	uint64_t program_address; /* the ELF file of the program; 0: /.berth/program of the root */
	uint64_t program_bytes;
	uint64_t words_address; /* arguments, each with its NUL, then the environment likewise */
	uint32_t words_bytes;
	uint32_t argument_count; /* 0: words and counts are those of /.berth/words */
	uint32_t environment_count;
	uint32_t flags;
	uint64_t root_address; /* the erofs image of the root, or 0 */
	uint64_t root_bytes;
	uint64_t vdso_address; /* an ELF image for AT_SYSINFO_EHDR, or 0 */
	uint8_t random[32];
};
static_assert(sizeof(struct boot) == 120, "boot");

/* The head of /.berth/words in an image; the words follow as in struct boot. */
struct boot_words {
	uint32_t argument_count, environment_count;
	uint32_t words_bytes;
	uint32_t reserved;
};
static_assert(sizeof(struct boot_words) == 16, "boot_words");
