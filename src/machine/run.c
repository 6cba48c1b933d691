/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - from the plan of a machine to its monitor, in the same process: what is made first is outside
 * the machine's limits, what comes after is in them.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/runner.h"
#include "abi/vsock.h"
#include "base/channel.h"
#include "base/file.h"
#include "base/text.h"
#include "disk/initial.h"
#include "disk/tree.h"
#include "host/jail.h"
#include "host/nic.h"
#include "host/process.h"
#include "machine/machine.h"
#include "model/json.h"

#define PLAN_BYTES_MAX  MIB
#define GUEST_CID       3
#define MACHINE_PLAN    "machine.json"
#define UEFI_VARIABLES  "/usr/share/OVMF/OVMF_VARS_4M.fd"
#define VARIABLES_FILE  "uefi.vars"
#define BOOT_CODE_BYTES 64

struct run {
	json_t *plan;
	json_t *machine; /* the monitor's plan */
	struct text fds; /* BERTH_FDS */
	int dir;
};

/* Hands a descriptor on under a name; it is the program's that we become. */
static int pass(struct run *run, const char *name, int fd)
{
	if (fcntl(fd, F_SETFD, 0) < 0)
		return -errno;
	text_printf(&run->fds, "%s%s=%d", run->fds.length ? "," : "", name, fd);
	return 0;
}

static int pass_all(struct run *run, struct error *e)
{
	static const char *const names[] = { "control", "dir", "channel" };
	for (size_t i = 0; i < ARRAY_SIZE(names) + JAIL_ROOMS; i++) {
		bool is_wanted = i < ARRAY_SIZE(names);
		enum jail_room room = (enum jail_room)(i - ARRAY_SIZE(names));
		const char *name = is_wanted ? names[i] : jail_room_name(room);
		int fd = process_named_fd(name);
		if (fd == -ENOENT && !is_wanted)
			continue;
		if (fd < 0 || pass(run, name, fd) < 0)
			return error_set(e, -EINVAL, "the descriptor %s is wanted", name);
	}
	return 0;
}

static char *beside(const char *folder, const char *program)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n < 0 ? 0 : n] = '\0';
	char *slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	char *path = alloc_printf("%s/%s", self, program);
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return alloc_printf("%s/../%s/%s", self, folder, program);
}

/* A card whose other end is nowhere: what is sent is lost, and nothing comes. */
static int make_loose_end(int *ret, struct error *e)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, "make a card's end");
	close(ends[1]);
	*ret = ends[0];
	return 0;
}

static int make_tap(struct netlink *netlink, const json_t *nic, const json_t *host,
	const uint8_t mac[6], int *ret, struct error *e)
{
	const struct nic made = {
		.host = json_text(host, "name"),
		.bridge = json_text(host, "bridge"),
		.shaper = json_text(host, "shaper"),
		.mac = mac,
		.mtu = (uint32_t)json_integer_value(json_object_get(nic, "mtu")),
		.is_isolated = json_is_true(json_object_get(host, "isolated")),
		.rates = { (uint64_t)json_integer_value(json_object_get(host, "into_bits")),
			(uint64_t)json_integer_value(json_object_get(host, "out_of_bits")) },
	};
	int r = nic_make_tap(netlink, &made, 1, ret, e);
	return r < 0 ? error_prefix(e, r, "nic %s", made.host) : 0;
}

static int add_nic(
	struct run *run, struct netlink *netlink, const json_t *nic, size_t index, struct error *e)
{
	const json_t *host = json_object_get(nic, "host");
	uint8_t mac[6];
	int tap;
	const char *text = json_text(nic, "mac");
	if (!text || mac_parse(text, mac) < 0)
		return error_set(e, -EINVAL, "nics.mac: no address");
	int r = host ? make_tap(netlink, nic, host, mac, &tap, e) : make_loose_end(&tap, e);
	if (r < 0)
		return r;
	cleanup(free) char *name = alloc_printf("tap%zu", index);
	json_array_append_new(json_object_get(run->machine, "nics"),
		json_pack("{s:o, s:s, s:s}", "tap", json_sprintf("fd:%s", name), "mac", text, "id",
			json_text(nic, "device") ?: name));
	if (json_text(nic, "model"))
		json_object_set(json_array_get(json_object_get(run->machine, "nics"), index),
			"model", json_object_get(nic, "model"));
	r = pass(run, name, tap);
	return r < 0 ? error_code(e, r, "pass a tap") : 0;
}

