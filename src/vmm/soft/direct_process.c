/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_process.c - the tracer's side.
 *
 * Theory of operation. The process is resumed by PTRACE_SYSEMU only, so that a system call of guest code is a stop
 * and nothing else. What the monitor wants to have done there - map, unmap - it does by one PTRACE_SINGLESTEP over
 * the SYSCALL of our page. Registers are written before every resume, always with orig_rax = -1, for the kernel must not
 * take a guest's RAX for a call that is to be begun again.
 */
#include "vmm/soft/direct_process.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/elf.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "host/process.h"
#include "vmm/soft/direct_child.h"

#define KICK         SIGUSR1
#define SYSCALL_STOP (SIGTRAP | 0x80)
#define OPTIONS      (PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)

/* Where programs put little: our page moves if one wants its place. */
#define PAGES_FIRST UINT64_C(0x300000000000)
#define PAGES_SPAN  UINT64_C(0x200000000000)

#define USER_CS   0x33u
#define USER_SS   0x2bu
#define USER_CS32 0x23u

#define FLAGS_FIXED   0x202u /* IF, and the bit that is always set */
#define FLAG_TF       0x100u
#define FLAG_IF       0x200u
#define FLAGS_IOPL    0x3000u
#define FLAGS_VIRTUAL (7u << 17 & ~(1u << 18)) /* VM, VIF */
#define FLAG_VIP      (1u << 20)
#define FLAG_ID       (1u << 21)

#define XSAVE_HEADER_AT 512u
#define XSAVE_BYTES_MIN 576u
#define XSAVE_BYTES_MAX 16384u
#define XSAVE_VECTORS   UINT64_C(0xe7) /* x87, SSE, AVX, AVX-512 */
#define XSAVE_KEYS_BIT  9
#define XSAVE_KEYS      (UINT64_C(1) << XSAVE_KEYS_BIT)
#define XSAVE_SOFTWARE  464u /* the kernel's, up to the header's */
#define STEPS_MAX       64

struct direct_process {
	pid_t pid;
	uint64_t page_at;
	uint32_t sysenter_at; /* where a SYSENTER comes out; 0: it is an invalid instruction */
	uint64_t native_id;   /* FLAG_ID as it is there */
	bool traps_cpuid;
	bool is_mine; /* traced by the thread that runs it */
	bool is_dead, is_reaped;
	atomic_bool runs, is_kicked;
	uint8_t *vectors; /* the image of the process as last seen or set */
	size_t vectors_bytes;
	uint64_t vectors_kept;  /* components that are not the guest's */
	uint32_t keys_at, keys; /* PKRU in there, and as it was in the beginning */
};

static long trace(struct direct_process *process, int request, void *address, void *data)
{
	return syscall(SYS_ptrace, request, process->pid, address, data);
}

static void send_signal(const struct direct_process *process, int signal)
{
	(void)syscall(SYS_tgkill, process->pid, process->pid, signal);
}

/* The next stop of it; false when it is dead. */
static bool wait_for_stop(struct direct_process *process, int *ret)
{
	pid_t got;
	do
		got = (pid_t)syscall(SYS_wait4, process->pid, ret, __WALL, NULL);
	while (got < 0 && errno == EINTR);
	if (got == process->pid && WIFSTOPPED(*ret))
		return true;
	process->is_dead = process->is_reaped = true;
	return false;
}

static int attach(struct direct_process *process)
{
	if (trace(process, PTRACE_SEIZE, NULL, (void *)(uintptr_t)OPTIONS) < 0)
		return -errno;
	return 0;
}

static int stop(struct direct_process *process)
{
	int status;
	if (trace(process, PTRACE_INTERRUPT, NULL, NULL) < 0)
		return -errno;
	return wait_for_stop(process, &status) ? 0 : -ESRCH;
}

/* The thread that calls becomes its tracer. */
static bool is_ours(struct direct_process *process)
{
	if (!process->is_mine && !process->is_dead) {
		process->is_dead = attach(process) < 0 || stop(process) < 0;
		process->is_mine = !process->is_dead;
	}
	return !process->is_dead;
}

