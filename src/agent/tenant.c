/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tenant.c - the tenant's file systems, touched by a child that has them as its root: a link in an image leads
 * nowhere else.
 */
#include "agent/tenant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/reboot.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/clock.h"
#include "base/file.h"

#define WHERE          "/run/tenant"
#define PARTITIONS_MAX 32
#define CONFIG_MAX     (1 * MIB)
#define TYPE_BYTES     (65536 + 4096)
#define GROW_EXT4      _IOW('f', 16, uint64_t)

struct partition {
	char device[64];
	uint64_t bytes;
};

static const char *const marks[] = { "etc/os-release", "etc/fstab", "sbin/init", "usr/sbin/init" };
static const char *const agents[] = { "usr/libexec/berth/berth-line", "usr/lib/berth/berth-line",
	"usr/local/libexec/berth/berth-line", "var/lib/berth/berth-line" };
static const char *const configs[] = { "boot/grub/grub.cfg", "boot/grub2/grub.cfg", "grub/grub.cfg",
	"grub2/grub.cfg", "boot/extlinux/extlinux.conf", "extlinux/extlinux.conf" };
static const char *const entries[] = { "boot/loader/entries", "loader/entries" };

static void (*load_module)(const char *name);

void tenant_set_loader(void (*load)(const char *name))
{
	load_module = load;
}

/* The partitions of the disk, or itself if it has none. */
static size_t find_partitions(const char *disk, struct partition ret[PARTITIONS_MAX])
{
	char path[128];
	size_t count = 0;
	snprintf(path, sizeof(path), "/sys/block/%.31s", disk);
	DIR *dir = opendir(path);
	for (const struct dirent *entry; dir && count < PARTITIONS_MAX && (entry = readdir(dir));) {
		uint64_t sectors = 0;
		snprintf(path, sizeof(path), "/sys/block/%.31s/%.40s/size", disk, entry->d_name);
		if (!text_starts(entry->d_name, disk) ||
			file_read_u64(AT_FDCWD, path, &sectors) < 0)
			continue;
		snprintf(ret[count].device, sizeof(ret[count].device), "/dev/%.40s", entry->d_name);
		ret[count++].bytes = sectors * 512;
	}
	if (dir)
		closedir(dir);
	if (count == 0) {
		snprintf(ret[0].device, sizeof(ret[0].device), "/dev/%.31s", disk);
		count = 1;
	}
	return count;
}

const char *tenant_read_type(const uint8_t *bytes, size_t length)
{
	static const struct {
		const char *type;
		size_t at;
		const char *magic;
		size_t length;
	} known[] = {
		{ "ext4", 1024 + 56, "\x53\xef", 2 },
		{ "xfs", 0, "XFSB", 4 },
		{ "btrfs", 65536 + 64, "_BHRfS_M", 8 },
		{ "erofs", 1024, "\xe2\xe1\xf5\xe0", 4 },
		{ "vfat", 54, "FAT", 3 },
		{ "vfat", 82, "FAT", 3 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].at + known[i].length <= length &&
			memcmp(bytes + known[i].at, known[i].magic, known[i].length) == 0)
			return known[i].type;
	return NULL;
}

/* Of what it holds: a driver that is not needed is not loaded (that of btrfs measures the CPU for seconds). */
static const char *type_of(const char *device)
{
	cleanup(free) uint8_t *bytes = alloc_array(TYPE_BYTES, uint8_t);
	cleanup(close) int fd = open(device, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, bytes, TYPE_BYTES, 0);
	return n < 0 ? NULL : tenant_read_type(bytes, (size_t)n);
}

static int mount_with(
	const char *device, const char *type, unsigned long flags, const char *options)
{
	mkdir(WHERE, 0700);
	if (load_module)
		load_module(type);
	return mount(device, WHERE, type, flags | MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0
		? -errno
		: 0;
}

static int mount_type(const char *device, const char *type, unsigned long flags)
{
	return mount_with(device, type, flags, NULL);
}

/* A journal that was not closed is not played back. */
static int mount_untouched(const char *device, const char *type)
{
	const char *options = text_equal(type, "ext4") ? "noload"
		: text_equal(type, "xfs")              ? "norecovery"
		: text_equal(type, "btrfs")            ? "rescue=nologreplay"
						       : NULL;
	return mount_with(device, type, MS_RDONLY, options);
}

static bool has_any(const char *root, const char *const *paths, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char path[128];
		struct stat status;
		snprintf(path, sizeof(path), "%s/%s", root, paths[i]);
		if (lstat(path, &status) == 0)
			return true;
	}
	return false;
}

