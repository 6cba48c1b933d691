/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.c - checks that try what berth will do, where trying costs nothing.
 */
#include "host/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "base/file.h"
#include "base/text.h"
#include "host/cgroup_layout.h"
#include "host/mount.h"
#include "host/netlink.h"
#include "host/process.h"
#include "model/json.h"

#define ENGINE_BYTES_MAX 4096
#define KERNEL_MAJOR     5
#define KERNEL_MINOR     19 /* overlay over idmapped mounts */

enum status { OK, DEGRADED, MISSING };

struct check {
	enum status status;
	char detail[512];
	const char *remedy;
};

static void say(struct check *check, enum status status, const char *remedy, const char *format,
	...) printf_like(4, 5);

static void say(
	struct check *check, enum status status, const char *remedy, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(check->detail, sizeof(check->detail), format, args);
	va_end(args);
	check->status = status;
	check->remedy = remedy;
}

static void check_kernel(struct check *check, const char *dir)
{
	(void)dir;
	struct utsname uts;
	uname(&uts);
	char *minor_text;
	unsigned long major = strtoul(uts.release, &minor_text, 10);
	unsigned long minor = *minor_text == '.' ? strtoul(minor_text + 1, NULL, 10) : 0;
	if (major < KERNEL_MAJOR || (major == KERNEL_MAJOR && minor < KERNEL_MINOR))
		say(check, MISSING, "apt install -t bookworm-backports linux-image-amd64",
			"Linux %s; berth needs %d.%d", uts.release, KERNEL_MAJOR, KERNEL_MINOR);
	else
		say(check, OK, "", "Linux %s", uts.release);
}

static void check_cgroups(struct check *check, const char *dir)
{
	(void)dir;
	static const enum cgroup_controller wanted[] = { CGROUP_CPU, CGROUP_CPUSET, CGROUP_MEMORY,
		CGROUP_PIDS, CGROUP_IO };
	cleanup(cgroups_free) struct cgroups *cgroups = NULL;
	struct error e = {};
	if (cgroups_open(&cgroups, &e) < 0) {
		say(check, MISSING, "mount -t cgroup2 none /sys/fs/cgroup", "%s", e.text);
		return;
	}
	cleanup(text_done) struct text have = {}, missing = {};
	uint32_t bits = cgroups_have(cgroups);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const char *name = cgroup_controller_name(wanted[i]);
		if (bits & CGROUP_BIT(wanted[i]))
			text_printf(&have, " %s:%s", name,
				cgroups_is_v2(cgroups, wanted[i]) ? "v2" : "v1");
		else
			text_printf(&missing, " %s", name);
	}
	if (missing.length > 0)
		say(check, DEGRADED,
			"boot with cgroup_enable=memory and without systemd.unified_cgroup_hierarchy=0",
			"these limits can't be held:%s; there are%s", text_str(&missing),
			text_str(&have));
	else
		say(check, OK, "", "controllers%s", text_str(&have));
}

/* A child in a user namespace of its own, until the caller closes `ret_pidfd`'s process. */
static int user_namespace(int *ret_fd, int *ret_pidfd)
{
	int pidfd;
	pid_t pid = process_clone(CLONE_NEWUSER, -1, &pidfd);
	if (pid < 0)
		return (int)pid;
	if (pid == 0) {
		pause();
		_exit(0);
	}
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)pid);
	int r = file_write_value(AT_FDCWD, path, "0 1000000 65536");
	snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)pid);
	if (r == 0)
		r = file_write_value(AT_FDCWD, path, "0 1000000 65536");
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	int fd = r == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (r == 0 && fd < 0)
		r = -errno;
	if (r < 0) {
		int status;
		(void)!process_signal(pidfd, 9);
		(void)!process_wait(pidfd, &status);
		close(pidfd);
		return r;
	}
	*ret_fd = fd;
	*ret_pidfd = pidfd;
	return 0;
}

static void end_user_namespace(int fd, int pidfd)
{
	int status;
	close(fd);
	(void)!process_signal(pidfd, 9);
	(void)!process_wait(pidfd, &status);
	close(pidfd);
}

static void check_user_namespaces(struct check *check, const char *dir)
{
	(void)dir;
	int fd, pidfd;
	int r = user_namespace(&fd, &pidfd);
	if (r < 0) {
		say(check, MISSING, "sysctl user.max_user_namespaces=65536",
			"no user namespace can be made: %s", strerrordesc_np(-r));
		return;
	}
	end_user_namespace(fd, pidfd);
	say(check, OK, "", "made and mapped");
}

