/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.c - namespaces, capabilities, Landlock and seccomp for one task.
 *
 * Landlock is asked for and done without where the kernel has none: the empty mount namespace and the list
 * of system calls hold by themselves.
 */
#include "job/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define RIGHT(name) (UINT64_C(1) << (name))
/* Of Landlock 3, newer than Debian 12's header. */
#define ACCESS_TRUNCATE (UINT64_C(1) << 14)
#define READ_ACCESS \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define LAST_CAPABILITY 63

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#error "berth-job does not know this architecture's number for seccomp"
#endif

static uint64_t all_access(int abi)
{
	uint64_t access = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
	if (abi >= 2)
		access |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		access |= ACCESS_TRUNCATE;
	return access;
}

static int allow(int ruleset, int dir, uint64_t access, struct error *e)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = dir };
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return error_errno(e, "allow a directory to Landlock");
	return 0;
}

static int allow_system(int ruleset, struct error *e)
{
	static const char *const readable[] = { "/usr", "/bin", "/lib", "/lib64", "/sbin", "/etc",
		"/proc", "/run", "/var/lib/containers", "/sys/fs/cgroup" };
	for (size_t i = 0; i < ARRAY_SIZE(readable); i++) {
		cleanup(close) int dir = open(readable[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
		int r = dir < 0 ? 0 : allow(ruleset, dir, READ_ACCESS, e);
		if (r < 0)
			return r;
	}
	cleanup(close) int null = open("/dev/null", O_PATH | O_CLOEXEC);
	return null < 0 ? 0
			: allow(ruleset, null,
				  LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE, e);
}

static bool is_dir(int fd)
{
	struct stat status;
	return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

/* A directory with all that is below it, a file as it was opened. */
static uint64_t access_of(int fd, uint64_t all)
{
	if (is_dir(fd))
		return all;
	int flags = fcntl(fd, F_GETFL);
	return LANDLOCK_ACCESS_FS_READ_FILE |
		(flags >= 0 && (flags & O_ACCMODE) == O_RDWR ? LANDLOCK_ACCESS_FS_WRITE_FILE : 0);
}

static int landlock(const int *dirs, size_t dir_count, bool with_system, struct error *e)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return 0;
	struct landlock_ruleset_attr attributes = { .handled_access_fs = all_access((int)abi) };
	cleanup(close) int ruleset =
		(int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
	if (ruleset < 0)
		return error_errno(e, "make a Landlock ruleset");
	int r = with_system ? allow_system(ruleset, e) : 0;
	for (size_t i = 0; r == 0 && i < dir_count; i++)
		r = allow(ruleset, dirs[i], access_of(dirs[i], attributes.handled_access_fs), e);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = error_errno(e, "enter the Landlock ruleset");
	return r;
}

static int keep_capabilities(uint64_t kept, struct error *e)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data) < 0)
		return error_errno(e, "read the capabilities");
	for (int i = 0; i < 2; i++) {
		uint32_t part = (uint32_t)(kept >> (32 * i)) & data[i].permitted;
		data[i].effective = data[i].permitted = part;
		data[i].inheritable = 0;
	}
	for (int capability = 0; capability <= LAST_CAPABILITY; capability++)
		if (!(kept & RIGHT(capability)))
			(void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		return error_errno(e, "give up capabilities");
	return 0;
}

/* An empty, read-only tmpfs is the root directory from here on. */
static int enter_empty_root(struct error *e)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_errno(e, "make a mount namespace");
	if (mount("none", "/tmp", "tmpfs", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC,
		    "size=4k") < 0 ||
		chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
		umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return error_errno(e, "enter an empty root directory");
	return 0;
}

static const uint32_t calls_of_files[] = {
	__NR_read,
	__NR_write,
	__NR_readv,
	__NR_writev,
	__NR_pread64,
	__NR_pwrite64,
	__NR_lseek,
	__NR_fstat,
	__NR_newfstatat,
	__NR_statx,
	__NR_fstatfs,
	__NR_openat,
	__NR_openat2,
	__NR_close,
	__NR_close_range,
	__NR_dup,
	__NR_fcntl,
	__NR_ftruncate,
	__NR_fallocate,
	__NR_copy_file_range,
	__NR_sendfile,
	__NR_fadvise64,
	__NR_fchown,
	__NR_fchownat,
	__NR_fchmod,
	__NR_fchmodat,
	__NR_utimensat,
	__NR_mkdirat,
	__NR_mknodat,
	__NR_symlinkat,
	__NR_linkat,
	__NR_unlinkat,
	__NR_renameat,
	__NR_renameat2,
	__NR_readlinkat,
	__NR_faccessat,
	__NR_faccessat2,
	__NR_getdents64,
	__NR_fsetxattr,
	__NR_fgetxattr,
	__NR_flistxattr,
	__NR_fsync,
	__NR_fdatasync,
	__NR_syncfs,
	__NR_umask,
	__NR_mmap,
	__NR_munmap,
	__NR_mprotect,
	__NR_mremap,
	__NR_madvise,
	__NR_brk,
	__NR_sendmsg,
	__NR_recvmsg,
	__NR_ppoll,
	__NR_futex,
	__NR_getrandom,
	__NR_clock_gettime,
	__NR_gettimeofday,
	__NR_getpid,
	__NR_gettid,
	__NR_getuid,
	__NR_geteuid,
	__NR_getgid,
	__NR_getegid,
	__NR_rt_sigaction,
	__NR_rt_sigprocmask,
	__NR_rt_sigreturn,
	__NR_restart_syscall,
	__NR_exit,
	__NR_exit_group,
#ifdef __NR_poll
	__NR_poll,
#endif
};

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define IF_EQUAL(value, then, otherwise) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), (then), (otherwise))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define HEAD_LENGTH    4
#define TAIL_LENGTH    8

