/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.c - the library OS in a locked process.
 *
 * Theory of operation. Every system call of the library OS is made by one instruction, in
 * platform_syscall(). The filter allows the few calls of the table below from that instruction and kills on
 * any other; a call from anywhere else is the program's own and traps: the signal handler stores its registers
 * where the library OS wants them and continues there. A program that jumps to that instruction gains what the
 * table lists and no more.
 */
#include "tender/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "tender/filter.h"
#include "tender/outside.h"
#include "tender/platform_call.h"
#include "tender/snapshot.h"
#include "tender/tap.h"
#include "tender/vdso.h"
#include "unikernel/missed.h"
#include "unikernel/slots.h"
#include "unikernel/snapshot.h"
#include "unikernel/thread.h"

#define ARCH_SET_FS_CODE    0x1002
#define HWCAP2_FSGSBASE_BIT 2
#define SIGNAL_STACK        (64 * KIB)
#define RED_ZONE            128

extern const char platform_syscall_after[];
void platform_restorer(void);

__asm__(".text\n"
	".globl platform_syscall, platform_syscall_after\n"
	".type platform_syscall, @function\n"
	"platform_syscall:\n\t"
	"mov %rdi, %rax\n\t"
	"mov %rsi, %rdi\n\t"
	"mov %rdx, %rsi\n\t"
	"mov %rcx, %rdx\n\t"
	"mov %r8, %r10\n\t"
	"mov %r9, %r8\n\t"
	"mov 8(%rsp), %r9\n"
	"platform_syscall_here:\n\t"
	"syscall\n"
	"platform_syscall_after:\n\t"
	"ret\n"
	/* What a handler returns to: rt_sigreturn by that instruction; a program's own one traps. */
	".globl platform_restorer\n"
	"platform_restorer:\n\t"
	"mov $15, %eax\n\t"
	"jmp platform_syscall_here\n");

/* Stays open until the process is locked. */
#define READY_FD    5
#define CLOCK_BYTES 65536 /* what the kernel's functions take at most */
static bool is_locked;
static uint64_t clock_ahead_ns;
static struct report *report;

/* The root's image, of which pages can be mapped; nothing else of it. */
#define IMAGE_FD 6
static struct {
	uint64_t address, bytes;
	bool has_fd;
} image;
/* The filter knows the card by this number. */
#define CARD_FD 3
static bool has_card, has_header;

/* The storage. */
#define VOLUME_FD 4
static bool has_volume;
static char *volume_copy; /* as it sees it alone; NULL: it has it */

/* What it writes itself into the first time that it has nothing to do for this long. */
#define SNAPSHOT_FD   7
#define SNAPSHOT_IDLE (100 * NS_PER_SEC / 1000)
static bool wants_snapshot, shows_snapshot;
/* Or whenever it is asked to, through the same number: a stream. */
static bool has_channel;
static struct snapshot_place place;

volatile uint64_t platform_signals;
/* How long to wait: a signal makes it nothing, so that none is lost between a look at them and the wait. */
static struct timespec wait_left;
#define FOR_EVER_SECONDS 1000000000

static uint64_t number_of(const void *pointer)
{
	return (uint64_t)(uintptr_t)pointer;
}

#define CALL(number, a, b, c, d) platform_syscall(number, a, b, c, d, 0, 0)

#define MEMORY_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static int map(uint64_t address, uint64_t size, int rights, int flags, int fd, uint64_t offset)
{
	int64_t r = platform_syscall(SYS_mmap, address, size, (uint64_t)rights, (uint64_t)flags,
		(uint64_t)(int64_t)fd, offset);
	return r < 0 && r > -4096 ? (int)r : 0;
}

int platform_map(uint64_t address, uint64_t size)
{
	return map(
		address, size, PROT_READ | PROT_WRITE, MEMORY_FLAGS | MAP_FIXED_NOREPLACE, -1, 0);
}

void platform_unmap(uint64_t address, uint64_t size)
{
	(void)CALL(SYS_munmap, address, size, 0, 0);
}

int platform_renew(uint64_t address, uint64_t size)
{
	return map(address, size, PROT_READ | PROT_WRITE, MEMORY_FLAGS | MAP_FIXED, -1, 0);
}