static int add_nics(struct run *run, struct error *e)
{
	const json_t *nics = json_object_get(run->plan, "nics");
	cleanup(netlink_close) struct netlink *netlink = NULL;
	int r = json_array_size(nics) ? netlink_open(NETLINK_ROUTE, &netlink, e) : 0;
	for (size_t i = 0; r == 0 && i < json_array_size(nics); i++)
		r = add_nic(run, netlink, json_array_get(nics, i), i, e);
	return r;
}

static int add_vsock(struct run *run, struct error *e)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" VSOCK_SOCKET,
		run->dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(address.sun_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(address.sun_path, 0600) < 0 || listen(fd, 64) < 0 ||
		pass(run, "vsock", fd) < 0)
		return error_errno(e, "listen for the machine's agent");
	json_object_set_new(run->machine, "vsock",
		json_pack("{s:i, s:s}", "cid", GUEST_CID, "dir", "fd:vsock"));
	return 0;
}

static bool is_microvm(const struct run *run)
{
	return text_equal(json_text(run->plan, "kind"), "microvm");
}

static bool is_unikernel(const struct run *run)
{
	return text_equal(json_text(run->plan, "kind"), "unikernel");
}

static void add_disk(
	struct run *run, const char *file, const char *id, bool is_readonly, const json_t *more)
{
	static const char *const members[] = { "bytes_per_second", "operations_per_second", "bus" };
	json_t *disk = json_pack("{s:s, s:s}", "file", file, "id", id);
	if (is_readonly)
		json_object_set_new(disk, "readonly", json_true());
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(more, members[i]))
			json_object_set(disk, members[i], json_object_get(more, members[i]));
	json_array_append_new(json_object_get(run->machine, "disks"), disk);
}

/* The image's shared root of a microVM, the own disk, the config drive of a virtual machine, the others. */
static int add_disks(struct run *run, struct error *e)
{
	const json_t *root = json_object_get(run->plan, "root");
	cleanup(free) char *image = NULL, *device = NULL;
	cleanup(free) char *agent = beside("agent", "berth-agent");
	size_t i;
	json_t *disk;
	int r = 0, seed;
	/* A guest that knows its root knows its config drive, too. */
	cleanup(json_decref) json_t *bus = json_pack("{s:O*}", "bus", json_object_get(root, "bus"));
	if (is_microvm(run)) {
		r = root_image(json_object_get(root, "layers"), &image, e);
		if (r == 0)
			add_disk(run, image, "image", true, NULL);
	}
	if (r == 0)
		r = root_device(json_object_get(root, "volume"), is_microvm(run), &device, e);
	if (r == 0)
		add_disk(run, device, "root", false, root);
	if (r == 0 && json_object_get(run->plan, "seed")) {
		r = seed_make(run->plan, agent, run->dir, &seed, e);
		if (r == 0 && pass(run, "seed", seed) < 0)
			r = error_errno(e, "pass the config drive");
		if (r == 0)
			add_disk(run, "fd:seed", "seed", true, bus);
	}
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(run->plan, "disks"), i, disk)
	{
		add_disk(run, json_text(disk, "path"), json_text(disk, "name"),
			json_is_true(json_object_get(disk, "readonly")), disk);
		const json_t *all = json_object_get(run->machine, "disks");
		if (json_is_true(json_object_get(disk, "cdrom")))
			json_object_set_new(json_array_get(all, json_array_size(all) - 1), "bus",
				json_string("cdrom"));
	}
	return 0;
}

