/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_media.c - the disc that a server boots over virtual media: kernel, initial file system, and the loaders of
 * Debian's isolinux and GRUB, so far as this host has them.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/fat.h"
#include "disk/iso.h"
#include "job/tasks.h"

#define LOADER_MAX    (16 * MIB)
#define ARGUMENTS_MAX 1900 /* ISOLINUX takes no more of a line */

struct loader {
	char *bytes;
	size_t length;
};

static void loader_done(struct loader *loader)
{
	free(loader->bytes);
}

static bool read_loader(const char *path, struct loader *ret)
{
	return file_read(AT_FDCWD, path, LOADER_MAX, &ret->bytes, &ret->length, NULL) == 0;
}

static int length_of(int fd, uint64_t *ret, struct error *e)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return error_errno(e, "look at what goes on the disc");
	*ret = (uint64_t)status.st_size;
	return 0;
}

static int write_disc(int out, int kernel, int initial, const char *arguments, struct error *e)
{
	static const char bios_path[] = "/usr/lib/ISOLINUX/isolinux.bin";
	static const char core_path[] = "/usr/lib/syslinux/modules/bios/ldlinux.c32";
	static const char uefi_path[] = "/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi";
	struct loader bios = {}, core = {}, uefi = {};
	struct text fat = {};
	bool has_bios = read_loader(bios_path, &bios) && read_loader(core_path, &core);
	bool has_uefi = read_loader(uefi_path, &uefi);
	cleanup(free) char *line = alloc_printf("DEFAULT berth\nPROMPT 0\nLABEL berth\nKERNEL "
						"/boot/kernel\nAPPEND initrd=/boot/initrd %s\n",
		arguments);
	cleanup(free) char *config = alloc_printf("linux ($root)/boot/kernel %s\n"
						  "initrd ($root)/boot/initrd\nboot\n",
		arguments);
	uint64_t kernel_bytes = 0, initial_bytes = 0;
	int r = 0;
	if (!has_bios && !has_uefi)
		r = error_set(e, -ENOENT,
			"this host has no loaders for a disc; `apt-get install isolinux syslinux-common "
			"grub-efi-amd64-bin` brings them");
	if (r == 0 && has_uefi)
		r = fat_add(uefi.bytes, uefi.length, &fat, e);
	if (r == 0)
		r = length_of(kernel, &kernel_bytes, e);
	if (r == 0)
		r = length_of(initial, &initial_bytes, e);
	const struct iso_file files[] = {
		/* GRUB looks for this one to know the disc. */
		{ ".DISK/INFO", "berth\n", -1, 6 },
		{ "BOOT/GRUB/GRUB.CFG", config, -1, strlen(config) },
		{ "BOOT/KERNEL", NULL, kernel, kernel_bytes },
		{ "BOOT/INITRD", NULL, initial, initial_bytes },
		{ "ISOLINUX/ISOLINUX.CFG", line, -1, strlen(line) },
		{ "ISOLINUX/ISOLINUX.BIN", bios.bytes ?: "", -1, bios.length },
		{ "ISOLINUX/LDLINUX.C32", core.bytes ?: "", -1, core.length },
		{ "EFI.IMG", text_str(&fat), -1, fat.length },
	};
	const struct iso_options options = { .files = files,
		.file_count = ARRAY_SIZE(files),
		.bios = has_bios ? 5 : SIZE_MAX,
		.uefi = has_uefi ? 7 : SIZE_MAX };
	if (r == 0)
		r = iso_write(out, &options, e);
	loader_done(&bios);
	loader_done(&core);
	loader_done(&uefi);
	text_done(&fat);
	return r;
}

int task_media(struct task *task, json_t **ret, struct error *e)
{
	const char *arguments;
	uint64_t bytes = 0;
	int fds[3] = {};
	int r = task_text(task, "arguments", &arguments, e);
	if (r == 0 && (strlen(arguments) > ARGUMENTS_MAX || strpbrk(arguments, "\n\r")))
		r = error_set(e, -EINVAL,
			"berth.metal.arguments: a line of at most %d bytes is wanted",
			ARGUMENTS_MAX - 200);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fds); i++) {
		fds[i] = task_fd(task, i, e);
		r = fds[i] < 0 ? fds[i] : 0;
	}
	if (r == 0)
		r = write_disc(fds[0], fds[1], fds[2], arguments, e);
	if (r == 0)
		r = length_of(fds[0], &bytes, e);
	if (r == 0)
		*ret = json_pack("{s:I}", "bytes", (json_int_t)bytes);
	return r;
}
