/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_boot.c - any bytes as a kernel, and as the program inside a bzImage: each is loaded or refused with
 * a sentence that names the file.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/file.h"
#include "vmm/boot/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int same_file(void *data, const struct image *kernel, uint64_t offset, uint64_t bytes,
	int *ret_fd, struct error *e)
{
	(void)kernel;
	(void)offset;
	(void)bytes;
	(void)e;
	*ret_fd = dup(*(const int *)data);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(guest_free) struct guest *guest = NULL;
	cleanup(close) int fd = memfd_create("kernel", MFD_CLOEXEC);
	struct error e = {};
	struct memory_map map;
	struct cpu_state *state = alloc(struct cpu_state);
	if (size == 0 || file_write_all(fd, data, size) < 0) {
		free(state);
		return 0;
	}
	memory_map_init(&map, 4 * MIB);
	struct boot_options options = { .initrd.fd = -1,
		.command_line = "x",
		.map = &map,
		.unpack = same_file,
		.unpack_data = &fd };
	if (guest_new(&guest, &e) < 0 || guest_add(guest, 0, 4 * MIB, GUEST_RAM, &e) < 0 ||
		image_init(&options.kernel, fd, "the-kernel", &e) < 0)
		abort();
	e.text[0] = '\0';
	if (boot_load(&options, guest, state, &e) < 0 && !e.text[0])
		abort();
	free(state);
	return 0;
}