static int add_initial(struct run *run, const char *kernel, struct error *e)
{
	static const char *const modules[] = { "virtio_pci", "virtio_blk", "virtio_net",
		"virtio_console", "virtio_balloon", "virtio_mem", "virtio_rng",
		"vmw_vsock_virtio_transport", "ext4", "overlay", "erofs", "vfat", "nls_cp437",
		"nls_ascii", NULL };
	cleanup(free) char *configure = command_configure(run->plan), *program = NULL;
	cleanup(free) char *agent = beside("agent", "berth-agent");
	size_t length = 0;
	int fd;
	int r = command_program(run->plan, &program, &length, e);
	if (r < 0)
		return r;
	const struct initial_file files[] = {
		{ "berth/configure", configure, strlen(configure), 0600 },
		{ "berth/command", program, length, 0600 },
	};
	const struct initial_options options = { .kernel = kernel,
		.agent = agent,
		.modules = modules,
		.files = files,
		.file_count = ARRAY_SIZE(files) };
	r = initial_make(&options, &fd, e);
	if (r == 0 && (lseek(fd, 0, SEEK_SET) < 0 || pass(run, "initrd", fd) < 0))
		r = error_errno(e, "pass the initial file system");
	return r;
}

static int add_kernel(struct run *run, struct error *e)
{
	const char *kernel = json_text(run->plan, "kernel");
	cleanup(free) char *pattern = alloc_printf("%s/boot/vmlinuz*", kernel ?: "");
	glob_t found = {};
	if (!kernel || glob(pattern, 0, NULL, &found) != 0) {
		globfree(&found);
		return error_set(e, -ENOENT, "%s: no kernel", pattern);
	}
	json_object_set_new(run->machine, "kernel", json_string(found.gl_pathv[0]));
	globfree(&found);
	json_object_set_new(run->machine, "initrd", json_string("fd:initrd"));
	/*
	 * The CPUs beyond its own are there, and off until they are given. The kernel's tests of its own ciphers are a fifth of
	 * a boot under the engine soft.
	 */
	json_object_set(run->machine, "cpus", json_object_get(run->plan, "cpus_there"));
	json_object_set_new(run->machine, "append",
		json_sprintf("console=ttyS0 panic=-1 quiet cryptomgr.notests maxcpus=%d %s",
			(int)json_integer_value(json_object_get(run->plan, "cpus")),
			is_microvm(run) ? "berth.root=/dev/vda berth.upper=/dev/vdb"
					: "berth.disk=/dev/vda"));
	return add_initial(run, kernel, e);
}