int platform_map_image(uint64_t address, uint64_t size, uint64_t from, int rights)
{
	if (!image.has_fd || from < image.address || from - image.address > image.bytes ||
		size > image.bytes - (from - image.address))
		return -ENOTSUP;
	/* What is executable can be read; the filter knows no other. */
	if (rights & PLATFORM_EXECUTE)
		rights |= PLATFORM_READ;
	return map(address, size, rights, MAP_PRIVATE | MAP_FIXED, IMAGE_FD, from - image.address);
}

int platform_protect(uint64_t address, uint64_t size, int rights)
{
	static_assert(PLATFORM_READ == PROT_READ && PLATFORM_WRITE == PROT_WRITE &&
			PLATFORM_EXECUTE == PROT_EXEC,
		"the platform's rights are Linux's");
	return (int)CALL(SYS_mprotect, address, size, (uint64_t)rights, 0);
}

void platform_release(uint64_t address, uint64_t size)
{
	if (shows_snapshot) { /* which would show again */
		(void)platform_renew(address, size);
		return;
	}
	(void)CALL(SYS_madvise, address, size, MADV_DONTNEED, 0);
}

int64_t platform_console_write(int stream, const void *data, size_t size)
{
	return CALL(SYS_write, (uint64_t)stream, number_of(data), size, 0);
}

int64_t platform_console_read(void *data, size_t size)
{
	return CALL(SYS_read, STDIN_FILENO, number_of(data), size, 0);
}

bool platform_console_has_input(void)
{
	struct pollfd console = { .fd = STDIN_FILENO, .events = POLLIN };
	const struct timespec now = {};
	return CALL(SYS_ppoll, number_of(&console), 1, number_of(&now), 0) > 0;
}

/* How often the program came in by a real system call; said at the end of a verbose run. */
static uint64_t traps;
static bool says_traps;

/* The kernel's own function, where there is one: no system call. */
static vdso_clock *fast_clock;

