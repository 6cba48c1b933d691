/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.h - puts a kernel, its command line and its initial file system into guest memory, and says in
 * what state the first CPU starts.
 *
 * Kernels: Linux bzImage (64-bit protocol; its payload is unpacked on the host), ELF with a PVH entry,
 * multiboot 1, any other ELF program for x86 (its entry, in 64-bit mode or flat 32-bit mode).
 */
#pragma once

#include "vmm/boot/options.h"
#include "vmm/cpu/state.h"

/* -EINVAL with the file's name for all that is wrong with a file. */
int boot_load(const struct boot_options *options, struct guest *guest, struct cpu_state *ret,
	struct error *e) must_use;