static void check_idmap(struct check *check, const char *dir)
{
	int fd, pidfd, mount;
	struct error e = {};
	int r = user_namespace(&fd, &pidfd);
	if (r < 0) {
		say(check, MISSING, "sysctl user.max_user_namespaces=65536",
			"needs a user namespace: %s", strerrordesc_np(-r));
		return;
	}
	r = mount_clone(AT_FDCWD, dir, false, &mount, &e);
	if (r == 0) {
		r = mount_idmap(mount, fd, false, &e);
		close(mount);
	}
	end_user_namespace(fd, pidfd);
	if (r < 0)
		say(check, MISSING, "keep the daemon's directory on ext4, btrfs or xfs",
			"the file system of %s can't map ids: %.300s", dir, e.text);
	else
		say(check, OK, "", "the file system of %s maps ids", dir);
}

static bool has_file_system(const char *name)
{
	cleanup(free) char *text = NULL;
	cleanup(free) char *line = alloc_printf("\t%s\n", name);
	return file_read(AT_FDCWD, "/proc/filesystems", 65536, &text, NULL, NULL) == 0 &&
		strstr(text, line) != NULL;
}

static void check_overlay(struct check *check, const char *dir)
{
	(void)dir;
	if (has_file_system("overlay"))
		say(check, OK, "", "the kernel has overlayfs");
	else
		say(check, MISSING, "modprobe overlay", "the kernel has no overlayfs loaded");
}

/* In the PATH of a daemon. The caller owns it; NULL if it is nowhere. */
static char *find_program(const char *name)
{
	static const char *const dirs[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin",
		"/usr/local/sbin", "/usr/local/bin" };
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		cleanup(free) char *path = alloc_printf("%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			return TAKE_PTR(path);
	}
	return NULL;
}

static void check_program(struct check *check, const char *name, enum status without,
	const char *what, const char *remedy)
{
	cleanup(free) char *path = find_program(name);
	if (path)
		say(check, OK, "", "%s", path);
	else
		say(check, without, remedy, "%s is not installed: %s", name, what);
}

static void check_btrfs(struct check *check, const char *dir)
{
	(void)dir;
	cleanup(free) char *path = find_program("mkfs.btrfs");
	if (!has_file_system("btrfs"))
		say(check, DEGRADED, "modprobe btrfs",
			"the kernel has no btrfs loaded: pools are slower to copy");
	else if (!path)
		say(check, DEGRADED, "apt install btrfs-progs",
			"mkfs.btrfs is not installed: pools are slower to copy");
	else
		say(check, OK, "", "the kernel and %s", path);
}

static void check_loop(struct check *check, const char *dir)
{
	(void)dir;
	cleanup(close) int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		say(check, DEGRADED, "modprobe loop",
			"/dev/loop-control: %m; no limits of storage on a plain directory");
	else
		say(check, OK, "", "/dev/loop-control opens");
}

static void check_kvm(struct check *check, const char *dir)
{
	(void)dir;
	cleanup(close) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		say(check, DEGRADED,
			"modprobe kvm_intel || modprobe kvm_amd; see the firmware's virtualisation switch",
			"/dev/kvm: %m; virtual machines run on the software engine");
		return;
	}
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);
	int machine = version == KVM_API_VERSION ? ioctl(fd, KVM_CREATE_VM, 0) : -1;
	if (machine < 0) {
		say(check, DEGRADED, "see the kernel's log",
			"/dev/kvm makes no machine; virtual machines run on the software engine");
		return;
	}
	close(machine);
	bool is_pvm = access("/sys/module/kvm_pvm", F_OK) == 0;
	bool is_hardware = access("/sys/module/kvm_intel", F_OK) == 0 ||
		access("/sys/module/kvm_amd", F_OK) == 0;
	if (is_pvm && !is_hardware)
		say(check, DEGRADED, "",
			"KVM by kvm_pvm, without the processor's virtualisation: slower, and not all guests run");
	else
		say(check, OK, "", "KVM on the processor's virtualisation");
}

/* Beside us: in the build tree and in an installation. */
static void find_own_program(const char *folder, const char *name, char ret[PATH_MAX])
{
	const char *const before[] = { "", "../", "../libexec/berth/" };
	const char *const folders[] = { "", folder, "" };
	char self[PATH_MAX - 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n < 0 ? 0 : n] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		snprintf(ret, PATH_MAX, "%s/%s%s%s", self, before[i], folders[i], name);
		if (access(ret, X_OK) == 0)
			return;
	}
}

