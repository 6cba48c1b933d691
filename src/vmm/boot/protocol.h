/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol.h - the boot protocols, one each, and what they share; boot.c chooses.
 */
#pragma once

#include "vmm/boot/elf.h"
#include "vmm/boot/options.h"
#include "vmm/cpu/state.h"

/* Places the command line; -E2BIG if it is longer than `limit` with its NUL. */
int place_command_line(const struct boot_options *options, struct guest *guest, uint64_t limit,
	struct error *e) must_use;
/* Loads the initial file system as high as it goes below `end`, above `low`; 0 for none. */
int place_initrd(const struct boot_options *options, struct guest *guest, uint64_t low,
	uint64_t end, uint64_t *ret_at, struct error *e) must_use;

/* `head` is the first bytes of the kernel. */
bool linux_is(const uint8_t *head, size_t bytes);
int linux_load(const struct boot_options *options, struct guest *guest, struct cpu_state *ret,
	struct error *e) must_use;
int pvh_load(const struct boot_options *options, struct guest *guest, const struct elf *elf,
	struct cpu_state *ret, struct error *e) must_use;
/* Where the multiboot header is in the first bytes, or -1. */
int multiboot_find(const uint8_t *head, size_t bytes);
int multiboot_load(const struct boot_options *options, struct guest *guest, const uint8_t *head,
	size_t head_bytes, struct cpu_state *ret, struct error *e) must_use;