static int get_registers(struct direct_process *process, struct user_regs_struct *regs)
{
	return trace(process, PTRACE_GETREGS, NULL, regs) < 0 ? -errno : 0;
}

static int set_registers(struct direct_process *process, const struct user_regs_struct *regs)
{
	return trace(process, PTRACE_SETREGS, NULL, (void *)(uintptr_t)regs) < 0 ? -errno : 0;
}

static struct user_regs_struct registers_at(uint64_t rip)
{
	return (struct user_regs_struct){
		.rip = rip,
		.cs = USER_CS,
		.ss = USER_SS,
		.eflags = FLAGS_FIXED,
		.orig_rax = UINT64_MAX,
	};
}

/* A call of the host's, made there: what it returns, or -ESRCH and it is dead. */
static int64_t call(struct direct_process *process, long number, const uint64_t arguments[6])
{
	uint64_t at = process->page_at + DIRECT_CALL_AT;
	struct user_regs_struct regs = registers_at(at);
	regs.rax = (uint64_t)number;
	regs.rdi = arguments[0];
	regs.rsi = arguments[1];
	regs.rdx = arguments[2];
	regs.r10 = arguments[3];
	regs.r8 = arguments[4];
	regs.r9 = arguments[5];
	if (!is_ours(process) || set_registers(process, &regs) < 0)
		goto dead;
	/* It may stop before for a kick that came late, or at the end of a call that was a stop. */
	for (int i = 0; i < STEPS_MAX; i++) {
		int status;
		if (trace(process, PTRACE_SINGLESTEP, NULL, NULL) < 0 ||
			!wait_for_stop(process, &status))
			goto dead;
		if (WSTOPSIG(status) != SIGTRAP)
			continue;
		if (get_registers(process, &regs) < 0)
			goto dead;
		if (regs.rip == at + 2)
			return (int64_t)regs.rax;
	}
	send_signal(process, SIGKILL);
dead:
	process->is_dead = true;
	return -ESRCH;
}

static int new_page(struct direct_process *process, uint64_t at)
{
	const uint64_t arguments[6] = { at, DIRECT_PAGE, PROT_EXEC,
		MAP_PRIVATE | MAP_FIXED_NOREPLACE, DIRECT_PAGES_FD, 0 };
	int64_t got = call(process, SYS_mmap, arguments);
	return got < 0 ? (int)got : 0;
}

static uint64_t some_place(void)
{
	uint64_t number = 0;
	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	return PAGES_FIRST + number % (PAGES_SPAN / DIRECT_PAGE) * DIRECT_PAGE;
}

static bool overlaps(uint64_t at, uint64_t bytes, uint64_t page)
{
	return page + DIRECT_PAGE > at && page < at + bytes;
}

static int unmap(struct direct_process *process, uint64_t at, uint64_t bytes)
{
	if (bytes == 0)
		return 0;
	return (int)call(process, SYS_munmap, (const uint64_t[6]){ at, bytes });
}

/* Gives the place of our page to the guest. */
static int move_page(struct direct_process *process, uint64_t linear, uint64_t bytes)
{
	int r;
	do {
		uint64_t to = some_place();
		if (overlaps(linear, bytes, to))
			continue;
		r = new_page(process, to);
		if (r == 0) {
			uint64_t from = process->page_at;
			process->page_at = to;
			return unmap(process, from, DIRECT_PAGE);
		}
	} while (r == -EEXIST);
	return r;
}

static int check(uint64_t linear, uint64_t bytes)
{
	return linear >= DIRECT_END || bytes == 0 || bytes > DIRECT_END - linear ||
			(linear | bytes) % DIRECT_PAGE
		? -EINVAL
		: 0;
}

