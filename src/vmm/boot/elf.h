/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf.h - loads an ELF program, 32-bit or 64-bit x86, at its physical addresses.
 */
#pragma once

#include "vmm/boot/image.h"

struct elf {
	bool is_64;
	uint64_t entry;
	uint64_t pvh_entry;   /* 0: it has none */
	guest_addr low, high; /* the memory it takes */
};

bool elf_is(const uint8_t *head, size_t bytes);

/* Loads it. -EINVAL names the file and what is wrong with it. */
int elf_load(
	const struct image *image, struct guest *guest, struct elf *ret, struct error *e) must_use;
