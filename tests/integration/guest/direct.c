/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.c - a program that computes, and is disturbed: what it prints is the same wherever it runs.
 *
 * In a guest of the software CPU it is hot enough to run directly; each part then does something that must be seen at once
 * or exactly: mappings that change under another thread, code that changes, signals, fork, a debugger, exceptions.
 *
 * usage: guest-direct [PART...]
 */
#include <asm/prctl.h>
#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include <xmmintrin.h>

#define PAGE   4096u
#define AT     ((uint8_t *)0x200000000000)
#define ROUNDS 40
/* Of two threads that wait for each other: on a host with more to do each can take a while. */
#define CROSSED 200

static uint64_t state = 88172645463325252u;

/* No call for some milliseconds. */
static uint64_t burn(uint64_t count)
{
	uint64_t x = state;
	for (uint64_t i = 0; i < count; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return state = x;
}
#define HOT  8000000u
#define WARM 300000u

static void *map_at(void *at, size_t bytes, int prot, int fd, off_t offset)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	void *p = mmap(at, bytes, prot, flags | (at ? MAP_FIXED : 0), fd, offset);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* What a fault was, for its thread. */
static __thread struct fault {
	sigjmp_buf back;
	volatile int wants; /* it jumps there */
	int waits;          /* until it may go on */
	int signal, code;
	uint64_t address, rip, trap, error;
} fault;
static atomic_uint other_faults;
static atomic_int may_go_on;

static void on_fault(int signal, siginfo_t *info, void *data)
{
	const greg_t *g = ((ucontext_t *)data)->uc_mcontext.gregs;
	fault.signal = signal;
	fault.code = info->si_code;
	fault.address = (uint64_t)info->si_addr;
	fault.rip = (uint64_t)g[REG_RIP];
	fault.trap = (uint64_t)g[REG_TRAPNO];
	fault.error = (uint64_t)g[REG_ERR];
	if (fault.wants)
		siglongjmp(fault.back, 1);
	if (!fault.waits) {
		printf("a fault that nobody expects: signal %d at %llx for %llx\n", signal,
			(unsigned long long)fault.rip, (unsigned long long)fault.address);
		_exit(1);
	}
	atomic_fetch_add(&other_faults, 1);
	while (!atomic_load(&may_go_on))
		;
}

static void catch_faults(void)
{
	const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		sigaction(signals[i], &action, NULL);
}

/* The other thread. */
static atomic_int ends;
static atomic_uint epoch, errors;
static pthread_t thread;

static void begin(void *(*run)(void *))
{
	atomic_store(&ends, 0);
	atomic_store(&epoch, 0);
	atomic_store(&errors, 0);
	atomic_store(&other_faults, 0);
	if (pthread_create(&thread, NULL, run, NULL) != 0)
		exit(1);
	burn(HOT);
}

static void end(void)
{
	atomic_store(&ends, 1);
	atomic_store(&may_go_on, 1);
	pthread_join(thread, NULL);
}

static void *writes(void *data)
{
	volatile uint64_t *p = (volatile uint64_t *)AT;
	fault.waits = 1;
	for (uint64_t n = 1; !atomic_load_explicit(&ends, memory_order_relaxed); n++)
		*p = n;
	return data;
}

/* After mprotect() has returned nobody writes, until it is allowed again. */
static void part_mprotect(void)
{
	unsigned wrong = 0;
	map_at(AT, PAGE, PROT_READ | PROT_WRITE, -1, 0);
	begin(writes);
	for (int i = 0; i < ROUNDS; i++) {
		burn(WARM);
		atomic_store(&may_go_on, 0);
		mprotect(AT, PAGE, PROT_READ);
		uint64_t before = *(volatile uint64_t *)AT;
		burn(WARM);
		wrong += *(volatile uint64_t *)AT != before;
		mprotect(AT, PAGE, PROT_READ | PROT_WRITE);
		atomic_store(&may_go_on, 1);
	}
	end();
	printf("mprotect: written after it %u times, %s\n", wrong,
		atomic_load(&other_faults) > 0 ? "with faults" : "without a fault");
}

static void *reads(void *data)
{
	volatile uint64_t *p = (volatile uint64_t *)AT;
	fault.waits = 1;
	while (!atomic_load_explicit(&ends, memory_order_relaxed)) {
		unsigned now = atomic_load(&epoch);
		if (*p < now)
			atomic_fetch_add(&errors, 1);
	}
	return data;
}

/* Another page at the same address: what was there is never seen again. */
static void part_remap(void)
{
	int fd = (int)syscall(SYS_memfd_create, "pages", 0);
	if (fd < 0 || ftruncate(fd, (ROUNDS + 1) * PAGE) < 0)
		exit(1);
	uint8_t *all = map_at(NULL, (ROUNDS + 1) * PAGE, PROT_READ | PROT_WRITE, fd, 0);
	for (uint64_t i = 0; i <= ROUNDS; i++)
		memcpy(all + i * PAGE, &i, sizeof(i));
	map_at(AT, PAGE, PROT_READ, fd, 0);
	begin(reads);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		burn(WARM);
		map_at(AT, PAGE, PROT_READ, fd, i * PAGE);
		atomic_store(&epoch, i);
	}
	burn(WARM);
	end();
	printf("mmap: old pages seen %u times\n", atomic_load(&errors));
	close(fd);
}