/* A BIOS runs what stands in the first sector; a disk for UEFI alone has nothing there. */
static bool has_boot_code(const char *path)
{
	static const uint8_t none[BOOT_CODE_BYTES];
	uint8_t code[BOOT_CODE_BYTES] = {};
	cleanup(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && pread(fd, code, sizeof(code), 0) == (ssize_t)sizeof(code) &&
		memcmp(code, none, sizeof(code)) != 0;
}

/* The variables that UEFI keeps, the machine's own: begun with those of the firmware's package. */
static int add_variables(struct run *run, struct error *e)
{
	cleanup(close) int from = open(UEFI_VARIABLES, O_RDONLY | O_CLOEXEC);
	cleanup(close) int to = openat(run->dir, VARIABLES_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0) {
		to = openat(run->dir, VARIABLES_FILE ".new",
			O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (from < 0 || to < 0)
			return error_errno(
				e, "open %s", from < 0 ? UEFI_VARIABLES : VARIABLES_FILE);
		int r = tree_copy_file(from, to, e);
		if (r == 0 &&
			renameat(run->dir, VARIABLES_FILE ".new", run->dir, VARIABLES_FILE) < 0)
			r = error_errno(e, "name %s", VARIABLES_FILE);
		if (r < 0)
			return r;
	}
	if (pass(run, "vars", TAKE_FD(to)) < 0)
		return error_errno(e, "pass the firmware's variables");
	json_object_set_new(run->machine, "firmware_vars", json_string("fd:vars"));
	return 0;
}

/* Firmware of this host for the mode; `auto` goes by the disk and takes what there is. */
static int add_firmware(struct run *run, const char *boot, struct error *e)
{
	static const struct {
		const char *boot, *file, *package;
	} firmware[] = {
		{ "uefi", "/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf" },
		{ "bios", "/usr/share/seabios/bios-256k.bin", "seabios" },
	};
	const json_t *volume = json_object_get(json_object_get(run->plan, "root"), "volume");
	bool is_any = text_equal(boot, "auto");
	if (is_any && has_boot_code(json_text(volume, "path")) &&
		access(firmware[1].file, R_OK) == 0)
		return add_firmware(run, firmware[1].boot, e);
	for (size_t i = 0; i < ARRAY_SIZE(firmware); i++) {
		if (!is_any && !text_equal(firmware[i].boot, boot))
			continue;
		if (access(firmware[i].file, R_OK) == 0) {
			json_object_set_new(
				run->machine, "firmware", json_string(firmware[i].file));
			return text_equal(firmware[i].boot, "uefi") ? add_variables(run, e) : 0;
		}
		if (!is_any)
			return error_set(e, -ENOENT, "%s: missing (package %s)", firmware[i].file,
				firmware[i].package);
	}
	return error_set(e, -ENOENT,
		"there is no firmware to boot the disk by: install ovmf or seabios, or set boot.mode "
		"to kernel");
}

static int add_boot(struct run *run, struct error *e)
{
	const char *boot = json_text(run->plan, "boot") ?: "kernel";
	return text_equal(boot, "kernel") ? add_kernel(run, e) : add_firmware(run, boot, e);
}

/* The library OS is its kernel, and the image its initial file system; it has no agent, and ends when it resets. */
static int add_library_os(struct run *run)
{
	static const char *const members[] = { "kernel", "initrd", "append", "exit_port",
		"keep_port", "shared_page", "restore" };
	static const char *const flags[] = { "initrd_mapped", "exit_plain", "exit_on_reset" };
	const char *volume =
		json_text(json_object_get(json_object_get(run->plan, "root"), "volume"), "path");
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(run->plan, members[i]))
			json_object_set(
				run->machine, members[i], json_object_get(run->plan, members[i]));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		json_object_set_new(run->machine, flags[i], json_true());
	json_object_set_new(run->machine, "balloon", json_false());
	if (volume)
		add_disk(run, volume, "root", false, NULL);
	return 0;
}

/* A system of its own, and how the host reaches it. */
static int add_system(struct run *run, struct error *e)
{
	int r = add_disks(run, e);
	if (r == 0)
		r = add_boot(run, e);
	return r == 0 ? add_vsock(run, e) : r;
}

static int join_groups(const struct run *run, struct error *e)
{
	size_t i;
	json_t *group;
	json_array_foreach(json_object_get(run->plan, "cgroups"), i, group)
	{
		cleanup(free) char *path =
			alloc_printf("%s/cgroup.procs", json_string_value(group));
		int r = file_write_value(AT_FDCWD, path, "0"); /* who writes */
		if (r < 0)
			return error_code(e, r, "join %s", path);
	}
	return 0;
}

/* A machine like the one whose state it is: of what the plan says of CPUs and memory nothing counts. */
static int add_restore(struct run *run, struct error *e)
{
	static const char *const members[] = { "cpus", "memory_bytes", "memory_max_bytes" };
	const char *state = json_text(run->plan, "restore");
	cleanup(json_decref) json_t *shape = NULL;
	cleanup(free) char *path = NULL, *text = NULL;
	size_t length;
	if (!state)
		return 0;
	path = alloc_printf("%s.json", state);
	int r = file_read(AT_FDCWD, path, PLAN_BYTES_MAX, &text, &length, e);
	if (r == 0)
		r = json_parse(text, length, &shape, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(members); i++)
		if (json_object_get(shape, members[i]))
			json_object_set(
				run->machine, members[i], json_object_get(shape, members[i]));
	json_object_set_new(run->machine, "restore", json_string(state));
	return r;
}

/* The monitor becomes a user of its own, to whom nothing belongs but the machine's directory. */
static int add_user(struct run *run, struct error *e)
{
	const json_t *uid = json_object_get(run->plan, "uid");
	uid_t user = (uid_t)json_integer_value(uid);
	if (!uid)
		return 0;
	json_object_set(run->machine, "uid", json_object_get(run->plan, "uid"));
	return fchown(run->dir, user, user) < 0
		? error_errno(e, "give the directory to user %u", user)
		: 0;
}

static int machine_make(struct run *run, const char *plan_path, struct error *e)
{
	const json_t *plan = run->plan;
	cleanup(free) char *cache = alloc_printf("%s", plan_path);
	char *instances = strstr(cache, "/instances/");
	run->machine = json_pack("{s:i, s:s, s:O, s:O, s:O, s:[], s:[], s:b}", "version", 1, "kind",
		is_microvm(run) || is_unikernel(run) ? "microvm" : "vm", "name",
		json_object_get(plan, "name"), "cpus", json_object_get(plan, "cpus"),
		"memory_bytes", json_object_get(plan, "memory_bytes"), "nics", "disks",
		"exit_on_reset", 0);
	if (!run->machine)
		return error_set(e, -EINVAL, "%s: a member is missing", plan_path);
	if (json_object_get(plan, "memory_max_bytes"))
		json_object_set(run->machine, "memory_max_bytes",
			json_object_get(plan, "memory_max_bytes"));
	if (json_text(plan, "engine"))
		json_object_set(run->machine, "engine", json_object_get(plan, "engine"));
	if (instances) {
		*instances = '\0';
		cleanup(free) char *dir = alloc_printf("%s/kernels/.unpacked", cache);
		if (file_make_dirs(AT_FDCWD, dir, 0700) == 0)
			json_object_set_new(run->machine, "cache", json_string(dir));
	}
	int r = is_unikernel(run) ? add_library_os(run) : add_system(run, e);
	if (r == 0)
		r = add_nics(run, e);
	if (r == 0 && !is_unikernel(run))
		r = add_restore(run, e);
	return r == 0 ? add_user(run, e) : r;
}

static int become(struct run *run, const char *plan_path, struct error *e)
{
	cleanup(free) char *path = alloc_printf(
		"%.*s" MACHINE_PLAN, (int)(strrchr(plan_path, '/') + 1 - plan_path), plan_path);
	cleanup(free) char *text = json_dumps(run->machine, JSON_COMPACT);
	cleanup(free) char *monitor = beside("vmm", "berth-vmm");
	cleanup(close) int fd =
		openat(run->dir, MACHINE_PLAN, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : file_write_all(fd, text, strlen(text));
	if (r < 0)
		return error_code(e, r, "write %s", path);
	r = join_groups(run, e);
	if (r < 0)
		return r;
	if (setenv("BERTH_FDS", text_str(&run->fds), 1) < 0)
		return error_errno(e, "pass descriptors");
	execl(monitor, "berth-vmm", path, (char *)NULL);
	return error_errno(e, "run %s", monitor);
}

static int run_it(struct run *run, const char *plan_path, struct error *e)
{
	cleanup(free) char *text = NULL;
	size_t length;
	int r = pass_all(run, e);
	run->dir = process_named_fd("dir");
	if (r == 0)
		r = fcntl(run->dir, F_SETFD, 0) < 0 ? error_errno(e, "the descriptor dir") : 0;
	if (r == 0)
		r = file_read(AT_FDCWD, plan_path, PLAN_BYTES_MAX, &text, &length, e);
	if (r == 0)
		r = json_parse(text, length, &run->plan, e);
	if (r == 0)
		r = machine_make(run, plan_path, e);
	return r == 0 ? become(run, plan_path, e) : r;
}

int run_main(const char *plan_path)
{
	struct run run = { .dir = -1 };
	struct error e = {};
	int r = run_it(&run, plan_path, &e);
	struct runner_error error = {
		.header = { sizeof(error), RUNNER_VERSION, RUNNER_ERROR, 0, 0 },
		.code = r,
	};
	snprintf(error.text, sizeof(error.text), "%.400s", e.text);
	(void)!channel_send(process_named_fd("channel"), &error, sizeof(error), NULL, 0);
	fprintf(stderr, "berth-machine: %s\n", e.text);
	json_decref(run.plan);
	json_decref(run.machine);
	text_done(&run.fds);
	return 1;
}
