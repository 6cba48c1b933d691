/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot.c - which protocol a kernel speaks.
 */
#include "vmm/boot/boot.h"

#include <errno.h>

#include "vmm/boot/mode.h"
#include "vmm/boot/protocol.h"

#define HEAD_BYTES 8192

static int load_elf(const struct boot_options *options, struct guest *guest, struct cpu_state *ret,
	struct error *e)
{
	struct elf elf;
	int r = elf_load(&options->kernel, guest, &elf, e);
	if (r < 0)
		return r;
	if (elf.pvh_entry)
		return pvh_load(options, guest, &elf, ret, e);
	if (!elf.is_64) {
		mode_protected(ret, elf.entry);
		ret->gpr[CPU_RSP] = LAYOUT_STACK;
		return 0;
	}
	r = mode_long(ret, guest, elf.entry);
	return r < 0 ? error_set(e, -EINVAL, "the guest has too little memory to boot") : 0;
}

int boot_load(const struct boot_options *options, struct guest *guest, struct cpu_state *ret,
	struct error *e)
{
	const struct image *kernel = &options->kernel;
	size_t bytes = kernel->bytes < HEAD_BYTES ? kernel->bytes : HEAD_BYTES;
	cleanup(free) uint8_t *head = alloc_array(HEAD_BYTES, uint8_t);
	int r = image_read(kernel, 0, head, bytes, e);
	if (r < 0)
		return r;
	if (linux_is(head, bytes))
		return linux_load(options, guest, ret, e);
	if (multiboot_find(head, bytes) >= 0)
		return multiboot_load(options, guest, head, bytes, ret, e);
	if (elf_is(head, bytes))
		return load_elf(options, guest, ret, e);
	return error_set(e, -EINVAL,
		"%s: not a kernel: neither a Linux bzImage, nor multiboot, nor ELF", kernel->name);
}