static int write_one(const struct tenant_file *file)
{
	if (file->is_agents && !has_any("", agents, ARRAY_SIZE(agents)))
		return 0;
	cleanup(free) char *above = alloc_text(file->path + 1);
	char *slash = strrchr(above, '/');
	if (slash) {
		*slash = '\0';
		int r = file_make_dirs(AT_FDCWD, above, file->mode & 077 ? 0755 : 0700);
		if (r < 0)
			return r;
	}
	struct error e = {};
	int r = file_replace(AT_FDCWD, file->path, file->data, file->length, file->mode, &e);
	return r;
}

/* In a child whose root it is. */
static int write_inside(const struct tenant_file *files, size_t count, struct error *e)
{
	pid_t pid = fork();
	if (pid < 0)
		return error_errno(e, "fork");
	if (pid == 0) {
		if (chdir(WHERE) < 0 || chroot(".") < 0)
			_exit(255);
		for (size_t i = 0; i < count; i++)
			if (write_one(&files[i]) < 0)
				_exit((int)i + 1);
		_exit(0);
	}
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	size_t which = WIFEXITED(status) ? (size_t)WEXITSTATUS(status) - 1 : count;
	return error_set(e, -EIO, "write %s into the tenant's system",
		which < count ? files[which].path : "files");
}

