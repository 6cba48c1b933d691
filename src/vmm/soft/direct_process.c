/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_process.c - what it maps, runs and stops for.
 *
 * Theory of operation. Guest code is resumed by PTRACE_SYSEMU only, so that a system call of its is a stop and
 * nothing else. Mappings are calls that the monitor makes there (direct_trace.c).
 */
#include "vmm/soft/direct_process.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/elf.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "host/process.h"
#include "vmm/soft/direct_trace.h"

#define KICK         SIGUSR1
#define SECCOMP_CODE 1 /* of a SIGSYS that a filter sent */

/* Where programs put little: our pages move if one wants their place. */
#define PLACES_FIRST UINT64_C(0x300000000000)
#define PLACES_SPAN  UINT64_C(0x200000000000)
#define PLACES_TRIED 64
#define PLACE_BYTES  (DIRECT_PAGES * DIRECT_PAGE)

/* Of what is mapped at once all is there before it is touched. */
#define POPULATE_MAX (2 * MIB)

#define FLAG_TF       0x100u
#define FLAG_IF       0x200u
#define FLAGS_IOPL    0x3000u
#define FLAGS_VIRTUAL (1u << 17 | 1u << 19 | 1u << 20) /* VM, VIF, VIP */
#define FLAG_ID       (1u << 21)

#define XSAVE_HEADER_AT 512u
#define XSAVE_MXCSR_AT  24u
#define MXCSR_USUAL     0x1f80u
#define XSAVE_BYTES_MIN 576u
#define XSAVE_BYTES_MAX 16384u
#define XSAVE_VECTORS   UINT64_C(0xe7) /* x87, SSE, AVX, AVX-512 */
#define XSAVE_KEYS_BIT  9
#define XSAVE_KEYS      (UINT64_C(1) << XSAVE_KEYS_BIT)
#define XSAVE_SOFTWARE  464u /* the kernel's, up to the header's */

#define VDSO_BYTES 0x2000u /* code of 32 bits in it */

#define PORT         0x5658u
#define PORT_MAGIC   0x564d5868u
#define PORT_VERSION 10u

static uint64_t some_place(void)
{
	uint64_t number = 0;
	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	return PLACES_FIRST + number % (PLACES_SPAN / DIRECT_PAGE) * DIRECT_PAGE;
}

static bool overlaps(uint64_t at, uint64_t bytes, uint64_t place)
{
	return place + PLACE_BYTES > at && place < at + bytes;
}

static struct direct_call unmapping(uint64_t at, uint64_t bytes)
{
	return (struct direct_call){ SYS_munmap, { at, bytes } };
}

/* Gives the place of our pages to the guest, for one where nothing is. */
static int move(struct direct_process *process, const struct direct_change *wanted)
{
	int64_t r = -EEXIST;
	for (int i = 0; i < PLACES_TRIED && r == -EEXIST; i++) {
		uint64_t from = process->page_at, to = some_place();
		if (overlaps(wanted->linear, wanted->bytes, to) || overlaps(from, PLACE_BYTES, to))
			continue;
		const struct direct_call take = { SYS_mmap,
			{ to, PLACE_BYTES, PROT_EXEC, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
				DIRECT_PAGES_FD, 0 } };
		const struct direct_call keep =
			unmapping(to + DIRECT_PAGE, PLACE_BYTES - DIRECT_PAGE);
		const struct direct_call leave = unmapping(from, DIRECT_PAGE);
		r = direct_trace_call(process, &take);
		if (r < 0)
			continue;
		process->page_at = to;
		r = direct_trace_call(process, &keep);
		if (r == 0)
			r = direct_trace_call(process, &leave);
	}
	return (int)r;
}

static bool is_possible(const struct direct_change *change)
{
	return change->linear < DIRECT_END && change->bytes > 0 &&
		change->bytes <= DIRECT_END - change->linear &&
		(change->linear | change->bytes | change->offset) % DIRECT_PAGE == 0 &&
		!((change->prot & DIRECT_IMAGE) && (change->prot & PROT_WRITE));
}

static struct direct_call mapping(const struct direct_change *change)
{
	uint64_t flags = MAP_SHARED | MAP_FIXED;
	if (change->prot & DIRECT_IMAGE)
		return (struct direct_call){ SYS_mmap,
			{ change->linear, change->bytes, (uint64_t)change->prot & ~DIRECT_IMAGE,
				MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, DIRECT_IMAGE_FD,
				change->offset } };
	if (change->bytes <= POPULATE_MAX)
		flags |= MAP_POPULATE;
	return (struct direct_call){ SYS_mmap,
		{ change->linear, change->bytes, (uint64_t)change->prot, flags, DIRECT_GUEST_FD,
			change->offset } };
}