/* What a program of ours says of this host, a line: 0, or it could not say or does not like it. */
static int ask(const char *folder, const char *name, const char *about, char *said, size_t size)
{
	char program[PATH_MAX];
	const char *const args[] = { program, about, NULL };
	struct process process;
	struct error e = {};
	int ends[2], status = -1;
	size_t length = 0;
	find_own_program(folder, name, program);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	int r = process_spawn(&(struct process_options){ .program = program,
				      .args = args,
				      .stdin_fd = -1,
				      .stdout_fd = ends[1],
				      .stderr_fd = ends[1] },
		&process, &e);
	close(ends[1]);
	for (ssize_t n; r == 0 && length < size - 1 &&
		(n = read(ends[0], said + length, size - 1 - length)) > 0;)
		length += (size_t)n;
	close(ends[0]);
	said[length] = '\0';
	said[strcspn(said, "\n")] = '\0';
	if (r < 0) {
		snprintf(said, size, "%s", e.text);
		return r;
	}
	(void)!process_wait(process.pidfd, &status);
	close(process.pidfd);
	return status == 0 ? 0 : -EIO;
}

/* The program measures, and says what it takes. */
static void explain(struct check *check, const char *folder, const char *name, const char *noun)
{
	char said[sizeof(check->detail)] = "";
	if (ask(folder, name, "--explain-engine", said, sizeof(said)) < 0)
		say(check, MISSING, "", "%s have no engine: %s", noun, said);
	else
		say(check, OK, "", "%s run on %s", noun, said);
}

static void check_engine(struct check *check, const char *dir)
{
	(void)dir;
	explain(check, "vmm/", "berth-vmm", "machines");
}

static void check_direct(struct check *check, const char *dir)
{
	(void)dir;
	char said[sizeof(check->detail)] = "";
	if (ask("vmm/", "berth-vmm", "--explain-direct", said, sizeof(said)) < 0)
		say(check, DEGRADED, "sysctl kernel.yama.ptrace_scope=1",
			"the engine soft translates even programs that only compute: %s", said);
	else
		say(check, OK, "", "%s", said);
}

static void check_unikernels(struct check *check, const char *dir)
{
	/* What the daemon has measured is what it goes by. */
	cleanup(json_decref) json_t *kept = NULL;
	cleanup(free) char *text = NULL;
	cleanup(free) char *path = alloc_printf("%s/" ENGINE_FILE, dir ?: "");
	size_t length;
	if (file_read(AT_FDCWD, path, ENGINE_BYTES_MAX, &text, &length, NULL) == 0 &&
		json_parse(text, length, &kept, NULL) == 0 && json_text(kept, "why"))
		say(check, OK, "", "unikernels run on %s, because %s", json_text(kept, "engine"),
			json_text(kept, "why"));
	else
		explain(check, "tender/", "berth-tender-run", "unikernels");
}

static void check_tun(struct check *check, const char *dir)
{
	(void)dir;
	cleanup(close) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		say(check, DEGRADED, "modprobe tun",
			"/dev/net/tun: %m; virtual machines have no network");
	else
		say(check, OK, "", "/dev/net/tun opens");
}

static int ignore(void *data, uint16_t type, const void *message, size_t length)
{
	(void)data, (void)type, (void)message, (void)length;
	return 0;
}