static void grow(const char *type, uint64_t bytes)
{
	/* The others grow by cloud-init, or by their owner. */
	if (!text_equal(type, "ext4") || bytes == 0)
		return;
	cleanup(close) int fd = open(WHERE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	if (fd < 0 || fstat(fd, &status) < 0 || status.st_blksize <= 0)
		return;
	uint64_t blocks = bytes / (uint64_t)status.st_blksize;
	(void)ioctl(fd, GROW_EXT4, &blocks);
}

bool tenant_has_agent(const char *disk)
{
	struct partition partitions[PARTITIONS_MAX];
	size_t count = find_partitions(disk, partitions);
	bool has = false;
	for (size_t i = 0; i < count && !has; i++) {
		const char *type = type_of(partitions[i].device);
		if (!type || text_equal(type, "vfat") ||
			mount_untouched(partitions[i].device, type) < 0)
			continue;
		has = has_any(WHERE, marks, ARRAY_SIZE(marks)) &&
			has_any(WHERE, agents, ARRAY_SIZE(agents));
		(void)umount(WHERE);
	}
	return has;
}

int tenant_write(const char *disk, const struct tenant_file *files, size_t count, struct error *e)
{
	struct partition partitions[PARTITIONS_MAX];
	size_t partition_count = find_partitions(disk, partitions);
	for (size_t i = 0; i < partition_count; i++) {
		/* What UEFI reads is no system. */
		const char *type = type_of(partitions[i].device);
		if (!type || text_equal(type, "vfat") ||
			mount_type(partitions[i].device, type, 0) < 0)
			continue;
		int r = -ENOENT;
		if (has_any(WHERE, marks, ARRAY_SIZE(marks))) {
			grow(type, partitions[i].bytes);
			r = write_inside(files, count, e);
			sync();
		}
		if (umount(WHERE) < 0 && r == 0)
			r = error_errno(e, "unmount %s", partitions[i].device);
		if (r != -ENOENT)
			return r;
	}
	return error_set(e, -ENOENT, "no partition of %s holds a system", disk);
}

static const char *after_word(const char *line, const char *word)
{
	size_t length = strlen(word);
	if (strncmp(line, word, length) != 0 || (line[length] != ' ' && line[length] != '\t'))
		return NULL;
	return line + length + strspn(line + length, " \t");
}

static const char *after_any(const char *line, const char *const *words)
{
	for (; *words; words++) {
		const char *rest = after_word(line, *words);
		if (rest)
			return rest;
	}
	return NULL;
}

/* "($root)/boot/x" and "/boot/x args": the path, and what is behind it. */
static const char *take_path(const char *rest, char *to, size_t size)
{
	size_t length = strcspn(rest, " \t");
	const char *start = rest;
	if (*start == '(') {
		const char *end = memchr(start, ')', length);
		if (end) {
			length -= (size_t)(end + 1 - start);
			start = end + 1;
		}
	}
	snprintf(to, size, "%.*s", (int)length, start);
	rest += strcspn(rest, " \t");
	return rest + strspn(rest, " \t");
}

int tenant_read_boot(const char *config, struct tenant_boot *ret)
{
	static const char *const kernels[] = { "linux", "linuxefi", "linux16", "kernel", "LINUX",
		"KERNEL", NULL };
	static const char *const initrds[] = { "initrd", "initrdefi", "initrd16", "INITRD", NULL };
	static const char *const appends[] = { "append", "APPEND", "options", NULL };
	struct tenant_boot boot = {};
	cleanup(free) char *copy = alloc_text(config);
	char *rest = NULL;
	for (char *line = strtok_r(copy, "\r\n", &rest); line;
		line = strtok_r(NULL, "\r\n", &rest)) {
		const char *at;
		line += strspn(line, " \t");
		if ((at = after_any(line, kernels))) {
			if (boot.kernel[0])
				break; /* the next entry's */
			at = take_path(at, boot.kernel, sizeof(boot.kernel));
			if (*at)
				snprintf(boot.arguments, sizeof(boot.arguments), "%s", at);
		} else if ((at = after_any(line, initrds)) && !boot.initrd[0]) {
			(void)take_path(at, boot.initrd, sizeof(boot.initrd));
		} else if ((at = after_any(line, appends)) && !boot.arguments[0]) {
			snprintf(boot.arguments, sizeof(boot.arguments), "%s", at);
		}
	}
	if (boot.kernel[0] != '/' || strchr(boot.kernel, '$') || strchr(boot.initrd, '$') ||
		strchr(boot.arguments, '$'))
		return -ENOENT;
	*ret = boot;
	return 0;
}

static int read_config(int root, const char *path, struct tenant_boot *ret)
{
	cleanup(free) char *text = NULL;
	cleanup(close) int fd = file_open_in_root(root, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	char self[40];
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	int r = file_read(AT_FDCWD, self, CONFIG_MAX, &text, NULL, NULL);
	return r < 0 ? r : tenant_read_boot(text, ret);
}

/* The entry whose name sorts last: the newest. */
static int read_entries(int root, const char *path, struct tenant_boot *ret)
{
	char newest[NAME_MAX + 1] = "";
	int fd = file_open_in_root(root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	for (const struct dirent *entry; dir && (entry = readdir(dir));)
		if (text_ends(entry->d_name, ".conf") && strcmp(entry->d_name, newest) > 0)
			snprintf(newest, sizeof(newest), "%s", entry->d_name);
	if (dir)
		closedir(dir);
	if (!newest[0])
		return -ENOENT;
	cleanup(free) char *whole = alloc_printf("%s/%s", path, newest);
	return read_config(root, whole, ret);
}

static int find_boot(int root, struct tenant_boot *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++)
		if (read_entries(root, entries[i], ret) == 0)
			return 0;
	for (size_t i = 0; i < ARRAY_SIZE(configs); i++)
		if (read_config(root, configs[i], ret) == 0)
			return 0;
	return -ENOENT;
}

static int open_file(int root, const char *path, int *ret)
{
	/* A /boot of its own has no "boot/" in front. */
	cleanup(free) char *above = alloc_printf("/boot%s", path);
	int fd = file_open_in_root(root, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		fd = file_open_in_root(root, above, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	*ret = fd;
	return 0;
}

static int load_from(int root, const struct tenant_boot *boot, uint64_t *ret_ms, struct error *e)
{
	cleanup(close) int kernel = -1, initrd = -1;
	int r = open_file(root, boot->kernel, &kernel);
	if (r == 0 && boot->initrd[0])
		r = open_file(root, boot->initrd, &initrd);
	if (r < 0)
		return error_code(e, r, "%s", boot->kernel);
	unsigned long flags = initrd < 0 ? 4ul /* without an initrd */ : 0;
	uint64_t begin = now_ms();
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(boot->arguments) + 1,
		    boot->arguments, flags) < 0)
		return error_errno(e, "load %s", boot->kernel);
	*ret_ms = now_ms() - begin;
	return 0;
}

static int load_partition(const char *device, const char *type, uint64_t *ret_ms, struct error *e)
{
	struct tenant_boot boot;
	if (mount_type(device, type, MS_RDONLY) < 0)
		return -ENOENT;
	int root = open(WHERE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = root < 0 ? -errno : find_boot(root, &boot);
	if (r == 0)
		r = load_from(root, &boot, ret_ms, e);
	if (root >= 0)
		close(root);
	(void)umount(WHERE);
	return r;
}

int tenant_load(const char *disk, uint64_t *ret_ms, struct error *e)
{
	struct partition partitions[PARTITIONS_MAX];
	size_t count = find_partitions(disk, partitions);
	/* What UEFI reads is looked at last. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < count; i++) {
			const char *type = type_of(partitions[i].device);
			if (!type || text_equal(type, "vfat") != (pass == 1))
				continue;
			int r = load_partition(partitions[i].device, type, ret_ms, e);
			if (r != -ENOENT)
				return r;
		}
	return error_set(e, -EOPNOTSUPP, "no boot entry that could be started without a restart");
}

void tenant_jump(void)
{
	kill(-1, SIGKILL);
	sync();
	reboot(LINUX_REBOOT_CMD_KEXEC);
	/* It was not loaded after all. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