static uint64_t read_clock(clockid_t id)
{
	struct timespec now;
	if (!fast_clock || fast_clock(id, &now) != 0)
		(void)CALL(SYS_clock_gettime, (uint64_t)id, number_of(&now), 0, 0);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t platform_clock_monotonic(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

uint64_t platform_clock_realtime(void)
{
	return read_clock(CLOCK_REALTIME);
}

static int write_snapshot(void *data)
{
	(void)data;
	place.clock_ns = platform_clock_monotonic();
	return snapshot_write(SNAPSHOT_FD, &place);
}

/* Ends here; what goes on is whoever starts from it. */
static void pause_here(void)
{
	wants_snapshot = false;
	int r = unikernel_pause(write_snapshot, NULL);
	if (r == 1)
		return;
	char line[64];
	int length = r < 0
		? snprintf(line, sizeof(line), "berth-tender: the snapshot failed (errno %d)\n", -r)
		: 0;
	(void)CALL(SYS_write, STDERR_FILENO, number_of(line), (uint64_t)length, 0);
	platform_exit(r < 0);
}

/* The runner wants it: then it stands still until that says a word, or goes on in another process. */
static int send_snapshot(void *data)
{
	(void)data;
	place.clock_ns = platform_clock_monotonic();
	snapshot_send(SNAPSHOT_FD, &place);
	return 0;
}

static void suspend_here(void)
{
	char word;
	int r = unikernel_pause(send_snapshot, NULL);
	if (r < 0) { /* it has not been called */
		const struct snapshot_piece end = { (uint64_t)(int64_t)r, 0 };
		(void)CALL(SYS_write, SNAPSHOT_FD, number_of(&end), sizeof(end), 0);
	}
	while (r <= 0 && CALL(SYS_read, SNAPSHOT_FD, number_of(&word), 1, 0) == -EINTR)
		;
}

uint32_t platform_wait(uint64_t until_ns, bool wants_console)
{
	if (wants_snapshot && until_ns > platform_clock_monotonic() + SNAPSHOT_IDLE) {
		pause_here();
		return 0;
	}
	/* The console is looked at first or not at all, the card last or not at all. */
	struct pollfd both[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = CARD_FD, .events = POLLIN } };
	struct pollfd *first = wants_console ? both : both + 1;
	uint64_t count = (wants_console ? 1u : 0u) + (has_card ? 1u : 0u);
	uint64_t now = platform_clock_monotonic();
	wait_left = (struct timespec){ .tv_sec = until_ns == UINT64_MAX ? FOR_EVER_SECONDS : 0 };
	if (until_ns != UINT64_MAX && until_ns > now) {
		wait_left.tv_sec = (time_t)((until_ns - now) / NS_PER_SEC);
		wait_left.tv_nsec = (long)((until_ns - now) % NS_PER_SEC);
	}
	if (platform_signals)
		wait_left = (struct timespec){};
	if (CALL(SYS_ppoll, number_of(first), count, number_of(&wait_left), 0) <= 0)
		return 0;
	return (both[0].revents ? PLATFORM_CONSOLE : 0u) | (both[1].revents ? PLATFORM_NET : 0u);
}

int64_t platform_volume_read(uint64_t offset, void *to, size_t size)
{
	if (volume_copy) {
		memcpy(to, volume_copy + offset, size);
		return (int64_t)size;
	}
	return CALL(SYS_pread64, VOLUME_FD, number_of(to), size, offset);
}

/*
 * What waits for the disk counts as the instance's memory, and cgroup v1 kills when all of it does: a slow disk
 * must not end a program that writes.
 */
#define UNWRITTEN_MAX (8 * MIB)
static size_t unwritten;

int64_t platform_volume_write(uint64_t offset, const void *from, size_t size)
{
	if (volume_copy) {
		memcpy(volume_copy + offset, from, size);
		return (int64_t)size;
	}
	int64_t done = CALL(SYS_pwrite64, VOLUME_FD, number_of(from), size, offset);
	unwritten += done > 0 ? (size_t)done : 0;
	if (unwritten >= UNWRITTEN_MAX)
		(void)platform_volume_flush();
	return done;
}

int64_t platform_volume_flush(void)
{
	unwritten = 0;
	return volume_copy ? 0 : CALL(SYS_fdatasync, VOLUME_FD, 0, 0, 0);
}

int64_t platform_net_send(const struct iovec *parts, int count)
{
	if (has_header && count == 1)
		return CALL(SYS_write, CARD_FD, number_of(parts->iov_base), parts->iov_len, 0);
	if (has_header)
		return CALL(SYS_writev, CARD_FD, number_of(parts), (uint64_t)count, 0);
	return CALL(SYS_writev, CARD_FD, number_of(parts + 1), (uint64_t)count - 1, 0);
}

int64_t platform_net_receive(void *to, size_t size)
{
	if (has_header)
		return CALL(SYS_read, CARD_FD, number_of(to), size, 0);
	memset(to, 0, TAP_HEADER_BYTES);
	int64_t got = CALL(
		SYS_read, CARD_FD, number_of(to) + TAP_HEADER_BYTES, size - TAP_HEADER_BYTES, 0);
	return got < 0 ? got : got + TAP_HEADER_BYTES;
}

void platform_set_fs(uint64_t address)
{
	(void)CALL(SYS_arch_prctl, ARCH_SET_FS_CODE, address, 0, 0);
}

void platform_exit(int status)
{
	if (says_traps) {
		char line[64];
		int length = snprintf(
			line, sizeof(line), "berth: %" PRIu64 " system calls trapped\n", traps);
		(void)CALL(SYS_write, STDERR_FILENO, number_of(line), (uint64_t)length, 0);
	}
	for (;;)
		(void)CALL(SYS_exit_group, (uint64_t)status, 0, 0, 0);
}

static struct registers registers_of(const greg_t *g)
{
	return (struct registers){
		.r15 = (uint64_t)g[REG_R15],
		.r14 = (uint64_t)g[REG_R14],
		.r13 = (uint64_t)g[REG_R13],
		.r12 = (uint64_t)g[REG_R12],
		.rbp = (uint64_t)g[REG_RBP],
		.rbx = (uint64_t)g[REG_RBX],
		.r11 = (uint64_t)g[REG_R11],
		.r10 = (uint64_t)g[REG_R10],
		.r9 = (uint64_t)g[REG_R9],
		.r8 = (uint64_t)g[REG_R8],
		.rax = (uint64_t)g[REG_RAX],
		.rcx = (uint64_t)g[REG_RCX],
		.rdx = (uint64_t)g[REG_RDX],
		.rsi = (uint64_t)g[REG_RSI],
		.rdi = (uint64_t)g[REG_RDI],
		.rip = (uint64_t)g[REG_RIP],
		.cs = 0x33,
		.rflags = (uint64_t)g[REG_EFL],
		.rsp = (uint64_t)g[REG_RSP],
		.ss = 0x2b,
	};
}

extern const char __ehdr_start[], _end[]; /* the linker's: where we lie ourselves */

static bool is_ours(uint64_t ip)
{
	uint64_t clock = getauxval(AT_SYSINFO_EHDR);
	return (ip >= number_of(__ehdr_start) && ip < number_of(_end)) ||
		(clock && ip >= clock && ip < clock + CLOCK_BYTES);
}

static bool is_on_kernel_stack(uint64_t sp)
{
	return sp < current_thread->kernel_sp && sp > current_thread->kernel_sp - KERNEL_STACK;
}

/* The program's own system call: its registers go where entry.S would have put them. */
static void on_trap(int number, siginfo_t *info, void *data)
{
	(void)number;
	(void)info;
	greg_t *g = ((ucontext_t *)data)->uc_mcontext.gregs;
	if (is_on_kernel_stack((uint64_t)g[REG_RSP])) {
		/* Not the program: the kernel's clock function, where the clock is not to be read without a call. */
		g[REG_RAX] = (greg_t)CALL(
			SYS_clock_gettime, (uint64_t)g[REG_RDI], (uint64_t)g[REG_RSI], 0, 0);
		return;
	}
	traps++;
	struct registers *r = (struct registers *)(uintptr_t)(current_thread->kernel_sp -
		sizeof(struct registers));
	*r = registers_of(g);
	r->number = r->rax;
	r->rcx = r->rip;
	r->r11 = r->rflags;
	g[REG_RSP] = (greg_t)(uintptr_t)r;
	g[REG_RIP] = (greg_t)(uintptr_t)unikernel_trap;
}

/* A fault: of the program, or of a call that was given a bad pointer, whose stack must stay as it is. */
static void on_fault(int number, siginfo_t *info, void *data)
{
	static const char early[] = "unikernel: a fault of the library OS itself\n";
	greg_t *g = ((ucontext_t *)data)->uc_mcontext.gregs;
	if (!current_thread) {
		(void)CALL(SYS_write, STDERR_FILENO, number_of(early), sizeof(early) - 1, 0);
		platform_exit(255);
	}
	struct fault *fault = (struct fault *)(uintptr_t)(current_thread->kernel_sp -
		sizeof(struct registers) - sizeof(struct fault));
	uint64_t sp = (uint64_t)g[REG_RSP];
	if (is_on_kernel_stack(sp) && is_ours((uint64_t)g[REG_RIP])) {
		fault = (struct fault *)(uintptr_t)(sp - RED_ZONE - sizeof(*fault));
		fault->is_in_call = true;
	} else {
		fault->is_in_call = false;
	}
	fault->registers = registers_of(g);
	fault->signal = number;
	fault->code = info->si_code;
	fault->address = number_of(info->si_addr);
	g[REG_RDI] = (greg_t)(uintptr_t)fault;
	g[REG_RSP] = (greg_t)(uintptr_t)fault & ~15;
	g[REG_RIP] = (greg_t)(uintptr_t)unikernel_trap_fault;
}

static bool is_program_at_work(const greg_t *g)
{
	uint64_t sp = (uint64_t)g[REG_RSP], top = current_thread->kernel_sp;
	return !is_ours((uint64_t)g[REG_RIP]) && (sp >= top || sp <= top - KERNEL_STACK);
}

/* Somebody outside wants something: the program is told at its next call, or at once if it makes none. */
static void on_signal(int number, siginfo_t *info, void *data)
{
	greg_t *g = ((ucontext_t *)data)->uc_mcontext.gregs;
	(void)info;
	platform_signals |= UINT64_C(1) << (number - 1);
	unikernel_must_look = true;
	wait_left = (struct timespec){};
	if (!is_locked || !is_program_at_work(g))
		return;
	struct registers *r = (struct registers *)(uintptr_t)(current_thread->kernel_sp -
		sizeof(struct registers));
	*r = registers_of(g);
	g[REG_RDI] = (greg_t)(uintptr_t)r;
	g[REG_RSP] = (greg_t)(((uintptr_t)r & ~(uintptr_t)15) - 8);
	g[REG_RIP] = (greg_t)(uintptr_t)unikernel_interrupt;
}

#define ONLY(filter, call, ...) \
	do { \
		const struct filter_condition only[] = { __VA_ARGS__ }; \
		filter_allow(filter, call, only, ARRAY_SIZE(only)); \
	} while (0)

int platform_lock(void)
{
	static struct filter filter;
	filter_begin_trapping(&filter, number_of(platform_syscall_after));
	if (has_card) { /* first what is called most */
		ONLY(&filter, SYS_read, { 0, FILTER_EQUAL, CARD_FD });
		ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, CARD_FD });
		ONLY(&filter, SYS_writev, { 0, FILTER_EQUAL, CARD_FD });
	}
	ONLY(&filter, SYS_ppoll, { 1, FILTER_AT_MOST, 2 });
	ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, STDOUT_FILENO });
	ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, STDERR_FILENO });
	ONLY(&filter, SYS_read, { 0, FILTER_EQUAL, STDIN_FILENO });
	ONLY(&filter, SYS_clock_gettime, { 0, FILTER_EQUAL, CLOCK_MONOTONIC });
	ONLY(&filter, SYS_clock_gettime, { 0, FILTER_EQUAL, CLOCK_REALTIME });
	if (has_volume) {
		ONLY(&filter, SYS_pread64, { 0, FILTER_EQUAL, VOLUME_FD });
		ONLY(&filter, SYS_pwrite64, { 0, FILTER_EQUAL, VOLUME_FD });
		ONLY(&filter, SYS_fdatasync, { 0, FILTER_EQUAL, VOLUME_FD });
	}
	if (wants_snapshot)
		ONLY(&filter, SYS_pwrite64, { 0, FILTER_EQUAL, SNAPSHOT_FD });
	if (has_channel) {
		ONLY(&filter, SYS_write, { 0, FILTER_EQUAL, SNAPSHOT_FD });
		ONLY(&filter, SYS_read, { 0, FILTER_EQUAL, SNAPSHOT_FD });
	}
	ONLY(&filter, SYS_mprotect, { 2, FILTER_AT_MOST, PROT_READ | PROT_WRITE });
	ONLY(&filter, SYS_madvise, { 2, FILTER_EQUAL, MADV_DONTNEED });
	ONLY(&filter, SYS_mmap, { 2, FILTER_AT_MOST, PROT_READ | PROT_WRITE },
		{ 3, FILTER_EQUAL, MEMORY_FLAGS | MAP_FIXED });
	ONLY(&filter, SYS_mmap, { 2, FILTER_AT_MOST, PROT_READ | PROT_WRITE },
		{ 3, FILTER_EQUAL, MEMORY_FLAGS | MAP_FIXED_NOREPLACE });
	filter_allow(&filter, SYS_munmap, NULL, 0);
	if (image.has_fd) {
		/* Nothing else can become executable, and that not writable. */
		ONLY(&filter, SYS_mmap, { 2, FILTER_AT_MOST, PROT_READ | PROT_WRITE },
			{ 3, FILTER_EQUAL, MAP_PRIVATE | MAP_FIXED },
			{ 4, FILTER_EQUAL, IMAGE_FD });
		ONLY(&filter, SYS_mmap, { 2, FILTER_EQUAL, PROT_READ | PROT_EXEC },
			{ 3, FILTER_EQUAL, MAP_PRIVATE | MAP_FIXED },
			{ 4, FILTER_EQUAL, IMAGE_FD });
	}
	ONLY(&filter, SYS_arch_prctl, { 0, FILTER_EQUAL, ARCH_SET_FS_CODE });
	filter_allow(&filter, SYS_rt_sigreturn, NULL, 0);
	filter_allow(&filter, SYS_exit_group, NULL, 0);
	int r = filter_end(&filter, NULL);
	if (r < 0)
		return r;
	if (report)
		report->started_ns = platform_clock_monotonic() - clock_ahead_ns;
	(void)close(READY_FD);
	is_locked = true;
	return filter_lock(&filter);
}