static void check_nftables(struct check *check, const char *dir)
{
	(void)dir;
	cleanup(netlink_close) struct netlink *netlink = NULL;
	struct error e = {};
	int r = netlink_open(NETLINK_NETFILTER, &netlink, &e);
	if (r == 0) {
		struct nfgenmsg header = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
		netlink_begin(netlink);
		netlink_message(netlink, (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, 0, &header,
			sizeof(header));
		r = netlink_get(netlink, ignore, NULL, &e);
	}
	if (r < 0)
		say(check, MISSING, "modprobe nf_tables",
			"the kernel has no nftables: no NAT, no filters (%.200s)", e.text);
	else
		say(check, OK, "", "the kernel answers");
}

static void check_dnsmasq(struct check *check, const char *dir)
{
	(void)dir;
	check_program(check, "dnsmasq", MISSING, "networks have no DHCP and no names",
		"apt install dnsmasq-base");
}

static void check_skopeo(struct check *check, const char *dir)
{
	(void)dir;
	check_program(
		check, "skopeo", DEGRADED, "no images come from registries", "apt install skopeo");
}

static void check_ext4(struct check *check, const char *dir)
{
	(void)dir;
	check_program(check, "mkfs.ext4", DEGRADED, "no volumes with a limit on a plain directory",
		"apt install e2fsprogs");
}

static void check_seccomp(struct check *check, const char *dir)
{
	(void)dir;
	if (access("/proc/sys/kernel/seccomp/actions_avail", F_OK) == 0)
		say(check, OK, "", "system calls can be filtered");
	else
		say(check, MISSING, "use a kernel with CONFIG_SECCOMP_FILTER",
			"system calls can't be filtered: nothing is locked in");
}

static void check_landlock(struct check *check, const char *dir)
{
	(void)dir;
	long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (version < 0)
		say(check, DEGRADED, "boot with lsm=landlock,...",
			"no Landlock (%m): one wall less around jobs and runners");
	else
		say(check, OK, "", "version %ld", version);
}

static void check_time_namespace(struct check *check, const char *dir)
{
	(void)dir;
	if (access("/proc/self/ns/time", F_OK) == 0)
		say(check, OK, "", "instances have clocks of their own");
	else
		say(check, DEGRADED, "use a kernel with CONFIG_TIME_NS",
			"instances see the host's uptime");
}

static bool has_files(const char *const *paths, size_t count, const char **ret_missing)
{
	for (size_t i = 0; i < count; i++) {
		if (access(paths[i], R_OK) == 0)
			continue;
		*ret_missing = paths[i];
		return false;
	}
	return true;
}

static void check_server_network(struct check *check, const char *dir)
{
	static const char *const paths[] = { "/usr/lib/ipxe/undionly.kpxe",
		"/usr/lib/ipxe/ipxe.efi" };
	const char *missing = NULL;
	(void)dir;
	if (has_files(paths, ARRAY_SIZE(paths), &missing))
		say(check, OK, "", "servers boot from the network by iPXE");
	else
		say(check, DEGRADED, "apt install ipxe", "%s: no servers boot from the network",
			missing);
}

static void check_server_discs(struct check *check, const char *dir)
{
	static const char *const paths[] = { "/usr/lib/ISOLINUX/isolinux.bin",
		"/usr/lib/syslinux/modules/bios/ldlinux.c32",
		"/usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi" };
	const char *missing = NULL;
	(void)dir;
	if (has_files(paths, ARRAY_SIZE(paths), &missing))
		say(check, OK, "", "servers boot from discs in virtual drives");
	else
		say(check, DEGRADED, "apt install isolinux syslinux-common grub-efi-amd64-bin",
			"%s: no servers boot from virtual drives", missing);
}

static void check_server_switch(struct check *check, const char *dir)
{
	(void)dir;
	check_program(check, "ovs-vsctl", DEGRADED,
		"servers' tenants share the provisioning network, unless a switch elsewhere parts them",
		"apt install openvswitch-switch");
}

static const struct {
	const char *name;
	void (*run)(struct check *check, const char *dir);
	bool needs_dir;
} checks[] = {
	{ "kernel", check_kernel, false },
	{ "cgroups", check_cgroups, false },
	{ "user namespaces", check_user_namespaces, false },
	{ "time namespaces", check_time_namespace, false },
	{ "id-mapped mounts", check_idmap, true },
	{ "overlayfs", check_overlay, false },
	{ "seccomp", check_seccomp, false },
	{ "landlock", check_landlock, false },
	{ "btrfs", check_btrfs, false },
	{ "loop devices", check_loop, false },
	{ "ext4 tools", check_ext4, false },
	{ "nftables", check_nftables, false },
	{ "dnsmasq", check_dnsmasq, false },
	{ "machine engine", check_engine, false },
	{ "direct execution", check_direct, false },
	{ "unikernel engine", check_unikernels, false },
	{ "tun", check_tun, false },
	{ "kvm", check_kvm, false },
	{ "skopeo", check_skopeo, false },
	{ "servers' network", check_server_network, false },
	{ "servers' discs", check_server_discs, false },
	{ "servers' switch", check_server_switch, false },
};

json_t *doctor_json(const char *dir)
{
	static const char *const words[] = {
		[OK] = "ok",
		[DEGRADED] = "degraded",
		[MISSING] = "missing",
	};
	json_t *list = json_array();
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		if (checks[i].needs_dir && !dir)
			continue;
		struct check check = {};
		checks[i].run(&check, dir);
		json_array_append_new(list,
			json_pack("{s:s,s:s,s:s,s:s}", "name", checks[i].name, "status",
				words[check.status], "detail", check.detail, "remedy",
				check.remedy));
	}
	return list;
}

static const char *field(const json_t *check, const char *name)
{
	const char *text = json_string_value(json_object_get(check, name));
	return text ? text : "";
}

bool doctor_print(const json_t *list)
{
	bool is_whole = true;
	size_t i;
	const json_t *check;
	json_array_foreach(json_mutable(list), i, check)
	{
		const char *status = field(check, "status"), *remedy = field(check, "remedy");
		is_whole = is_whole && !text_equal(status, "missing");
		printf("%-18s %-9s %s\n", field(check, "name"), status, field(check, "detail"));
		if (*remedy)
			printf("%-28s mend: %s\n", "", remedy);
	}
	return is_whole;
}
