/* SPDX-License-Identifier: Apache-2.0 */
#include "container/profile.h"

#include <errno.h>
#include <linux/audit.h>
#include <sched.h>
#include <sys/syscall.h>

#include "container/profile_rules.h"
#include "test.h"

#include "bpf.h"

static uint32_t ask(enum profile profile, int nr, uint64_t first, uint64_t second)
{
	struct seccomp_data data = {
		.arch = AUDIT_ARCH_X86_64, .nr = nr, .args = { first, second }
	};
	return bpf_run(profiles[profile].filter, profiles[profile].length, &data);
}

#define EXPECT_ALLOWED(...) expect_equal(ask(__VA_ARGS__), SECCOMP_RET_ALLOW)
#define EXPECT_REFUSED(...) expect_equal(ask(__VA_ARGS__), SECCOMP_RET_ERRNO | EPERM)

static void all_refuse_the_hosts_kernel(void)
{
	static const int calls[] = { SYS_init_module, SYS_finit_module, SYS_delete_module,
		SYS_kexec_load, SYS_kexec_file_load, SYS_bpf, SYS_perf_event_open, SYS_swapon,
		SYS_open_by_handle_at, SYS_iopl, SYS_ioperm, SYS_syslog, SYS_acct, SYS_userfaultfd,
		SYS_settimeofday };
	for (unsigned int profile = 0; profile < PROFILE_COUNT; profile++) {
		for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
			EXPECT_REFUSED(profile, calls[i], 0, 0);
		expect_equal(ask(profile, SYS_io_uring_setup, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
		EXPECT_REFUSED(profile, SYS_ioctl, 0, 0x5412); /* TIOCSTI */
		EXPECT_REFUSED(profile, SYS_ioctl, 0, 0xdeadbeef00005412);
		EXPECT_ALLOWED(profile, SYS_ioctl, 0, 0x5413);
		EXPECT_REFUSED(profile, SYS_socket, 40, 1); /* AF_VSOCK */
		EXPECT_ALLOWED(profile, SYS_socket, 2, 1);
		EXPECT_ALLOWED(profile, SYS_read, 0, 0);
		EXPECT_ALLOWED(profile, SYS_clone, 17, 0);
	}
}

static void user_namespaces_are_for_nesting(void)
{
	EXPECT_REFUSED(PROFILE_APPLICATION, SYS_unshare, CLONE_NEWUSER, 0);
	EXPECT_REFUSED(PROFILE_APPLICATION, SYS_unshare, CLONE_NEWNS, 0);
	EXPECT_ALLOWED(PROFILE_APPLICATION, SYS_unshare, CLONE_FILES, 0);
	EXPECT_REFUSED(PROFILE_APPLICATION, SYS_clone, CLONE_NEWUSER | CLONE_NEWNS, 0);
	EXPECT_REFUSED(PROFILE_SYSTEM, SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS, 0);
	EXPECT_REFUSED(PROFILE_SYSTEM, SYS_clone, CLONE_NEWUSER, 0);
	EXPECT_ALLOWED(PROFILE_SYSTEM, SYS_unshare, CLONE_NEWNS, 0);
	expect_equal(ask(PROFILE_SYSTEM, SYS_clone3, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
	EXPECT_ALLOWED(PROFILE_NESTING, SYS_unshare, CLONE_NEWUSER, 0);
	EXPECT_ALLOWED(PROFILE_NESTING, SYS_clone3, 0, 0);
}

static void applications_mount_nothing(void)
{
	static const int calls[] = { SYS_mount, SYS_umount2, SYS_pivot_root, SYS_setns, SYS_fsopen,
		SYS_move_mount, SYS_open_tree, SYS_mount_setattr, SYS_sethostname, SYS_keyctl };
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		EXPECT_REFUSED(PROFILE_APPLICATION, calls[i], 0, 0);
	EXPECT_ALLOWED(PROFILE_SYSTEM, SYS_mount, 0, 0);
	EXPECT_ALLOWED(PROFILE_APPLICATION, SYS_chroot, 0, 0);
}

static void what_was_compiled_is_what_is_written(void)
{
	for (unsigned int i = 0; i < PROFILE_COUNT; i++) {
		cleanup(free) struct sock_filter *filter = NULL;
		size_t length;
		struct error e = {};
		expect_equal(profile_compile(i, &filter, &length, &e), 0);
		expect_equal(length, profiles[i].length);
		expect(memcmp(filter, profiles[i].filter, length * sizeof(*filter)) == 0);
	}
}

static const struct test tests[] = {
	{ "every profile refuses what reaches the host's kernel", all_refuse_the_hosts_kernel },
	{ "user namespaces are for nesting alone", user_namespaces_are_for_nesting },
	{ "an application mounts and enters nothing", applications_mount_nothing },
	{ "the compiled profiles are those of the rules", what_was_compiled_is_what_is_written },
};

#if defined(__x86_64__)
TEST_MAIN(tests)
#else
int main(void)
{
	(void)tests;
	printf("1..0 # SKIP the numbers are those of x86-64\n");
	return 0;
}
#endif