/* The kernel's struct sigaction; libc's would return by an instruction of libc's. */
struct kernel_action {
	void (*handler)(int number, siginfo_t *info, void *data);
	uint64_t flags;
	void (*restorer)(void);
	uint64_t mask;
};

#define SA_RESTORER_FLAG 0x04000000u

static int catch_signal(int number, void (*handler)(int number, siginfo_t *info, void *data))
{
	const struct kernel_action action = { handler, SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG,
		platform_restorer, 0 };
	return (int)syscall(SYS_rt_sigaction, number, &action, NULL, sizeof(uint64_t));
}

static int catch_outside(int number)
{
	return catch_signal(number, on_signal);
}

static int catch_traps(bool can_suspend, struct error *e)
{
	static char stack[SIGNAL_STACK];
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	if (sigaltstack(&alternate, NULL) < 0 || catch_signal(SIGSYS, on_trap) < 0)
		return error_errno(e, "the handler of traps");
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		if (catch_signal(faults[i], on_fault) < 0)
			return error_errno(e, "the handler of faults");
	return outside_catch(catch_outside, can_suspend, e);
}

static void add_words(struct text *words, char **list, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		text_add_n(words, list[i], strlen(list[i]) + 1);
}

static uint32_t find_flags(const struct unikernel_options *options)
{
	return (isatty(STDIN_FILENO) ? BOOT_IN_TERMINAL : 0) |
		(isatty(STDOUT_FILENO) ? BOOT_OUT_TERMINAL : 0) |
		(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT ? BOOT_FSGSBASE : 0) |
		(options->is_verbose ? BOOT_VERBOSE : 0) | (options->is_named ? BOOT_NAMED : 0) |
		(options->card && options->card->fd ? BOOT_NET : 0) |
		(options->card && options->card->has_header ? BOOT_NET_OFFLOAD : 0);
}