/* While it is gone (an odd epoch) it cannot be read. */
static void *reads_while_gone(void *data)
{
	volatile uint64_t *p = (volatile uint64_t *)AT;
	fault.waits = 1;
	while (!atomic_load_explicit(&ends, memory_order_relaxed)) {
		unsigned before = atomic_load(&epoch);
		uint64_t value = *p;
		if (before % 2 && atomic_load(&epoch) == before)
			atomic_fetch_add(&errors, 1);
		if (value != 77)
			atomic_fetch_add(&errors, 1000);
	}
	return data;
}

static void part_mremap(void)
{
	uint8_t *away = AT + 64 * PAGE;
	unsigned wrong = 0;
	map_at(AT, PAGE, PROT_READ | PROT_WRITE, -1, 0);
	*(uint64_t *)AT = 77;
	begin(reads_while_gone);
	for (int i = 0; i < ROUNDS; i++) {
		burn(WARM);
		atomic_store(&may_go_on, 0);
		mremap(AT, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, away);
		atomic_fetch_add(&epoch, 1);
		burn(WARM);
		wrong += *(volatile uint64_t *)away != 77;
		atomic_fetch_add(&epoch, 1);
		mremap(away, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AT);
		atomic_store(&may_go_on, 1);
	}
	burn(WARM);
	end();
	printf("mremap: read while gone %u times, wrong %u times, %s\n", atomic_load(&errors),
		wrong, atomic_load(&other_faults) > 0 ? "with faults" : "without a fault");
	/* And one that is thrown away is all 0. */
	begin(writes);
	end();
	madvise(AT, PAGE, MADV_DONTNEED);
	printf("madvise: %llu\n", (unsigned long long)*(uint64_t *)AT);
}

/* mov eax, N; ret */
static void write_code(uint8_t *at, uint32_t number)
{
	at[0] = 0xb8;
	memcpy(at + 1, &number, 4);
	at[5] = 0xc3;
}

static uint32_t run_code(uint8_t *at)
{
	uint32_t (*code)(void);
	memcpy(&code, &at, sizeof(code));
	return code();
}

static void part_smc(void)
{
	uint8_t *code = map_at(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0);
	uint64_t sum = 0;
	unsigned wrong = 0;
	write_code(code, 1);
	for (uint32_t i = 0; i < 4000000; i++)
		sum += run_code(code);
	/* The same place, seldom; then often; then all over the page. */
	for (uint32_t i = 0; i < 2000000; i++) {
		if (i % 100000 == 0)
			write_code(code, i);
		wrong += run_code(code) != i / 100000 * 100000;
	}
	for (uint32_t i = 0; i < 20000; i++) {
		write_code(code, i);
		wrong += run_code(code) != i;
	}
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t *at = code + i * 37 % (PAGE - 8);
		write_code(at, i);
		wrong += run_code(at) != i;
	}
	burn(HOT);
	/* By way of another mapping, which nobody executes. */
	int fd = (int)syscall(SYS_memfd_create, "code", 0);
	if (fd < 0 || ftruncate(fd, PAGE) < 0)
		exit(1);
	uint8_t *one = map_at(NULL, PAGE, PROT_READ | PROT_WRITE, fd, 0);
	uint8_t *other = map_at(NULL, PAGE, PROT_READ | PROT_EXEC, fd, 0);
	for (uint32_t i = 0; i < 200; i++) {
		write_code(one, i);
		_mm_mfence();
		burn(WARM / 10);
		wrong += run_code(other) != i;
	}
	printf("code: sum %llu, wrong %u times\n", (unsigned long long)sum, wrong);
	close(fd);
}

