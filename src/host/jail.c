/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.c - no way back.
 */
#include "host/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/mount.h"
#include "host/process.h"

#define SYSTEM_CALLS_MAX 200 /* jumps of a filter reach 255 instructions */
#define FEW_CALLS        6
#define NOBODY           65534

#if defined(__x86_64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

int jail_drop_capabilities(struct error *e)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return error_errno(e, "clear the ambient capabilities");
	/*
	 * Until the kernel knows no such number. Without CAP_SETPCAP the bounding set stays; with
	 * no_new_privs no program gets anything from it.
	 */
	bool is_final = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
	for (int i = 0; i < 64 && !is_final; i++)
		if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			break;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};
	if (syscall(SYS_capset, &header, data) < 0)
		return error_errno(e, "drop the capabilities");
	return 0;
}

static const struct {
	const char *name, *file;
	uint64_t flag;
} kinds[JAIL_ROOMS] = {
	[JAIL_NETWORK] = { "network", "net", CLONE_NEWNET },
	[JAIL_MOUNTS] = { "mounts", "mnt", CLONE_NEWNS },
	[JAIL_IPC] = { "ipc", "ipc", CLONE_NEWIPC },
	[JAIL_UTS] = { "uts", "uts", CLONE_NEWUTS },
};

const char *jail_room_name(enum jail_room room)
{
	return kinds[room].name;
}

void jail_rooms_find(struct jail_rooms *ret)
{
	for (size_t i = 0; i < JAIL_ROOMS; i++)
		ret->fd[i] = process_named_fd(kinds[i].name);
}

void jail_rooms_close(struct jail_rooms *rooms)
{
	for (size_t i = 0; i < JAIL_ROOMS; i++) {
		if (rooms->fd[i] > 0)
			close(rooms->fd[i]);
		rooms->fd[i] = -1;
	}
}

/* In a mount namespace of our own. */
static int empty_root(struct error *e)
{
	int r = mount_all_private(e);
	cleanup(close) int root = -1;
	const struct mount_option options[] = { { "size", "4096" }, { "nr_inodes", "2" },
		{ "mode", "0555" }, {} };
	if (r == 0)
		r = mount_new("tmpfs", options,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV |
				MOUNT_ATTR_NOSUID,
			&root, e);
	if (r < 0)
		return r;
	if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(root) < 0 ||
		syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return error_errno(e, "enter an empty root");
	return 0;
}

static int open_rooms(pid_t pid, struct jail_rooms *ret, struct error *e)
{
	for (size_t i = 0; i < JAIL_ROOMS; i++) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i].file);
		ret->fd[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (ret->fd[i] < 0)
			return error_errno(e, "open %s", path);
	}
	return 0;
}

/* A child is their first inhabitant; it ends when they are held. */
int jail_rooms_make(struct jail_rooms *ret, struct error *e)
{
	struct jail_rooms rooms = {};
	uint64_t flags = 0;
	for (size_t i = 0; i < JAIL_ROOMS; i++)
		flags |= kinds[i].flag;
	int ends[2], status, pidfd;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, "make a pair of sockets");
	pid_t pid = process_clone(flags, -1, &pidfd);
	if (pid == 0) {
		char byte = empty_root(NULL) == 0;
		close(ends[0]);
		(void)!write(ends[1], &byte, 1);
		(void)!read(ends[1], &byte, 1);
		_exit(0);
	}
	close(ends[1]);
	char is_made = 0;
	int r = pid < 0 ? error_code(e, pid, "make empty namespaces") : 0;
	if (r == 0 && (read(ends[0], &is_made, 1) != 1 || !is_made))
		r = error_set(e, -EIO, "an empty root could not be made");
	if (r == 0)
		r = open_rooms(pid, &rooms, e);
	close(ends[0]);
	if (pid > 0) {
		(void)!process_wait(pidfd, &status);
		close(pidfd);
	}
	if (r < 0)
		jail_rooms_close(&rooms);
	else
		*ret = rooms;
	return r;
}

static int enter_namespaces(const struct jail *jail, struct error *e)
{
	uint64_t own = jail->empty_namespaces;
	for (size_t i = 0; i < JAIL_ROOMS; i++) {
		if (jail->rooms.fd[i] <= 0 || !(own & kinds[i].flag))
			continue;
		if (setns(jail->rooms.fd[i], (int)kinds[i].flag) < 0)
			return error_errno(e, "enter the empty %s", kinds[i].name);
		own &= ~kinds[i].flag;
	}
	if (own && unshare((int)own) < 0)
		return error_errno(e, "unshare namespaces");
	return own & CLONE_NEWNS ? empty_root(e) : 0;
}

static uint64_t known_access(int abi)
{
	uint64_t access = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
	if (abi >= 2)
		access |= UINT64_C(1) << 13; /* REFER */
	if (abi >= 3)
		access |= UINT64_C(1) << 14; /* TRUNCATE */
	if (abi >= 5)
		access |= UINT64_C(1) << 15; /* IOCTL_DEV */
	return access;
}