/* musl has no function for it. */
static int close_fds(unsigned first, unsigned last, unsigned flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

/* Nothing stays open but the console, the card and what tells that all went well. */
static int settle_descriptors(const struct unikernel_options *options, struct error *e)
{
	int last = STDERR_FILENO;
	/* Away from the numbers that are given out. */
	int ready = options->ready_fd ? fcntl(options->ready_fd, F_DUPFD, SNAPSHOT_FD + 1) : -1;
	int root = options->root_fd ? fcntl(options->root_fd, F_DUPFD, SNAPSHOT_FD + 1) : -1;
	has_card = options->card && options->card->fd;
	has_header = has_card && options->card->has_header;
	int card = has_card ? fcntl(options->card->fd, F_DUPFD, SNAPSHOT_FD + 1) : -1;
	has_volume = options->volume_fd != 0 && !options->is_volume_private;
	int volume = has_volume ? fcntl(options->volume_fd, F_DUPFD, SNAPSHOT_FD + 1) : -1;
	wants_snapshot = options->to_fd != 0;
	has_channel = options->channel_fd != 0;
	int snapshot = wants_snapshot || has_channel
		? fcntl(options->to_fd ?: options->channel_fd, F_DUPFD, SNAPSHOT_FD + 1)
		: -1;
	const int kept[][2] = { { card, CARD_FD }, { volume, VOLUME_FD }, { ready, READY_FD },
		{ root, IMAGE_FD }, { snapshot, SNAPSHOT_FD } };
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		if (kept[i][0] < 0)
			continue;
		if (dup2(kept[i][0], kept[i][1]) < 0 ||
			(kept[i][1] > last + 1 &&
				close_fds((unsigned)last + 1, (unsigned)kept[i][1] - 1, 0) < 0))
			return error_errno(e, "give a descriptor its number");
		last = kept[i][1];
	}
	if (close_fds((unsigned)last + 1, UINT32_MAX, 0) < 0)
		return error_errno(e, "close_range");
	image.has_fd = root >= 0;
	image.address = number_of(options->root);
	image.bytes = options->root_bytes;
	return 0;
}