static uint8_t *shared_code;

/* The other thread writes code and tells; each call must be of what was told. */
static void *rewrites(void *data)
{
	for (unsigned i = 1; i <= CROSSED; i++) {
		write_code(shared_code + i % 8 * 64, i);
		atomic_store(&epoch, i);
		while (atomic_load(&may_go_on) != (int)i && !atomic_load(&ends))
			;
	}
	return data;
}

static void part_cross(void)
{
	unsigned wrong = 0;
	shared_code = map_at(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0);
	for (unsigned i = 0; i < 8; i++)
		write_code(shared_code + i * 64, 0);
	for (uint32_t i = 0; i < 3000000; i++)
		wrong += run_code(shared_code + i % 8 * 64) != 0;
	atomic_store(&may_go_on, 0);
	begin(rewrites);
	for (unsigned i = 1; i <= CROSSED; i++) {
		while (atomic_load(&epoch) != i)
			;
		uint32_t a = 0, b, c = 0, d;
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		wrong += run_code(shared_code + i % 8 * 64) != i;
		atomic_store(&may_go_on, (int)i);
	}
	end();
	printf("code of another thread: wrong %u times\n", wrong);
}

static volatile sig_atomic_t alarms;
static double alarm_sum;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
	/* The vectors of whom it interrupts are not its own. */
	for (int i = 0; i < 100; i++)
		alarm_sum = alarm_sum * 1.5 + i;
	__asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm7, %%xmm7; pxor %%xmm15, %%xmm15"
			 :
			 :
			 : "xmm0", "xmm7", "xmm15");
}

static void compute(double *sum, uint64_t *hash)
{
	double x = 1, y = 0.5, z = 0.25;
	uint64_t a = 1, b = 2, c = 3;
	for (int i = 0; i < 6000000; i++) {
		x = x * 1.0000001 + y;
		y = y * 0.9999999 + z;
		z = (x - y) * 1e-9;
		a = a * 6364136223846793005u + b;
		b ^= a >> 29;
		c += b ^ (uint64_t)i;
	}
	*sum = x + y + z;
	*hash = a ^ b ^ c;
}

static void part_signals(void)
{
	double sums[2];
	uint64_t hashes[2];
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = {};
	compute(&sums[0], &hashes[0]);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 3; i++) {
		compute(&sums[1], &hashes[1]);
		if (memcmp(&sums[0], &sums[1], sizeof(double)) != 0 || hashes[0] != hashes[1])
			printf("signals: another result\n");
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("signals: %.17g %016llx, %s\n", sums[0], (unsigned long long)hashes[0],
		alarms > 3 ? "interrupted" : "hardly interrupted");
}

#define COW_PAGES 64u

static uint64_t use_pages(uint8_t *pages, uint64_t seed)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < 3000; i++)
		for (unsigned page = 0; page < COW_PAGES; page++) {
			uint64_t *at = (uint64_t *)(pages + page * PAGE) + i % 512;
			*at = *at * 31 + seed + i;
			sum += *at;
		}
	return sum;
}

static void part_fork(void)
{
	unsigned wrong = 0;
	uint64_t expected[2];
	uint8_t *pages = map_at(NULL, COW_PAGES * PAGE, PROT_READ | PROT_WRITE, -1, 0);
	for (int i = 0; i < 12; i++) {
		for (int who = 0; who < 2; who++) {
			memset(pages, i, COW_PAGES * PAGE);
			expected[who] = use_pages(pages, (uint64_t)who);
		}
		memset(pages, i, COW_PAGES * PAGE);
		burn(WARM);
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			_exit(use_pages(pages, 1) != expected[1]);
		int status = 0;
		wrong += use_pages(pages, 0) != expected[0];
		waitpid(pid, &status, 0);
		wrong += status != 0;
	}
	printf("fork: wrong %u times\n", wrong);
}

/* A program for the debugger: known instructions, known numbers of rounds. */
extern const char traced_loop[], traced_store[], traced_end[];
volatile uint64_t traced_word;
void traced(uint64_t rounds);
__asm__(".text\n"
	"traced:\n"
	"xor %eax, %eax\n"
	"traced_loop:\n"
	"add %rdi, %rax\n"
	"rol $7, %rax\n"
	"test $0x3fff, %edi\n"
	"jnz 1f\n"
	"traced_store:\n"
	"mov %rax, traced_word(%rip)\n"
	"1:\n"
	"dec %rdi\n"
	"jnz traced_loop\n"
	"traced_end:\n"
	"ret\n");