static int limit_paths(const struct jail *jail, struct error *e)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0)
		return 0; /* no Landlock: the other walls stand */
	struct landlock_ruleset_attr attr = { .handled_access_fs = known_access((int)abi) };
	cleanup(close) int rules =
		(int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0)
		return error_errno(e, "make a Landlock ruleset");
	for (size_t i = 0; i < jail->path_count; i++) {
		struct landlock_path_beneath_attr path = {
			.allowed_access = jail->paths[i].access & attr.handled_access_fs,
			.parent_fd = jail->paths[i].dir,
		};
		if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &path, 0) < 0)
			return error_errno(e, "add a Landlock rule");
	}
	if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		return error_errno(e, "enforce Landlock");
	return 0;
}

static int load(const struct sock_filter *filter, size_t length, struct error *e)
{
	struct sock_fprog program = { .len = (unsigned short)length,
		.filter = (struct sock_filter *)(uintptr_t)filter };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return error_errno(e, "load the filter of system calls");
	return 0;
}

struct program {
	struct sock_filter code[SYSTEM_CALLS_MAX * 2 + JAIL_ARGUMENTS_MAX * (JAIL_VALUES_MAX + 6)];
	size_t length;
};

static int compare(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

/*
 * The kernel runs a filter once for every number when it is loaded, so few steps count: numbers are
 * found by halves, and compared one by one only among the last few.
 */
static void find(struct program *program, const uint16_t *calls, size_t count)
{
	if (count > FEW_CALLS) {
		size_t half = count / 2, at = program->length++;
		find(program, calls, half);
		size_t skip = program->length - at - 1;
		assert(skip <= UINT8_MAX);
		program->code[at] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JGE | BPF_K, calls[half], (uint8_t)skip, 0);
		find(program, calls + half, count - half);
		return;
	}
	for (size_t i = 0; i < count; i++)
		program->code[program->length++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, calls[i], (uint8_t)(count - i), 0);
	program->code[program->length++] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	program->code[program->length++] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

static void put(struct program *program, uint16_t code, size_t yes, size_t no, uint32_t k)
{
	program->code[program->length++] =
		(struct sock_filter){ code, (uint8_t)yes, (uint8_t)no, k };
}

/* The number stays loaded for those behind. */
static void find_argument(struct program *program, const struct jail_argument *argument)
{
	size_t count = argument->value_count;
	uint32_t at = (uint32_t)(offsetof(struct seccomp_data, args) + 8u * argument->index);
	assert(count <= JAIL_VALUES_MAX);
	put(program, BPF_JMP | BPF_JEQ | BPF_K, 0, count + 5, argument->call);
	put(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, at + 4);
	put(program, BPF_JMP | BPF_JEQ | BPF_K, 0, count + 1, 0);
	put(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, at);
	for (size_t i = 0; i < count; i++)
		put(program, BPF_JMP | BPF_JEQ | BPF_K, count - i, 0, argument->values[i]);
	put(program, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	put(program, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

static int limit_system_calls(const struct jail *jail, struct error *e)
{
	const uint16_t *calls = jail->system_calls;
	size_t count = jail->system_call_count;
	assert(count <= SYSTEM_CALLS_MAX);
	uint16_t sorted[SYSTEM_CALLS_MAX];
	memcpy(sorted, calls, count * sizeof(*calls));
	qsort(sorted, count, sizeof(*sorted), compare);
	struct program program = {
		.code = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCHITECTURE, 1, 0),
			BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		},
		.length = 4,
	};
	assert(jail->argument_count <= JAIL_ARGUMENTS_MAX);
	for (size_t i = 0; i < jail->argument_count; i++)
		find_argument(&program, &jail->arguments[i]);
	find(&program, sorted, count);
	return load(program.code, program.length, e);
}

static int become_nobody(struct error *e)
{
	if (getuid() == 0 &&
		(setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
			setresuid(NOBODY, NOBODY, NOBODY) < 0))
		return error_errno(e, "become nobody");
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		return error_errno(e, "keep the memory to itself");
	return 0;
}

int jail_enter(const struct jail *jail, struct error *e)
{
	int r = jail->empty_namespaces ? enter_namespaces(jail, e) : 0;
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = error_errno(e, "forbid new privileges");
	if (r == 0 && jail->become_nobody)
		r = become_nobody(e);
	if (r == 0 && jail->drop_capabilities)
		r = jail_drop_capabilities(e);
	if (r == 0 && jail->limit_paths)
		r = limit_paths(jail, e);
	if (r == 0 && jail->filter)
		r = load(jail->filter, jail->filter_length, e);
	if (r == 0 && jail->system_calls)
		r = limit_system_calls(jail, e);
	return r;
}
