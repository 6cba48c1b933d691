/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - what is booted, and what the protocols must know of the machine.
 */
#pragma once

#include "vmm/boot/image.h"
#include "vmm/boot/layout.h"

struct boot_options {
	struct image kernel;
	struct image initrd; /* fd < 0: none */
	bool is_initrd_mapped;
	const char *command_line; /* "" if none */
	const struct memory_map *map;
	uint64_t rsdp_at;

	/*
	 * Unpacks a kernel's payload: sets an open file of an ELF program, which the caller closes.
	 * May be NULL: then a compressed kernel is refused.
	 */
	int (*unpack)(void *data, const struct image *kernel, uint64_t offset, uint64_t bytes,
		int *ret_fd, struct error *e);
	void *unpack_data;
};