int direct_process_map(struct direct_process *process, uint64_t linear, uint64_t bytes,
	uint64_t file_offset, int prot)
{
	int r = check(linear, bytes);
	if (r == 0 && overlaps(linear, bytes, process->page_at))
		r = move_page(process, linear, bytes);
	if (r < 0)
		return r;
	const uint64_t arguments[6] = { linear, bytes, (uint64_t)prot,
		MAP_SHARED | MAP_FIXED | MAP_POPULATE, DIRECT_GUEST_FD, file_offset };
	int64_t got = call(process, SYS_mmap, arguments);
	return got < 0 ? (int)got : 0;
}

/* Calls `what` for what lies before our page and behind it. */
static int around(struct direct_process *process, uint64_t linear, uint64_t bytes,
	int (*what)(struct direct_process *, uint64_t, uint64_t, int), int prot)
{
	uint64_t page = process->page_at, end = linear + bytes;
	int r = check(linear, bytes);
	if (r < 0 || !overlaps(linear, bytes, page))
		return r < 0 ? r : what(process, linear, bytes, prot);
	if (page > linear)
		r = what(process, linear, page - linear, prot);
	if (r == 0 && end > page + DIRECT_PAGE)
		r = what(process, page + DIRECT_PAGE, end - page - DIRECT_PAGE, prot);
	return r;
}

static int protect_there(struct direct_process *process, uint64_t at, uint64_t bytes, int prot)
{
	const uint64_t arguments[6] = { at, bytes, (uint64_t)prot };
	return (int)call(process, SYS_mprotect, arguments);
}

static int unmap_there(struct direct_process *process, uint64_t at, uint64_t bytes, int prot)
{
	(void)prot;
	return unmap(process, at, bytes);
}

int direct_process_protect(
	struct direct_process *process, uint64_t linear, uint64_t bytes, int prot)
{
	return around(process, linear, bytes, protect_there, prot);
}

int direct_process_unmap(struct direct_process *process, uint64_t linear, uint64_t bytes)
{
	return around(process, linear, bytes, unmap_there, 0);
}

int direct_process_unmap_all(struct direct_process *process)
{
	return around(process, 0, DIRECT_END, unmap_there, 0);
}

static uint64_t *header_of(uint8_t *image)
{
	return (uint64_t *)(void *)(image + XSAVE_HEADER_AT);
}

static int transfer(struct direct_process *process, int request)
{
	struct iovec all = { process->vectors, process->vectors_bytes };
	if (!is_ours(process))
		return -ESRCH;
	return trace(process, request, (void *)(uintptr_t)NT_X86_XSTATE, &all) < 0 ? -errno : 0;
}

/* What is not of the guest's vectors, protection keys among it, stays as it was in the beginning. */
int direct_process_load_vectors(struct direct_process *process, const void *xsave, size_t bytes)
{
	uint8_t *image = process->vectors;
	const uint8_t *from = xsave;
	uint64_t components;
	if (bytes < XSAVE_BYTES_MIN)
		return -EINVAL;
	memcpy(&components, from + XSAVE_HEADER_AT, sizeof(components));
	memcpy(image, from, XSAVE_SOFTWARE);
	for (uint32_t i = 2; i < 8; i++) {
		uint32_t size, at, c, d;
		if (!(XSAVE_VECTORS & components & UINT64_C(1) << i))
			continue;
		__cpuid_count(13, i, size, at, c, d);
		if (at + size > bytes || at + size > process->vectors_bytes)
			return -EINVAL;
		memcpy(image + at, from + at, size);
	}
	*header_of(image) = (components & XSAVE_VECTORS) | process->vectors_kept;
	if (process->keys_at)
		memcpy(image + process->keys_at, &process->keys, sizeof(process->keys));
	return transfer(process, PTRACE_SETREGSET);
}

int direct_process_save_vectors(struct direct_process *process, void *xsave, size_t bytes)
{
	uint64_t components;
	if (bytes < XSAVE_BYTES_MIN)
		return -EINVAL;
	int r = transfer(process, PTRACE_GETREGSET);
	if (r < 0)
		return r;
	components = *header_of(process->vectors) & XSAVE_VECTORS;
	if (bytes > process->vectors_bytes)
		bytes = process->vectors_bytes;
	memcpy(xsave, process->vectors, bytes);
	memset((uint8_t *)xsave + XSAVE_SOFTWARE, 0, XSAVE_BYTES_MIN - XSAVE_SOFTWARE);
	memcpy((uint8_t *)xsave + XSAVE_HEADER_AT, &components, sizeof(components));
	return 0;
}