/* Pages that are not written to go on showing what others write. */
static int map_volume(const struct unikernel_options *options, struct error *e)
{
	if (!options->is_volume_private)
		return 0;
	void *all = mmap(NULL, options->volume_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_NORESERVE, options->volume_fd, 0);
	if (all == MAP_FAILED)
		return error_errno(e, "map the storage");
	volume_copy = all;
	return 0;
}

/* Where others find it again, if it is to be written or was. */
static int map_memory(const struct unikernel_options *options, void **ret, struct error *e)
{
	void *wanted = options->to_fd || options->channel_fd ? (void *)(uintptr_t)SNAPSHOT_MEMORY_AT
							     : NULL;
	*ret = mmap(wanted, options->memory_bytes, PROT_READ | PROT_WRITE,
		MEMORY_FLAGS | (wanted ? MAP_FIXED_NOREPLACE : 0), -1, 0);
	if (*ret == MAP_FAILED)
		return error_errno(e, "map %" PRIu64 " bytes of memory", options->memory_bytes);
	return 0;
}

static int map_snapshot(const struct unikernel_options *options, struct error *e)
{
	place = options->place;
	place.vdso = getauxval(AT_SYSINFO_EHDR);
	place.clock_ns = platform_clock_monotonic();
	int r = snapshot_map(options->from_fd, options->root_fd, &place, e);
	shows_snapshot = true;
	return r;
}

