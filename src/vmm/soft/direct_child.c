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

extern const uint8_t direct_code_call[], direct_code[], direct_code_many[], direct_code_sysenter[],
	direct_code_in[], direct_code_end[];

/*
 * direct_code_call ends the first page, direct_code begins the second. Calls leave their flags of failure in R15;
 * after the last the second page and the list are unmapped, by the first's SYSCALL, and it stops there at its beginning.
 */
__asm__(".pushsection .rodata\n"
	"direct_code_call:\n\t"
	"syscall\n\t"
	"jmp *%r12\n"
	"direct_code:\n\t"
	"xor %edi, %edi\n\t"
	"lea direct_code - 4096(%rip), %rsi\n\t"
	"mov $11, %eax\n\t" /* munmap */
	"syscall\n\t"
	"test %rax, %rax\n\t"
	"jnz 1f\n\t"
	"lea direct_code + 4096(%rip), %rdi\n\t"
	"movabs $0x7ffffffff000, %rsi\n\t"
	"sub %rdi, %rsi\n\t"
	"mov $11, %eax\n\t"
	"syscall\n"
	"1:\n\t"
	"int3\n" /* RAX tells */
	"direct_code_many:\n\t"
	"xor %r15d, %r15d\n\t"
	"lea direct_code + 4096(%rip), %rbx\n"
	"2:\n\t"
	"mov (%rbx), %rax\n\t"
	"mov 8(%rbx), %rdi\n\t"
	"mov 16(%rbx), %rsi\n\t"
	"mov 24(%rbx), %rdx\n\t"
	"mov 32(%rbx), %r10\n\t"
	"mov 40(%rbx), %r8\n\t"
	"mov 48(%rbx), %r9\n\t"
	"test %rax, %rax\n\t"
	"js 3f\n\t"
	"syscall\n\t"
	"or %rax, %r15\n\t"
	"add $56, %rbx\n\t"
	"jmp 2b\n"
	"3:\n\t"
	"lea direct_code - 4096(%rip), %r12\n\t"
	"lea direct_code(%rip), %rdi\n\t"
	"mov $3 * 4096, %esi\n\t"
	"mov $11, %eax\n\t"
	"jmp direct_code - 5\n"
	"direct_code_sysenter:\n\t"
	"sysenter\n"
	"direct_code_in:\n\t"
	"in %dx, %eax\n\t"
	"int3\n"
	"direct_code_end:\n\t"
	".popsection\n");

uint64_t direct_child_many(void)
{
	return DIRECT_PAGE + (uint64_t)(direct_code_many - direct_code);
}

uint64_t direct_child_sysenter(void)
{
	return DIRECT_PAGE + (uint64_t)(direct_code_sysenter - direct_code);
}

uint64_t direct_child_in(void)
{
	return DIRECT_PAGE + (uint64_t)(direct_code_in - direct_code);
}

uint64_t direct_child_vdso(void)
{
	return getauxval(AT_SYSINFO_EHDR);
}

int direct_child_pages(struct direct_call **ret, struct error *e)
{
	static_assert(sizeof(struct direct_call) == 56, "as the code has it");
	static const size_t list_bytes = 2 * DIRECT_PAGE;
	uint8_t pages[2 * DIRECT_PAGE];
	memset(pages, HALT, sizeof(pages));
	memcpy(pages + DIRECT_CALL_AT, direct_code_call, DIRECT_PAGE - DIRECT_CALL_AT);
	memcpy(pages + DIRECT_PAGE, direct_code, (size_t)(direct_code_end - direct_code));
	cleanup(close) int fd = memfd_create("direct", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || write(fd, pages, sizeof(pages)) != sizeof(pages) ||
		ftruncate(fd, DIRECT_PAGES * DIRECT_PAGE) < 0)
		return error_errno(e, "memory for direct execution");
	/* What is mapped now can still be written. */
	void *list = mmap(NULL, list_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, DIRECT_LIST_AT);
	if (list == MAP_FAILED)
		return error_errno(e, "memory for direct execution");
	if (fcntl(fd, F_ADD_SEALS,
		    F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
		munmap(list, list_bytes);
		return error_errno(e, "memory for direct execution");
	}
	*ret = list;
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
	/* 3 */ IS(SYS_mmap, 5, 0),
	/* 4 */ IS(SYS_munmap, 18, 0),
	/* 5 */ IS(SYS_gettimeofday, 18, 0),
	/* 6 */ IS(SYS_time, 17, 0),
	/* 7 */ IS(SYS_getcpu, 16, 0),
	/* 8 */ RETURN(SECCOMP_RET_KILL_PROCESS),
	/* 9: mmap */ LOAD(args[4]),
	/* 10 */ IS(DIRECT_PAGES_FD, 5, 0),
	/* 11 */ IS(DIRECT_IMAGE_FD, 4, 0),
	/* 12 */ IS(DIRECT_GUEST_FD, 0, 12),
	/* 13 */ LOAD(args[3]),
	/* 14 */ IS(MAP_SHARED | MAP_FIXED, 6, 0),
	/* 15 */ IS(MAP_SHARED | MAP_FIXED | MAP_POPULATE, 5, 9),
	/* 16: our own pages, the image's */ LOAD(args[3]),
	/* 17 */ IS(MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, 1, 0),
	/* 18 */ IS(MAP_PRIVATE | MAP_FIXED_NOREPLACE, 0, 6),
	/* 19 */ LOAD(args[2]),
	/* 20 */ ANY(~(uint32_t)(PROT_READ | PROT_EXEC), 4, 2),
	/* 21: mmap of the guest's, mprotect */ LOAD(args[2]),
	/* 22 */ ANY(~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC), 2, 0),
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
	/*
	 * What other processes' jumps do is none of a guest's business, nor what a guest has the processor predict theirs:
	 * as between virtual machines. Where the host has decided otherwise it fails.
	 */
	(void)prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_FORCE_DISABLE, 0, 0);
	return jail_drop_capabilities(NULL);
}

static int place_descriptors(struct direct_child *child)
{
	int guest = fcntl(child->guest_fd, F_DUPFD, 4), pages = fcntl(child->pages_fd, F_DUPFD, 4);
	int said = fcntl(child->said_fd, F_DUPFD, 4), image = fcntl(child->image_fd, F_DUPFD, 4);
	if (guest < 0 || pages < 0 || said < 0 || dup2(guest, DIRECT_GUEST_FD) < 0 ||
		dup2(pages, DIRECT_PAGES_FD) < 0 || dup2(said, 3) < 0 ||
		(image >= 0 ? dup2(image, DIRECT_IMAGE_FD) : close(DIRECT_IMAGE_FD)) < 0 ||
		close_range(4, ~0u, 0) < 0)
		return -errno;
	child->said_fd = 3;
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
	static const uint64_t bytes = 2 * DIRECT_PAGE; /* without the list */
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
	/* Now it is traced. Nobody else of the same user shall read the guest's memory here. */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		say(child.said_fd, DIRECT_STEP_RIGHTS, -errno, false);
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