static bool is_data(uint64_t selector)
{
	return selector == 0 || selector == USER_SS;
}

bool direct_process_can(const struct user_regs_struct *regs)
{
	const uint64_t never = FLAG_TF | FLAGS_IOPL | FLAGS_VIRTUAL | FLAG_VIP;
	return regs->cs == USER_CS && regs->ss == USER_SS && is_data(regs->ds) &&
		is_data(regs->es) && is_data(regs->fs) && is_data(regs->gs) &&
		(regs->eflags & (never | FLAG_IF)) == FLAG_IF && regs->rip < DIRECT_END &&
		regs->fs_base < DIRECT_END && regs->gs_base < DIRECT_END;
}

/* In 32-bit code, where the host's own page would be. */
static bool is_behind_sysenter(
	const struct direct_process *process, const struct user_regs_struct *regs)
{
	return regs->cs == USER_CS32 && (uint32_t)regs->rip == process->sysenter_at;
}

/* What a stop means; false: nothing, go on. */
static bool tell(struct direct_process *process, int status, struct user_regs_struct *regs,
	enum direct_exit *ret, uint64_t *address)
{
	int signal = WSTOPSIG(status);
	siginfo_t info;
	if (status >> 16 != 0)
		return false; /* group stops are none of a guest's */
	if (signal == SYSCALL_STOP) {
		if (is_behind_sysenter(process, regs)) {
			*ret = DIRECT_SYSENTER;
			return true;
		}
		*ret = DIRECT_SYSCALL;
		regs->rip -= 2;
		regs->rax = regs->orig_rax;
		return true;
	}
	if (signal != SIGTRAP && signal != SIGSEGV && signal != SIGBUS && signal != SIGILL &&
		signal != SIGFPE && signal != SIGSYS)
		return false;
	/* Somebody's kill(2) changes nothing. */
	if (trace(process, PTRACE_GETSIGINFO, NULL, &info) < 0 || info.si_code <= 0)
		return false;
	*ret = DIRECT_TRAP;
	bool has_address = info.si_code != SI_KERNEL;
	if (signal == SIGSEGV && has_address) {
		*ret = DIRECT_FAULT;
		*address = (uint64_t)(uintptr_t)info.si_addr;
		if (is_behind_sysenter(process, regs))
			*ret = DIRECT_SYSENTER; /* it could not even read the stack */
	} else if (signal == SIGBUS && has_address && info.si_code != BUS_ADRALN) {
		*ret = DIRECT_FAULT;
		*address = (uint64_t)(uintptr_t)info.si_addr;
	} else if (signal == SIGTRAP && info.si_code == SI_KERNEL) {
		*ret = DIRECT_INT3;
	} else if (signal == SIGTRAP && info.si_code == TRAP_TRACE) {
		*ret = DIRECT_STEP;
	} else if (signal == SIGTRAP) {
		regs->rip--; /* INT1 */
	} else if (signal == SIGSYS) {
		/* The vsyscall page: the kernel has returned from it already. */
		*ret = DIRECT_FAULT;
		regs->rip = *address = (uint64_t)(uintptr_t)info.si_call_addr;
		regs->rsp -= 8;
	}
	return true;
}

/* Our page is none of the guest's. */
static void hide_page(const struct direct_process *process, const struct user_regs_struct *regs,
	enum direct_exit *exit, uint64_t *address)
{
	bool is_there = regs->cs == USER_CS && regs->rip - process->page_at < DIRECT_PAGE;
	if (is_there && *exit != DIRECT_KICKED) {
		*exit = DIRECT_FAULT;
		*address = regs->rip;
	}
}

