/* SPDX-License-Identifier: Apache-2.0 */
/*
 * task_initial.c - the initial file system that servers boot: the deploy agent, drivers, and what a rescue needs.
 *
 * A shell and ssh are this host's busybox and dropbear, so far as it has them.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/initial.h"
#include "job/tasks.h"

#define PROGRAM_MAX (8 * MIB)
#define FILES_MAX   64

/* Controllers and cards of servers, and what the agent needs; what the kernel lacks is passed over. */
static const char *const modules[] = { "virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi",
	"virtio_rng", "ahci", "ata_piix", "nvme", "sd_mod", "mpt3sas", "megaraid_sas", "smartpqi",
	"aacraid", "hpsa", "xhci_pci", "e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice",
	"tg3", "bnx2x", "bnxt_en", "mlx4_en", "mlx5_core", "r8169", "qede", "sfc", "ena", "ext4",
	"xfs", "btrfs", "vfat", "nls_cp437", "nls_ascii", "algif_hash", "sha256_generic",
	"sha256_ssse3", "crc32c_generic", "tpm_tis", "tpm_crb", "ipmi_si", "ipmi_devintf",
	"efivarfs", "af_packet", NULL };

struct gathering {
	struct initial_file files[FILES_MAX];
	char *owned[FILES_MAX]; /* paths and bytes */
	size_t count, owned_count;
};

static void add(
	struct gathering *all, const char *path, const void *data, size_t length, uint32_t mode)
{
	assert(all->count < FILES_MAX);
	all->files[all->count++] = (struct initial_file){ path, data, length, mode };
}

/* The first of the host's files that is there, at another place or at its own. */
static bool add_file(struct gathering *all, const char *const *from, size_t from_count,
	const char *to, uint32_t mode)
{
	for (size_t i = 0; i < from_count; i++) {
		char *bytes = NULL;
		size_t length;
		if (file_read(AT_FDCWD, from[i], PROGRAM_MAX, &bytes, &length, NULL) < 0)
			continue;
		assert(all->owned_count < FILES_MAX);
		all->owned[all->owned_count++] = bytes;
		add(all, to, bytes, length, mode);
		return true;
	}
	return false;
}

static void add_shell(struct gathering *all)
{
	static const char *const paths[] = { "/bin/busybox", "/usr/bin/busybox" };
	static const char *const links[] = { "bin/sh", "bin/ls", "bin/cat", "bin/mount",
		"bin/umount", "bin/dd", "bin/cp", "bin/mv", "bin/rm", "bin/mkdir", "bin/vi",
		"bin/ip", "bin/ping", "bin/wget", "bin/chroot", "bin/fdisk", "bin/sync", "bin/ps",
		"bin/dmesg", "bin/grep", "bin/sed", "bin/tar", "bin/lspci", "bin/blkid", "bin/df",
		"bin/echo", "bin/sha256sum", "bin/reboot" };
	if (!add_file(all, paths, ARRAY_SIZE(paths), "bin/busybox", 0755))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		add(all, links[i], "busybox", 7, S_IFLNK | 0777);
}

/* Debian's is linked with libraries, which stand in one of two directories. */
static void add_ssh(struct gathering *all)
{
	static const char *const programs[] = { "usr/sbin/dropbear", "usr/bin/dropbearkey" };
	static const char *const names[] = { "libc.so.6", "libcrypt.so.1", "libtomcrypt.so.1",
		"libtommath.so.1", "libgmp.so.10", "libz.so.1" };
	static const char *const loader[] = { "/lib64/ld-linux-x86-64.so.2" };
	size_t before = all->count;
	bool is_whole = add_file(all, loader, 1, "lib64/ld-linux-x86-64.so.2", 0755);
	for (size_t i = 0; is_whole && i < ARRAY_SIZE(programs); i++) {
		cleanup(free) char *path = alloc_printf("/%s", programs[i]);
		const char *const from[] = { path };
		is_whole = add_file(all, from, 1, programs[i], 0755);
	}
	for (size_t i = 0; is_whole && i < ARRAY_SIZE(names); i++) {
		cleanup(free) char *multi = alloc_printf("/lib/x86_64-linux-gnu/%s", names[i]);
		cleanup(free) char *plain = alloc_printf("/usr/lib/%s", names[i]);
		const char *const from[] = { multi, plain };
		char *to = alloc_printf("lib/%s", names[i]);
		assert(all->owned_count < FILES_MAX);
		all->owned[all->owned_count++] = to;
		is_whole = add_file(all, from, ARRAY_SIZE(from), to, 0755);
	}
	/* Half of it would not start. */
	if (!is_whole)
		all->count = before;
}

/* From one memfd to the other, which whoever asked has. */
static int copy_out(int from, int to, json_t **ret, struct error *e)
{
	struct stat status;
	if (fstat(from, &status) < 0)
		return error_errno(e, "look at the initial file system");
	off_t at = 0;
	while (at < status.st_size) {
		ssize_t n = sendfile(to, from, &at, (size_t)(status.st_size - at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_code(
				e, n < 0 ? -errno : -EIO, "write the initial file system");
	}
	*ret = json_pack("{s:I}", "bytes", (json_int_t)status.st_size);
	return 0;
}

int task_initial(struct task *task, json_t **ret, struct error *e)
{
	static const char *const dirs[] = { "bin", "lib", "lib64", "usr", "usr/bin", "usr/sbin",
		"mnt", "etc/dropbear", "var", "var/log" };
	struct gathering all = {};
	const char *kernel, *agent;
	cleanup(close) int made = -1;
	int r = task_text(task, "kernel", &kernel, e);
	if (r == 0)
		r = task_text(task, "agent", &agent, e);
	int out = r == 0 ? task_fd(task, 0, e) : r;
	if (out < 0)
		return out;
	add(&all, "root", NULL, 0, S_IFDIR | 0700);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		add(&all, dirs[i], NULL, 0, S_IFDIR | 0755);
	add_shell(&all);
	add_ssh(&all);
	const struct initial_options options = { .kernel = kernel,
		.agent = agent,
		.modules = modules,
		.is_choice = true,
		.files = all.files,
		.file_count = all.count };
	r = initial_make(&options, &made, e);
	for (size_t i = 0; i < all.owned_count; i++)
		free(all.owned[i]);
	return r < 0 ? r : copy_out(made, out, ret, e);
}
