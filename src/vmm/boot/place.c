/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.c - the command line and the initial file system, which every protocol has.
 */
#include <errno.h>
#include <string.h>

#include "vmm/boot/protocol.h"

int place_command_line(
	const struct boot_options *options, struct guest *guest, uint64_t limit, struct error *e)
{
	size_t bytes = strlen(options->command_line) + 1;
	if (limit > LAYOUT_COMMAND_LINE_MAX)
		limit = LAYOUT_COMMAND_LINE_MAX;
	if (bytes > limit)
		return error_set(e, -E2BIG, "kernel command line: %zu bytes, %s takes %ju",
			bytes - 1, options->kernel.name, (uintmax_t)limit - 1);
	if (guest_write(guest, LAYOUT_COMMAND_LINE, options->command_line, bytes) < 0)
		return error_set(e, -EINVAL, "kernel command line: the guest has no memory for it");
	return 0;
}

int place_initrd(const struct boot_options *options, struct guest *guest, uint64_t low,
	uint64_t end, uint64_t *ret_at, struct error *e)
{
	const struct image *initrd = &options->initrd;
	*ret_at = 0;
	if (initrd->fd < 0)
		return 0;
	if (end > options->map->low_bytes)
		end = options->map->low_bytes;
	if (initrd->bytes > end || end - initrd->bytes < low + GUEST_PAGE)
		return error_set(e, -EINVAL,
			"%s: %ju bytes do not fit into the guest's memory beside the kernel",
			initrd->name, (uintmax_t)initrd->bytes);
	uint64_t at = (end - initrd->bytes) & ~(GUEST_PAGE - 1);
	*ret_at = at;
	return options->is_initrd_mapped
		? guest_map(guest, at, initrd->bytes, initrd->fd, GUEST_MAP_READ, e)
		: image_load(initrd, 0, initrd->bytes, guest, at, e);
}