/* Two at most: our pages stay. */
static size_t add_unmapping(const struct direct_process *process, uint64_t linear, uint64_t bytes,
	struct direct_call *to)
{
	uint64_t ours = process->page_at, end = linear + bytes;
	size_t count = 0;
	if (!overlaps(linear, bytes, ours)) {
		to[count++] = unmapping(linear, bytes);
		return count;
	}
	if (ours > linear)
		to[count++] = unmapping(linear, ours - linear);
	if (end > ours + PLACE_BYTES)
		to[count++] = unmapping(ours + PLACE_BYTES, end - ours - PLACE_BYTES);
	return count;
}

static int make(struct direct_process *process, size_t count)
{
	if (count > 1)
		return direct_trace_calls(process, count);
	if (count == 0)
		return 0;
	int64_t r = direct_trace_call(process, process->list);
	return r < 0 && r != -ESRCH ? -ENOMEM : r < 0 ? -ESRCH : 0;
}

int direct_process_unmap_all(struct direct_process *process)
{
	struct direct_call *list = process->list;
	size_t count = add_unmapping(process, 0, DIRECT_END, list);
	int r = make(process, count);
	/* Too many pieces for one more, perhaps: then one by one. */
	for (size_t i = 0; r == -ENOMEM && i < count; i++)
		if (direct_trace_call(process, &list[i]) < 0)
			r = -ESRCH;
	if (r == -ESRCH && !process->is_dead) {
		direct_trace_signal(process, SIGKILL);
		process->is_dead = true;
	}
	return r == -ENOMEM ? 0 : r;
}

int direct_process_change(
	struct direct_process *process, const struct direct_change *changes, size_t count)
{
	struct direct_call *list = process->list;
	size_t used = 0;
	int r = 0;
	for (size_t i = 0; i < count; i++)
		if (!is_possible(&changes[i]))
			return -EINVAL;
	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct direct_change *change = &changes[i];
		if (used + 3 > DIRECT_CALLS ||
			(change->prot &&
				overlaps(change->linear, change->bytes, process->page_at))) {
			r = make(process, used);
			used = 0;
		}
		if (r == 0 && change->prot &&
			overlaps(change->linear, change->bytes, process->page_at))
			r = move(process, change);
		if (change->prot)
			list[used++] = mapping(change);
		else
			used += add_unmapping(process, change->linear, change->bytes, list + used);
	}
	if (r == 0)
		r = make(process, used);
	if (r == 0 || r == -ESRCH)
		return r;
	/* Which it was is not known. */
	r = direct_process_unmap_all(process);
	return r < 0 ? r : -ENOMEM;
}

static uint64_t *header_of(uint8_t *image)
{
	return (uint64_t *)(void *)(image + XSAVE_HEADER_AT);
}

static int transfer(struct direct_process *process, int request)
{
	struct iovec all = { process->vectors, process->vectors_bytes };
	if (process->is_dead)
		return -ESRCH;
	return direct_trace(process, request, (void *)(uintptr_t)NT_X86_XSTATE, &all) < 0 ? -errno
											  : 0;
}

/* What is not of the guest's vectors, protection keys among it, stays as it was in the beginning. */
static void keep_components(struct direct_process *process, uint64_t components)
{
	*header_of(process->vectors) = (components & XSAVE_VECTORS) | process->vectors_kept;
	if (process->keys_at)
		memcpy(process->vectors + process->keys_at, &process->keys, sizeof(process->keys));
}

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
	keep_components(process, components);
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
	/* Code there can write its keys, for all that comes after it. */
	if (process->keys_at &&
		memcmp(process->vectors + process->keys_at, &process->keys,
			sizeof(process->keys)) != 0) {
		keep_components(process, *header_of(process->vectors));
		r = transfer(process, PTRACE_SETREGSET);
		if (r < 0)
			return r;
	}
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
	const uint64_t never = FLAG_TF | FLAGS_IOPL | FLAGS_VIRTUAL;
	return regs->cs == USER_CS && regs->ss == USER_SS && is_data(regs->ds) &&
		is_data(regs->es) && is_data(regs->fs) && is_data(regs->gs) &&
		(regs->eflags & (never | FLAG_IF)) == FLAG_IF && regs->rip < DIRECT_END &&
		regs->fs_base < DIRECT_END && regs->gs_base < DIRECT_END;
}

