/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_child.c - from a copy of the monitor to a process that can do nothing.
 *
 * Guest code there is always resumed by PTRACE_SYSEMU, so none of its system calls reaches the host. The filter is
 * the second wall: it has what the tracer injects. Three numbers trap, for a jump to the vsyscall page
 * makes the kernel ask the filter for them.
 */
#include "vmm/soft/direct_child.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "host/jail.h"

#define PERSONALITY_ASK    0xffffffffu
#define RSEQ_BYTES         32u /* what is registered is a multiple of it */
#define RSEQ_FEATURES_AUXV 27
#define HALT               0xf4 /* faults in ring 3 */
#define GUEST_MAP          (MAP_SHARED | MAP_FIXED)
#define ALL_RIGHTS         (PROT_READ | PROT_WRITE | PROT_EXEC)

/* Position-independent; the page before it stays. */
static const uint8_t empty_code[] = {
	0x31, 0xff,                                     /* xor edi, edi */
	0x48, 0x8d, 0x35, 0xf7, 0xef, 0xff, 0xff,       /* lea rsi, [the first page] */
	0xb8, 0x0b, 0x00, 0x00, 0x00,                   /* mov eax, munmap */
	0x0f, 0x05,                                     /* syscall */
	0x48, 0x85, 0xc0,                               /* test rax, rax */
	0x75, 0x1b,                                     /* jnz to the end */
	0x48, 0x8d, 0x3d, 0xe4, 0x0f, 0x00, 0x00,       /* lea rdi, [the page behind] */
	0x48, 0xbe, 0x00, 0xf0, 0xff, 0xff, 0xff, 0x7f, /* mov rsi, DIRECT_END */
	0x00, 0x00,                                     /* */
	0x48, 0x29, 0xfe,                               /* sub rsi, rdi */
	0xb8, 0x0b, 0x00, 0x00, 0x00,                   /* mov eax, munmap */
	0x0f, 0x05,                                     /* syscall */
	0xcc,                                           /* int3: RAX tells */
};

int direct_child_pages(struct error *e)
{
	uint8_t pages[2 * DIRECT_PAGE];
	memset(pages, HALT, sizeof(pages));
	memcpy(pages + DIRECT_CALL_AT, (const uint8_t[]){ 0x0f, 0x05 }, 2);
	memcpy(pages + DIRECT_PAGE, empty_code, sizeof(empty_code));
	memcpy(pages + DIRECT_PAGE + DIRECT_SYSENTER_AT, (const uint8_t[]){ 0x0f, 0x34 }, 2);
	cleanup(close) int fd = memfd_create("direct", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, pages, sizeof(pages)) != sizeof(pages) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) <
			0)
		return error_errno(e, "memory for direct execution");
	return TAKE_FD(fd);
}

#define LOAD(field)        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define ANY(bits, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, yes, no)
#define RETURN(what)       BPF_STMT(BPF_RET | BPF_K, what)

/* Of the arguments that are ints the kernel looks at the lower half only. */
static const struct sock_filter filter[] = {
	/* 0 */ LOAD(arch),
	/* 1 */ IS(AUDIT_ARCH_X86_64, 0, 23),
	/* 2 */ LOAD(nr),
	/* 3 */ IS(SYS_mmap, 7, 0),
	/* 4 */ IS(SYS_mprotect, 16, 0),
	/* 5 */ IS(SYS_munmap, 17, 0),
	/* 6 */ IS(SYS_pause, 16, 0),
	/* 7 */ IS(SYS_gettimeofday, 16, 0),
	/* 8 */ IS(SYS_time, 15, 0),
	/* 9 */ IS(SYS_getcpu, 14, 0),
	/* 10 */ RETURN(SECCOMP_RET_KILL_PROCESS),
	/* 11: mmap */ LOAD(args[4]),
	/* 12 */ IS(DIRECT_PAGES_FD, 4, 0),
	/* 13 */ IS(DIRECT_GUEST_FD, 0, 11),
	/* 14 */ LOAD(args[3]),
	/* 15 */ IS(GUEST_MAP, 5, 0),
	/* 16 */ IS(GUEST_MAP | MAP_POPULATE, 4, 8),
	/* 17: our own pages */ LOAD(args[3]),
	/* 18 */ IS(MAP_PRIVATE | MAP_FIXED_NOREPLACE, 0, 6),
	/* 19 */ LOAD(args[2]),
	/* 20 */ IS(PROT_EXEC, 2, 4),
	/* 21: mmap of the guest's, mprotect */ LOAD(args[2]),
	/* 22 */ ANY(~(uint32_t)ALL_RIGHTS, 2, 0),
	/* 23 */ RETURN(SECCOMP_RET_ALLOW),
	/* 24 */ RETURN(SECCOMP_RET_TRAP),
	/* 25 */ RETURN(SECCOMP_RET_KILL_PROCESS),
};