static void set_debug(pid_t pid, unsigned which, uint64_t value)
{
	size_t at = offsetof(struct user, u_debugreg) + 8 * which;
	if (ptrace(PTRACE_POKEUSER, pid, (void *)at, (void *)value) < 0)
		printf("debugger: POKEUSER: %s\n", strerror(errno));
}

static uint64_t stop_at(pid_t pid, int *status)
{
	struct user_regs_struct regs = {};
	if (waitpid(pid, status, 0) != pid || !WIFSTOPPED(*status))
		return 0;
	ptrace(PTRACE_GETREGS, pid, NULL, &regs);
	return regs.rip;
}

static void part_debugger(void)
{
	int status;
	uint64_t hash = 0, rip;
	unsigned hits = 0, right = 0;
	struct user_regs_struct regs;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		burn(HOT);
		raise(SIGSTOP);
		traced((2u << 14) + 0x3fff);
		_exit(traced_word & 0x7f);
	}
	stop_at(pid, &status);
	/* A breakpoint in its loop, where it is hot. */
	long text = ptrace(PTRACE_PEEKTEXT, pid, traced_store, NULL);
	ptrace(PTRACE_POKETEXT, pid, traced_store, (void *)((text & ~0xffL) | 0xcc));
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	rip = stop_at(pid, &status);
	printf("debugger: breakpoint %d at %lld\n", WSTOPSIG(status),
		(long long)(rip - (uint64_t)traced_store));
	ptrace(PTRACE_POKETEXT, pid, traced_store, (void *)text);
	ptrace(PTRACE_GETREGS, pid, NULL, &regs);
	regs.rip--;
	ptrace(PTRACE_SETREGS, pid, NULL, &regs);
	/* Step by step. */
	for (int i = 0; i < 300; i++) {
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		rip = stop_at(pid, &status);
		hash = hash * 31 + (rip - (uint64_t)traced_loop);
	}
	printf("debugger: steps %016llx\n", (unsigned long long)hash);
	/* A watched word. */
	set_debug(pid, 0, (uint64_t)&traced_word);
	set_debug(pid, 7, 0xd0001);
	for (;;) {
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		rip = stop_at(pid, &status);
		if (!WIFSTOPPED(status))
			break;
		hits++;
		right += rip == (uint64_t)traced_store + 7;
	}
	printf("debugger: %u writes of a watched word, %u seen behind them, status %d\n", hits,
		right, status);
}

static void tell(const char *what, uint64_t base, uint64_t rip)
{
	printf("%s: signal %d code %d address %lld rip %lld trap %llu error %llx\n", what,
		fault.signal, fault.code, (long long)(fault.address - base),
		(long long)(fault.rip - rip), (unsigned long long)fault.trap,
		(unsigned long long)fault.error);
}

/* Code that is hot first, and then does it. */
static void provoke(
	const char *what, const uint8_t *code, size_t bytes, uint64_t rdi, uint64_t base)
{
	static uint8_t *page;
	if (!page)
		page = map_at(AT + 2048 * PAGE, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0);
	memset(page, 0xc3, PAGE);
	memcpy(page, code, bytes);
	fault = (struct fault){ .waits = 0 };
	fault.wants = 1;
	if (sigsetjmp(fault.back, 1) == 0) {
		burn(HOT);
		__asm__ volatile("call *%0"
				 :
				 : "r"(page), "D"(rdi)
				 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "rbx", "rsi",
				 "cc", "memory", "xmm0", "xmm1");
	}
	fault.wants = 0;
	/* TF and AC, if they were set. */
	__asm__ volatile("pushfq; andq $~0x40100, (%%rsp); popfq" : : : "cc", "memory");
	tell(what, base, (uint64_t)page);
}
#define PROVOKE(what, rdi, base, ...) \
	provoke(what, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), \
		(uint64_t)(rdi), (uint64_t)(base))