/* From where the snapshot waits. Locked first: the variables are what somebody wrote into the file. */
static void go_on(const struct boot *boot) __attribute__((__noreturn__));
static void go_on(const struct boot *boot)
{
	(void)unikernel_make_slots();
	if (platform_lock() < 0 || unikernel_renew(boot) < 0)
		platform_exit(255);
	unikernel_go();
}

int process_run(
	const void *data, size_t size, const struct unikernel_options *options, struct error *e)
{
	struct text words = {}; /* lives as long as the process */
	add_words(&words, options->arguments, options->argument_count);
	add_words(&words, options->environment, options->environment_count);
	int r = catch_traps(options->channel_fd != 0, e);
	if (r == 0 && options->from_fd)
		r = map_snapshot(options, e);
	void *memory = NULL;
	if (r == 0 && !options->from_fd)
		r = map_memory(options, &memory, e);
	if (r == 0)
		r = map_volume(options, e);
	if (r < 0)
		return r;

	static struct boot boot;
	boot = (struct boot){
		.version = BOOT_VERSION,
		.size = sizeof(boot),
		.memory_address = number_of(memory),
		.memory_bytes = options->memory_bytes,
		.program_address = number_of(data),
		.program_bytes = size,
		.words_address = number_of(words.data),
		.words_bytes = (uint32_t)words.length,
		.argument_count = options->argument_count,
		.environment_count = options->environment_count,
		.flags = find_flags(options),
		.root_address = number_of(options->root),
		.root_bytes = options->root_bytes,
		.vdso_address = getauxval(AT_SYSINFO_EHDR),
		.volume_bytes = options->volume_bytes,
		.directory_address = number_of(options->directory),
	};
	fast_clock = vdso_find_clock(boot.vdso_address);
	place = options->place;
	place.vdso = boot.vdso_address;
	place.memory_bytes = options->memory_bytes;
	place.volume_bytes = options->volume_bytes;
	says_traps = options->is_verbose;
	if (options->card)
		boot.net = options->card->net;
	if (getrandom(boot.random, sizeof(boot.random), 0) != sizeof(boot.random))
		return error_errno(e, "random bytes");
	const struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	/* A file behind the volume does not grow. */
	const struct rlimit volume = { options->volume_bytes, options->volume_bytes };
	if (options->volume_bytes &&
		!options->to_fd) /* without one nothing but the console is written, which may be a file */
		setrlimit(RLIMIT_FSIZE, &volume);
	prctl(PR_SET_DUMPABLE, 0);
	r = settle_descriptors(options, e);
	if (r < 0)
		return r;
	report = options->report;
	clock_ahead_ns = options->clock_ahead_ns;
	if (report)
		missed_count_in(report->missed);
	if (has_channel)
		unikernel_set_suspend(SUSPEND_SIGNAL, suspend_here);
	if (options->from_fd)
		go_on(&boot);
	kernel_main(&boot);
}