static enum direct_exit go(
	struct direct_process *process, struct user_regs_struct *regs, uint64_t *address)
{
	enum direct_exit exit = DIRECT_KICKED;
	struct user_regs_struct now = *regs;
	int status;
	now.orig_rax = UINT64_MAX;
	if (set_registers(process, &now) < 0)
		return DIRECT_GONE;
	if (atomic_load(&process->is_kicked))
		return DIRECT_KICKED;
	bool is_done = false;
	while (!is_done) {
		if (trace(process, PTRACE_SYSEMU, NULL, NULL) < 0)
			return DIRECT_LOST;
		if (!wait_for_stop(process, &status) || get_registers(process, &now) < 0)
			return DIRECT_LOST;
		is_done = tell(process, status, &now, &exit, address) ||
			atomic_load(&process->is_kicked);
	}
	hide_page(process, &now, &exit, address);
	/* Nobody but ring 3 itself can write this flag there: it has changed if it was changed there. */
	uint64_t id = (regs->eflags ^ process->native_id ^ now.eflags) & FLAG_ID;
	process->native_id = now.eflags & FLAG_ID;
	now.eflags = (now.eflags & ~(uint64_t)FLAG_ID) | id;
	*regs = now;
	return exit;
}

enum direct_exit direct_process_run(
	struct direct_process *process, struct user_regs_struct *regs, uint64_t *address)
{
	*address = 0;
	if (!direct_process_can(regs))
		return DIRECT_TRAP;
	if (!is_ours(process))
		return DIRECT_GONE;
	atomic_store(&process->runs, true);
	enum direct_exit exit = go(process, regs, address);
	atomic_store(&process->runs, false);
	atomic_store(&process->is_kicked, false); /* the caller looks when this returns */
	if (exit == DIRECT_GONE || exit == DIRECT_LOST)
		process->is_dead = true;
	return exit;
}

/* No kick is lost: it is seen before the process is resumed, or it sees that this is done and a signal ends it. */
void direct_process_kick(struct direct_process *process)
{
	atomic_store(&process->is_kicked, true);
	if (atomic_load(&process->runs))
		send_signal(process, KICK);
}

int direct_process_id(const struct direct_process *process)
{
	return process->pid;
}

bool direct_process_traps_cpuid(const struct direct_process *process)
{
	return process->traps_cpuid;
}

/* Native, until it stops; false: not as it must. */
static bool probe(
	struct direct_process *process, uint64_t rip, struct user_regs_struct *ret, int *status)
{
	*ret = registers_at(rip);
	ret->rax = SYS_pause;
	return set_registers(process, ret) == 0 && trace(process, PTRACE_SYSEMU, NULL, NULL) == 0 &&
		wait_for_stop(process, status) && get_registers(process, ret) == 0;
}

static int read_vectors(struct direct_process *process)
{
	uint32_t size, c, d;
	process->vectors = alloc_array(XSAVE_BYTES_MAX, uint8_t);
	struct iovec all = { process->vectors, XSAVE_BYTES_MAX };
	if (trace(process, PTRACE_GETREGSET, (void *)(uintptr_t)NT_X86_XSTATE, &all) < 0)
		return -errno;
	if (all.iov_len < XSAVE_BYTES_MIN || all.iov_len == XSAVE_BYTES_MAX)
		return -ENOTSUP;
	process->vectors_bytes = all.iov_len;
	process->vectors_kept = *header_of(process->vectors) & ~XSAVE_VECTORS;
	if (process->vectors_kept & XSAVE_KEYS)
		__cpuid_count(13, XSAVE_KEYS_BIT, size, process->keys_at, c, d);
	memcpy(&process->keys, process->vectors + process->keys_at, sizeof(process->keys));
	return 0;
}