static void part_faults(void)
{
	uint8_t *p = AT + 1024 * PAGE;
	int fd = (int)syscall(SYS_memfd_create, "short", 0);
	if (fd < 0 || ftruncate(fd, PAGE) < 0)
		exit(1);
	map_at(p, PAGE, PROT_READ, -1, 0);
	map_at(p + 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, fd, 0);
	PROVOKE("read of nothing", p + PAGE + 5, p, 0x90, 0x8a, 0x07);
	PROVOKE("read over an end", p + PAGE - 3, p, 0x90, 0x48, 0x8b, 0x07);
	PROVOKE("write to what is read-only", p + 8, p, 0x90, 0x90, 0xc6, 0x07, 0x01);
	PROVOKE("read-modify-write", p + 12, p, 0xf0, 0xff, 0x07);
	PROVOKE("behind a file's end", p + 3 * PAGE + 7, p, 0x8a, 0x07);
	PROVOKE("code that is none", p, p, 0xff, 0xe7);
	PROVOKE("code that is not there", p + PAGE, p, 0xff, 0xe7);
	PROVOKE("no address", UINT64_C(1) << 60, 0, 0x90, 0x8a, 0x07);
	PROVOKE("the kernel's", UINT64_C(0xffffffff81000000), UINT64_C(0xffffffff81000000), 0x8a,
		0x07);
	PROVOKE("a vector", p + PAGE - 9, p, 0x0f, 0x10, 0x07);
	PROVOKE("a vector that is not aligned", p + 1, 0, 0x0f, 0x28, 0x07);
	PROVOKE("the null page", 24, 0, 0x48, 0x8b, 0x07);
	PROVOKE("a string", p + PAGE - 16, p, 0x48, 0x89, 0xfe, 0x48, 0x8d, 0x7e, 0x00, 0xb9, 100,
		0, 0, 0, 0xf3, 0xac);
	close(fd);
}

static void part_exceptions(void)
{
	uint64_t here = 0;
	PROVOKE("ud2", 0, 0, 0x90, 0x0f, 0x0b);
	PROVOKE("int3", 0, 0, 0x90, 0xcc);
	PROVOKE("int 3", 0, 0, 0xcd, 0x03);
	PROVOKE("int1", 0, 0, 0x90, 0xf1);
	PROVOKE("hlt", 0, 0, 0x90, 0xf4);
	PROVOKE("int 4", 0, 0, 0x90, 0xcd, 0x04);
	PROVOKE("int 33", 0, 0, 0x90, 0xcd, 0x21);
	PROVOKE("in", 0, 0, 0xe4, 0x60);
	PROVOKE("cli", 0, 0, 0xfa);
	fault.address = 0;
	PROVOKE("div", 0, 0, 0x31, 0xc9, 0xf7, 0xf1);
	PROVOKE("popf with TF", 0, 0, 0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x90, 0x90);
	/* What does not fault: a call of 32 bits, and what SYSCALL leaves. */
	long pid = 0;
	uint64_t rcx, r11, flags;
	burn(HOT);
	__asm__ volatile("int $0x80" : "=a"(pid) : "a"(20) : "memory", "r8", "r9", "r10", "r11");
	printf("int 0x80: %s\n", pid == getpid() ? "getpid" : "something else");
	burn(HOT);
	__asm__ volatile(
		"lea 1f(%%rip), %3\n\tmov $1234, %%ecx\n\tmov $5678, %%r11d\n\tstc\n\tsyscall\n1:\n\t"
		"mov %%rcx, %1\n\tmov %%r11, %2\n\tpushfq\n\tpop %4"
		: "=a"(pid), "=&r"(rcx), "=&r"(r11), "=&r"(here), "=&r"(flags)
		: "a"(SYS_getpid)
		: "rcx", "r11", "memory", "cc");
	printf("syscall: %s, rcx %s, r11 %s\n", pid == getpid() ? "getpid" : "something else",
		rcx == here ? "is rip" : "is not rip", r11 == flags ? "is flags" : "is not flags");
}

static void part_float(void)
{
	static const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };
	for (size_t i = 0; i < 4; i++) {
		volatile double sum = 0, third = 3;
		volatile long double wide = 0;
		volatile float tiny = 1e-40f;
		fesetround(modes[i]);
		for (int n = 1; n < 1500000; n++) {
			sum += n / third;
			wide += n / 7.0L;
		}
		_mm_setcsr(_mm_getcsr() | (i % 2 ? 0x8040u : 0)); /* FTZ, DAZ */
		for (int n = 0; n < 1000000; n++)
			tiny = tiny * 1.0000001f;
		_mm_setcsr(_mm_getcsr() & ~0x8040u);
		printf("float: %a %La %a %x\n", sum, wide, (double)tiny, _mm_getcsr() & 0x3f);
		feclearexcept(FE_ALL_EXCEPT);
	}
	fesetround(FE_TONEAREST);
	burn(HOT);
	feenableexcept(FE_DIVBYZERO);
	burn(HOT);
	/* mov eax, 1; cvtsi2ss xmm0, eax; xorps xmm1, xmm1; divss xmm0, xmm1 */
	PROVOKE("unmasked SSE", 0, 0, 0xb8, 1, 0, 0, 0, 0xf3, 0x0f, 0x2a, 0xc0, 0x0f, 0x57, 0xc9,
		0xf3, 0x0f, 0x5e, 0xc1);
	feclearexcept(FE_ALL_EXCEPT);
	feenableexcept(FE_DIVBYZERO); /* it has jumped out of a handler */
	burn(HOT);
	/* fld1; fldz; fdivp; nop; fwait */
	PROVOKE("unmasked x87", 0, 0, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x90, 0x9b);
	__asm__ volatile("fninit");
	fesetenv(FE_DFL_ENV);
	volatile double zero = 0;
	burn(HOT);
	printf("float: %a\n", 1 / zero);
}