static int become_small(void)
{
	const struct rlimit none = {};
	int person = personality(PERSONALITY_ASK);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0 ||
		person < 0 ||
		personality((unsigned long)person & ~(unsigned long)READ_IMPLIES_EXEC) < 0)
		return -errno;
	(void)setsid(); /* no signal of a terminal */
	return jail_drop_capabilities(NULL);
}

static int place_descriptors(struct direct_child *child)
{
	int guest = fcntl(child->guest_fd, F_DUPFD, 3), pages = fcntl(child->pages_fd, F_DUPFD, 3);
	int said = fcntl(child->said_fd, F_DUPFD, 3);
	if (guest < 0 || pages < 0 || said < 0 || dup2(guest, DIRECT_GUEST_FD) < 0 ||
		dup2(pages, DIRECT_PAGES_FD) < 0 || dup2(said, 2) < 0 || close_range(3, ~0u, 0) < 0)
		return -errno;
	child->said_fd = 2;
	return 0;
}

/* The handlers lie where the guest will; and a pending kick of the parent's is none of ours. */
static int forget_signals(void)
{
	const struct sigaction action = { .sa_handler = SIG_DFL };
	const stack_t none = { .ss_flags = SS_DISABLE };
	for (int signal = 1; signal < NSIG; signal++)
		(void)sigaction(signal, &action, NULL);
	sigset_t mask;
	sigemptyset(&mask);
	return sigaltstack(&none, NULL) < 0 || sigprocmask(SIG_SETMASK, &mask, NULL) < 0 ? -errno
											 : 0;
}

/* Else the kernel would write to these addresses for ever. */
static int forget_rseq(void)
{
	if (__rseq_size == 0)
		return 0;
	void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
	unsigned long features = getauxval(RSEQ_FEATURES_AUXV);
	for (uint32_t bytes = RSEQ_BYTES; bytes <= features + RSEQ_BYTES; bytes += RSEQ_BYTES)
		if (syscall(SYS_rseq, area, bytes, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0)
			return 0;
	return -errno;
}

static int map_pages(const struct direct_child *child)
{
	static const uint64_t bytes = 2 * DIRECT_PAGE;
	void *at = (void *)(uintptr_t)child->pages_at;
	void *got =
		mmap(at, bytes, PROT_EXEC, MAP_PRIVATE | MAP_FIXED_NOREPLACE, DIRECT_PAGES_FD, 0);
	if (got != at)
		return got == MAP_FAILED ? -errno : -EEXIST;
	return 0;
}

static void say(int fd, enum direct_step step, int code, bool traps_cpuid)
{
	const struct direct_said said = { step, -code, traps_cpuid };
	ssize_t sent = send(fd, &said, sizeof(said), MSG_NOSIGNAL);
	if (code < 0 || sent != sizeof(said))
		_exit(1);
}

#define TRY(step, call) \
	do { \
		int tried = call; \
		if (tried < 0) \
			say(child.said_fd, step, tried, false); \
	} while (0)

void direct_child_run(const struct direct_child *given)
{
	struct direct_child child = *given;
	char byte = 0;
	/* Whoever traces it may have changed its user. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0)
		say(child.said_fd, DIRECT_STEP_RIGHTS, -errno, false);
	if (send(child.said_fd, &byte, 1, MSG_NOSIGNAL) != 1 || read(child.said_fd, &byte, 1) != 1)
		_exit(1);
	TRY(DIRECT_STEP_DESCRIPTORS, place_descriptors(&child));
	TRY(DIRECT_STEP_RIGHTS, become_small());
	TRY(DIRECT_STEP_SIGNALS, forget_signals());
	TRY(DIRECT_STEP_RSEQ, forget_rseq());
	TRY(DIRECT_STEP_TSC, prctl(PR_SET_TSC, PR_TSC_SIGSEGV) < 0 ? -errno : 0);
	bool traps_cpuid = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == 0;
	TRY(DIRECT_STEP_PAGES, map_pages(&child));
	say(child.said_fd, DIRECT_STEP_DONE, 0, traps_cpuid);
	close(child.said_fd);
	const struct sock_fprog program = { .len = ARRAY_SIZE(filter),
		.filter = (struct sock_filter *)(uintptr_t)filter };
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0)
		__asm__ volatile("jmp *%0" : : "r"(child.pages_at + DIRECT_PAGE));
	_exit(1);
}