/*
 * SYSENTER, and SYSCALL of 32-bit code where the processor has that, come out in 32-bit code at an address in the vDSO that the monitor
 * had: all of it in what the kernel tells, its lower half once it has been run to.
 */
static bool is_behind_sysenter(
	const struct direct_process *process, const struct user_regs_struct *regs)
{
	return regs->cs == USER_CS32 &&
		(regs->rip >> 32 || (uint32_t)(regs->rip - process->vdso) < VDSO_BYTES);
}

/* What a stop means; false: nothing, go on. */
static bool tell(struct direct_process *process, int status, struct user_regs_struct *regs,
	enum direct_exit *ret, uint64_t *address)
{
	int signal = WSTOPSIG(status);
	siginfo_t info;
	if (status >> 16 != 0)
		return false; /* group stops are none of a guest's */
	if (signal == DIRECT_SYSCALL_STOP) {
		*ret = DIRECT_SYSCALL;
		regs->rip -= 2;
		regs->rax = regs->orig_rax;
		return true;
	}
	if (signal != SIGTRAP && signal != SIGSEGV && signal != SIGBUS && signal != SIGILL &&
		signal != SIGFPE && signal != SIGSYS)
		return false;
	/* Somebody's kill(2) changes nothing. */
	if (direct_trace(process, PTRACE_GETSIGINFO, NULL, &info) < 0 || info.si_code <= 0)
		return false;
	*ret = DIRECT_TRAP;
	bool has_address = info.si_code != SI_KERNEL;
	if (signal == SIGSEGV && has_address) {
		*ret = DIRECT_FAULT;
		*address = (uint64_t)(uintptr_t)info.si_addr;
	} else if (signal == SIGBUS && has_address && info.si_code != BUS_ADRALN) {
		*ret = DIRECT_FAULT;
		*address = (uint64_t)(uintptr_t)info.si_addr;
	} else if (signal == SIGTRAP && info.si_code == SI_KERNEL) {
		*ret = DIRECT_INT3;
	} else if (signal == SIGTRAP && info.si_code == TRAP_TRACE) {
		*ret = DIRECT_STEP;
	} else if (signal == SIGTRAP) {
		regs->rip--; /* INT1 */
	} else if (signal == SIGSYS && info.si_code == SECCOMP_CODE) {
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
	bool is_there = regs->cs == USER_CS && regs->rip - process->page_at < PLACE_BYTES;
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
	if (direct_trace_set(process, &now) < 0)
		return DIRECT_GONE;
	if (atomic_load(&process->is_kicked))
		return DIRECT_KICKED;
	bool is_done = false;
	while (!is_done) {
		if (direct_trace(process, PTRACE_SYSEMU, NULL, NULL) < 0)
			return DIRECT_LOST;
		if (!direct_trace_wait(process, &status) || direct_trace_get(process, &now) < 0)
			return DIRECT_LOST;
		/* Whatever has stopped it there. */
		if (is_behind_sysenter(process, &now))
			return DIRECT_SYSENTER;
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
	if (process->is_dead)
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
		direct_trace_signal(process, KICK);
}

int direct_process_id(const struct direct_process *process)
{
	return process->pid;
}

uint64_t direct_process_used_us(const struct direct_process *process)
{
	return process->used_us;
}

bool direct_process_traps_cpuid(const struct direct_process *process)
{
	return process->traps_cpuid;
}

/*
 * Native, until it stops; false: not as it must. With a number of a call in RAX, and what a hypervisor that listens at a port
 * wants to be asked with.
 */
static bool probe(
	struct direct_process *process, uint64_t rip, struct user_regs_struct *ret, int *status)
{
	*ret = direct_trace_at(rip);
	ret->rax = rip == process->page_at + direct_child_in() ? PORT_MAGIC : SYS_getpid;
	ret->rdx = PORT;
	ret->rcx = PORT_VERSION;
	return direct_trace_set(process, ret) == 0 &&
		direct_trace(process, PTRACE_SYSEMU, NULL, NULL) == 0 &&
		direct_trace_wait(process, status) && direct_trace_get(process, ret) == 0;
}

static int read_vectors(struct direct_process *process)
{
	uint32_t size, c, d, mxcsr = MXCSR_USUAL;
	process->vectors = alloc_array(XSAVE_BYTES_MAX, uint8_t);
	struct iovec all = { process->vectors, XSAVE_BYTES_MAX };
	if (direct_trace(process, PTRACE_GETREGSET, (void *)(uintptr_t)NT_X86_XSTATE, &all) < 0)
		return -errno;
	if (all.iov_len < XSAVE_BYTES_MIN || all.iov_len == XSAVE_BYTES_MAX)
		return -ENOTSUP;
	process->vectors_bytes = all.iov_len;
	process->vectors_kept = *header_of(process->vectors) & ~XSAVE_VECTORS;
	if (process->vectors_kept & XSAVE_KEYS)
		__cpuid_count(13, XSAVE_KEYS_BIT, size, process->keys_at, c, d);
	memcpy(&process->keys, process->vectors + process->keys_at, sizeof(process->keys));
	/* What the monitor had in them is not for who comes. */
	memset(process->vectors, 0, XSAVE_SOFTWARE);
	memcpy(process->vectors + XSAVE_MXCSR_AT, &mxcsr, sizeof(mxcsr));
	keep_components(process, 0);
	return transfer(process, PTRACE_SETREGSET);
}

/* It has emptied itself; does tracing work here as everything else relies on? */
static int try(struct direct_process *process, struct error *e)
{
	struct user_regs_struct regs;
	int status;
	if (!direct_trace_wait(process, &status) || WSTOPSIG(status) != SIGTRAP ||
		direct_trace_get(process, &regs) < 0)
		return error_set(e, -EIO, "direct execution: the process that was made died");
	if (regs.rax != 0)
		return error_code(e, (int)regs.rax, "direct execution: unmap all of a process");
	process->native_id = regs.eflags & FLAG_ID;
	/*
	 * VMware answers programs of ring 3 at this port, and tells them what its user has set for this machine: a guest's programs
	 * are none that may ask.
	 */
	uint64_t in_at = process->page_at + direct_child_in();
	if (!probe(process, in_at, &regs, &status) || WSTOPSIG(status) != SIGSEGV ||
		regs.rip != in_at)
		return error_set(e, -ENOTSUP,
			"direct execution: programs here can talk to the hypervisor of this host");
	if (!probe(process, process->page_at + direct_child_sysenter(), &regs, &status))
		return error_set(e, -EIO, "direct execution: the process died of a SYSENTER");
	if (regs.cs == USER_CS32 && (uint32_t)(regs.rip - process->vdso) >= VDSO_BYTES)
		return error_set(
			e, -ENOTSUP, "direct execution: a SYSENTER comes out at an unknown place");
	if (!probe(process, process->page_at + DIRECT_CALL_AT, &regs, &status) ||
		WSTOPSIG(status) != DIRECT_SYSCALL_STOP)
		return error_set(e, -ENOTSUP, "direct execution: no PTRACE_SYSEMU here");
	int r = read_vectors(process);
	const struct direct_call empty = unmapping(process->page_at + DIRECT_PAGE, DIRECT_PAGE);
	if (r == 0)
		r = (int)direct_trace_call(process, &empty);
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
	if (direct_trace_attach(process) < 0)
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

int direct_process_new(int memfd, int image, struct direct_process **ret, struct error *e)
{
	int ends[2], pidfd = -1;
	cleanup(direct_process_free) struct direct_process *process = alloc(struct direct_process);
	cleanup(close) int pages = direct_child_pages(&process->list, e);
	if (pages < 0)
		return pages;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(e, "make a pair of sockets");
	want_no_signals();
	process->page_at = some_place();
	process->vdso = direct_child_vdso();
	process->pid = process_clone(0, -1, &pidfd);
	if (process->pid == 0) {
		const struct direct_child child = { memfd, image, pages, ends[1],
			process->page_at };
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

int direct_process_probe(struct error *e)
{
	cleanup(direct_process_free) struct direct_process *process = NULL;
	cleanup(close) int memfd = memfd_create("probe", MFD_CLOEXEC);
	if (memfd < 0)
		return error_errno(e, "direct execution: memory");
	return direct_process_new(memfd, -1, &process, e);
}

void direct_process_free(struct direct_process *process)
{
	if (!process)
		return;
	int status;
	if (process->pid > 0 && !process->is_reaped) {
		direct_trace_signal(process, SIGKILL);
		while (direct_trace_wait(process, &status))
			;
	}
	if (process->list)
		munmap(process->list, 2 * DIRECT_PAGE);
	free(process->vectors);
	free(process);
}