static atomic_ullong count;
static unsigned __int128 wide_count __attribute__((__aligned__(16)));

static void *counts(void *data)
{
	for (int i = 0; i < 3000000; i++)
		atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	for (int i = 0; i < 300000; i++) {
		uint64_t *w = (uint64_t *)&wide_count, low = w[0], high = w[1];
		uint8_t done;
		do
			__asm__ volatile("lock cmpxchg16b %1"
					 : "=@ccz"(done), "+m"(wide_count), "+a"(low), "+d"(high)
					 : "b"(low + 1), "c"(high + (low == UINT64_MAX))
					 : "memory");
		while (!done);
	}
	return data;
}

static void part_atomics(void)
{
	begin(counts);
	counts(NULL);
	pthread_join(thread, NULL);
	printf("atomics: %llu %llu\n", (unsigned long long)atomic_load(&count),
		(unsigned long long)wide_count);
}

static void part_segments(void)
{
	static uint64_t words[64];
	uint64_t sum = 0, word, wrong = 0;
	syscall(SYS_arch_prctl, ARCH_SET_GS, words);
	for (uint64_t i = 0; i < 64; i++)
		words[i] = i * i;
	for (uint64_t i = 0; i < 4000000; i++) {
		__asm__ volatile("mov %%gs:(%1), %0" : "=r"(word) : "r"(i % 64 * 8));
		sum += word;
	}
	uint64_t before = (uint64_t)__builtin_ia32_rdtsc(), now;
	for (int i = 0; i < 20000; i++) {
		now = (uint64_t)__builtin_ia32_rdtsc();
		wrong += now < before;
		before = now;
	}
	/* 32-bit code and back: push cs; push 1f; retf. inc eax is a prefix in 64-bit code. */
	uint8_t *low = map_at((void *)0x10000000, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, -1, 0);
	const uint8_t code[] = { 0x40, 0x40, 0xe2, 0xfc,
		0xcb }; /* l: inc eax; inc eax; loop l; retf */
	memcpy(low, code, sizeof(code));
	uint64_t *stack = (uint64_t *)(low + PAGE - 64);
	uint32_t rounds = 20000000, result = 0;
	static const struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((__packed__)) there = { 0x10000000, 0x23 };
	uint64_t kept;
	burn(HOT);
	__asm__ volatile("mov %%rsp, %1\n\t"
			 "mov %4, %%rsp\n\t"
			 "sub $8, %%rsp\n\t"
			 "movl $0x33, 4(%%rsp)\n\t"
			 "movl $1f, (%%rsp)\n\t"
			 "ljmp *%3\n\t"
			 "1:\n\t"
			 "mov %1, %%rsp"
			 : "+a"(result), "=&r"(kept), "+c"(rounds)
			 : "m"(there), "r"(stack)
			 : "memory", "cc");
	printf("segments: %llu, TSC went back %llu times, 32-bit code %u\n",
		(unsigned long long)sum, (unsigned long long)wrong, result);
}

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "mprotect", part_mprotect },
	{ "remap", part_remap },
	{ "mremap", part_mremap },
	{ "smc", part_smc },
	{ "cross", part_cross },
	{ "signals", part_signals },
	{ "fork", part_fork },
	{ "debugger", part_debugger },
	{ "faults", part_faults },
	{ "exceptions", part_exceptions },
	{ "float", part_float },
	{ "atomics", part_atomics },
	{ "segments", part_segments },
};

int main(int argc, char **argv)
{
	catch_faults();
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		int wanted = argc == 1;
		for (int k = 1; k < argc; k++)
			wanted |= strcmp(argv[k], parts[i].name) == 0;
		if (wanted)
			parts[i].run();
	}
	return 0;
}