/* It has emptied itself; does tracing work here as everything else relies on? */
static int try(struct direct_process *process, struct error *e)
{
	struct user_regs_struct regs;
	int status;
	if (!wait_for_stop(process, &status) || WSTOPSIG(status) != SIGTRAP ||
		get_registers(process, &regs) < 0)
		return error_set(e, -EIO, "direct execution: the process that was made died");
	if (regs.rax != 0)
		return error_code(e, (int)regs.rax, "direct execution: unmap all of a process");
	process->native_id = regs.eflags & FLAG_ID;
	uint64_t second = process->page_at + DIRECT_PAGE;
	if (!probe(process, second + DIRECT_SYSENTER_AT, &regs, &status))
		return error_set(e, -EIO, "direct execution: the process died of a SYSENTER");
	process->sysenter_at = regs.cs == USER_CS32 ? (uint32_t)regs.rip : 0;
	if (!probe(process, process->page_at + DIRECT_CALL_AT, &regs, &status) ||
		WSTOPSIG(status) != SYSCALL_STOP)
		return error_set(e, -ENOTSUP, "direct execution: no PTRACE_SYSEMU here");
	process->is_mine = true;
	int r = read_vectors(process);
	if (r == 0)
		r = unmap(process, second, DIRECT_PAGE);
	regs = registers_at(process->page_at + DIRECT_CALL_AT);
	regs.rax = SYS_pause;
	if (r == 0)
		r = set_registers(process, &regs);
	if (r == 0 && trace(process, PTRACE_DETACH, NULL, NULL) < 0)
		r = -errno;
	process->is_mine = false;
	return r < 0 ? error_code(e, r, "direct execution: prepare a process") : 0;
}

static int meet(struct direct_process *process, int fd, struct error *e)
{
	static const char *const steps[] = {
		[DIRECT_STEP_RIGHTS] = "give up rights",
		[DIRECT_STEP_DESCRIPTORS] = "close descriptors",
		[DIRECT_STEP_SIGNALS] = "forget signals",
		[DIRECT_STEP_RSEQ] = "forget restartable sequences",
		[DIRECT_STEP_TSC] = "make RDTSC fault",
		[DIRECT_STEP_PAGES] = "map a page",
	};
	struct direct_said said;
	char byte = 0;
	if (recv(fd, &byte, 1, 0) != 1)
		return error_set(e, -EIO, "direct execution: the process that was made died");
	if (attach(process) < 0)
		return error_errno(e, "direct execution: trace a process of our own");
	if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 ||
		recv(fd, &said, sizeof(said), 0) != sizeof(said))
		return error_set(e, -EIO, "direct execution: the process that was made died");
	if (said.step != DIRECT_STEP_DONE)
		return error_code(e, -said.code, "direct execution: %s", steps[said.step]);
	process->traps_cpuid = said.traps_cpuid;
	return try(process, e);
}

/* A stop is no news for the thread that takes the process's signals. */
static void want_no_signals(void)
{
	struct sigaction action;
	if (sigaction(SIGCHLD, NULL, &action) == 0 && !(action.sa_flags & SA_NOCLDSTOP)) {
		action.sa_flags |= SA_NOCLDSTOP;
		(void)sigaction(SIGCHLD, &action, NULL);
	}
}

int direct_process_new(int memfd, struct direct_process **ret, struct error *e)
{
	int ends[2], pidfd = -1;
	cleanup(close) int pages = direct_child_pages(e);
	if (pages < 0)
		return pages;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, "make a pair of sockets");
	want_no_signals();
	cleanup(direct_process_free) struct direct_process *process = alloc(struct direct_process);
	process->page_at = some_place();
	process->pid = process_clone(0, -1, &pidfd);
	if (process->pid == 0) {
		const struct direct_child child = { memfd, pages, ends[1], process->page_at };
		close(ends[0]);
		direct_child_run(&child);
	}
	close(ends[1]);
	int r = process->pid < 0 ? error_code(e, process->pid, "direct execution: make a process")
				 : meet(process, ends[0], e);
	close(ends[0]);
	if (pidfd >= 0)
		close(pidfd);
	if (r == 0)
		*ret = TAKE_PTR(process);
	return r;
}

void direct_process_free(struct direct_process *process)
{
	if (!process)
		return;
	int status;
	if (process->pid > 0 && !process->is_reaped) {
		send_signal(process, SIGKILL);
		while (wait_for_stop(process, &status))
			;
	}
	free(process->vectors);
	free(process);
}