static int filter_calls(struct error *e)
{
	struct sock_filter filter[HEAD_LENGTH + 2 * ARRAY_SIZE(calls_of_files) + TAIL_LENGTH];
	size_t n = 0;
	filter[n++] = (struct sock_filter)LOAD(arch);
	filter[n++] = (struct sock_filter)IF_EQUAL(OUR_ARCH, 1, 0);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_KILL_PROCESS);
	filter[n++] = (struct sock_filter)LOAD(nr);
	for (size_t i = 0; i < ARRAY_SIZE(calls_of_files); i++) {
		filter[n++] = (struct sock_filter)IF_EQUAL(calls_of_files[i], 0, 1);
		filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	}
	/* Of ioctl only the sharing of extents. */
	filter[n++] = (struct sock_filter)IF_EQUAL(__NR_ioctl, 0, 4);
	filter[n++] = (struct sock_filter)LOAD(args[1]);
	filter[n++] = (struct sock_filter)IF_EQUAL((uint32_t)FICLONE, 1, 0);
	filter[n++] = (struct sock_filter)IF_EQUAL((uint32_t)FICLONERANGE, 0, 1);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	filter[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ERRNO | EPERM);
	struct sock_fprog program = { .len = (unsigned short)n, .filter = filter };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return error_errno(e, "filter the system calls");
	return 0;
}

#define RIGHTS_OF_FILES \
	(RIGHT(CAP_CHOWN) | RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_FOWNER) | RIGHT(CAP_FSETID) | \
		RIGHT(CAP_SETFCAP))

int jail_files(const int *dirs, size_t dir_count, struct error *e)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return error_errno(e, "make namespaces");
	int r = enter_empty_root(e);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = error_errno(e, "give up new privileges");
	if (r == 0)
		r = landlock(dirs, dir_count, false, e);
	/* An overlay's marks are trusted.* attributes, which ask for CAP_SYS_ADMIN; whiteouts for mknod. */
	if (r == 0)
		r = keep_capabilities(RIGHTS_OF_FILES | RIGHT(CAP_SYS_ADMIN) | RIGHT(CAP_MKNOD), e);
	return r < 0 ? r : filter_calls(e);
}

int jail_program(const int *opened, size_t count, bool with_network, struct error *e)
{
	for (size_t i = 0; i < count; i++)
		if (fcntl(opened[i], F_SETFD, 0) < 0)
			return error_errno(e, "keep a descriptor for the program");
	if (unshare(CLONE_NEWIPC | CLONE_NEWUTS | (with_network ? 0 : CLONE_NEWNET)) < 0)
		return error_errno(e, "make namespaces");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_errno(e, "give up new privileges");
	int r = landlock(opened, count, true, e);
	return r < 0 ? r : keep_capabilities(RIGHTS_OF_FILES, e);
}
