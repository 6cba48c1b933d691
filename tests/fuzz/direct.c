/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct.c - random bytes as code in a process that runs a guest's programs: whatever they do, the process goes on, and
 * nothing of the monitor's is in registers, vectors or memory afterwards.
 *
 * usage: direct [COUNT [SEED]]
 *
 * A case ends with what only the monitor can answer, or when its time is up. Instructions that enter the host's kernel, and those
 * that change what it relies on, are more common than chance would have them.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "test.h"
#include "vmm/soft/direct_process.h"

#define PAGE    UINT64_C(4096)
#define CODE_AT UINT64_C(0x400000)
#define DATA_AT UINT64_C(0x10000000) /* in reach of 32-bit code */
#define PAGES   4u                   /* of each */
#define LENGTH  96u
#define AGAIN   6 /* so often a case goes on behind what has stopped it */
#define RANGES  128

static uint64_t random_state;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static uint32_t random_below(uint32_t n)
{
	return (uint32_t)(random64() >> 20) % n;
}

static uint8_t *memory;
static struct direct_process *process;

/* What the monitor has, and its pages in the process. */
static struct {
	uint64_t begin, end;
} ranges[RANGES];
static uint32_t range_count;

static void note_ranges(const char *path, bool all)
{
	char line[512];
	unsigned long begin, end;
	FILE *file = fopen(path, "re");
	expect(file);
	while (fgets(line, sizeof(line), file) && range_count < RANGES) {
		bool is_wanted = all ? !strstr(line, "[vsyscall]")
				     : strstr(line, "--xp") && !strstr(line, "[vsyscall]");
		/* Nothing that is worth it lies where a sanitizer has its shadow and its heap, at round numbers. */
		if (!is_wanted || sscanf(line, "%lx-%lx", &begin, &end) != 2 || end - begin > GIB ||
			begin >> 44 == 6)
			continue;
		ranges[range_count].begin = begin;
		ranges[range_count++].end = end;
	}
	fclose(file);
}

static bool is_hosts(uint64_t value)
{
	for (uint32_t i = 0; i < range_count; i++)
		if (value >= ranges[i].begin && value < ranges[i].end)
			return true;
	return false;
}

static void check_words(const uint8_t *bytes, size_t count, const char *where)
{
	for (size_t at = 0; at + 8 <= count; at += 8) {
		uint64_t value;
		memcpy(&value, bytes + at, sizeof(value));
		if (value >> 40 && is_hosts(value))
			test_fail("%s at %zu: %" PRIx64, where, at, value);
	}
}

#define SNIPPET(bytes) \
	{ \
		bytes, sizeof(bytes) - 1 \
	}

static const struct {
	const char *bytes;
	uint32_t count;
} snippets[] = {
	SNIPPET("\x0f\x05"),             /* syscall */
	SNIPPET("\x0f\x34"),             /* sysenter */
	SNIPPET("\x48\x89\xe5\x0f\x34"), /* mov rbp, rsp; sysenter */
	SNIPPET("\xcd\x80"),             /* int 0x80 */
	SNIPPET("\xcd\x03"),
	SNIPPET("\xcd\x04"),
	SNIPPET("\xcd\x01"),
	SNIPPET("\xcd\x02"),
	SNIPPET("\xcc"),
	SNIPPET("\xf1"),
	SNIPPET("\x0f\x0b"),
	SNIPPET("\xf4"),
	SNIPPET("\x50\x9d"),                                         /* push rax; popf */
	SNIPPET("\x6a\x23\x48\x8d\x05\x05\x00\x00\x00\x50\x48\xcb"), /* far, to 32-bit code */
	SNIPPET("\x6a\x33\x50\x48\xcb"),                             /* far, to RAX */
	SNIPPET("\x6a\x2b\x54\x9c\x6a\x33\x50\x48\xcf"),             /* iretq to RAX */
	SNIPPET("\x6a\x2b\x54\x9c\x6a\x23\x50\x48\xcf"),
	SNIPPET("\x8e\xd8"),
	SNIPPET("\x8e\xc0"),
	SNIPPET("\x8e\xe0"),
	SNIPPET("\x8e\xe8"),
	SNIPPET("\x66\xb8\x2b\x00\x8e\xd0"), /* mov ss */
	SNIPPET("\xf3\x48\x0f\xae\xd0"),
	SNIPPET("\xf3\x48\x0f\xae\xd8"), /* wrfsbase, wrgsbase */
	SNIPPET("\xf3\x48\x0f\xae\xc0"),
	SNIPPET("\xf3\x48\x0f\xae\xc8"),         /* rdfsbase, rdgsbase */
	SNIPPET("\x31\xc9\x31\xd2\x0f\x01\xef"), /* wrpkru */
	SNIPPET("\x31\xc9\x0f\x01\xee"),         /* rdpkru */
	SNIPPET("\x0f\xae\x27"),
	SNIPPET("\x0f\xae\x2f"), /* xsave, xrstor [rdi] */
	SNIPPET("\x0f\xc7\x27"),
	SNIPPET("\x0f\xae\x37"), /* xsavec, xsaveopt */
	SNIPPET("\x0f\xae\x07"),
	SNIPPET("\x0f\xae\x0f"), /* fxsave, fxrstor */
	SNIPPET("\xd9\x37"),
	SNIPPET("\xd9\x27"),             /* fnstenv, fldenv */
	SNIPPET("\x31\xc9\x0f\x01\xd0"), /* xgetbv */
	SNIPPET("\x0f\xa2"),
	SNIPPET("\x0f\x31"),
	SNIPPET("\x0f\x01\xf9"),
	SNIPPET("\x0f\x33"),
	SNIPPET("\x48\xc7\xc0\x00\x00\x60\xff\xff\xd0"), /* call the vsyscall page */
	SNIPPET("\x48\xc7\xc0\x00\x04\x60\xff\xff\xe0"),
	SNIPPET("\x48\xc7\xc0\x00\x08\x60\xff\x31\xe4\xff\xe0"),
	SNIPPET("\x0f\x01\x07"),
	SNIPPET("\x0f\x01\x0f"),
	SNIPPET("\x0f\x01\xe0"), /* sgdt, sidt, smsw */
	SNIPPET("\x0f\x00\xc0"),
	SNIPPET("\x0f\x00\xc8"),
	SNIPPET("\x0f\x02\xc0"), /* sldt, str, lar */
	SNIPPET("\x0f\x01\xc1"),
	SNIPPET("\xc7\xf8\x00\x00\x00\x00"), /* vmcall, xbegin */
	SNIPPET("\xc4\xe2\x79\x49\x07"),     /* ldtilecfg-like */
	SNIPPET("\xf0\x48\xff\x47\x3d"),     /* lock inc over the end of a line */
	SNIPPET("\x48\xb8\x00\x00\x00\x00\x00\x80\x00\x00\xff\xe0"), /* jmp to no address */
	SNIPPET("\x48\x89\xc4"),
	SNIPPET("\xff\xe7"),
	SNIPPET("\xff\xe0"),
	SNIPPET("\xc3"),
	SNIPPET("\xf3\xa4"),
	SNIPPET("\xf3\x48\xab"),
	SNIPPET("\xf3\x66\x0f\xc7\xf0"),
};

static void put_code(void)
{
	static const uint8_t usual[] = { 0x0f, 0x48, 0x66, 0xf2, 0xf3, 0xc4, 0xc5, 0x8b, 0x89, 0xd8,
		0xdd, 0xf0, 0xff, 0x67, 0x40, 0x41, 0x4f, 0x38, 0x3a, 0x64, 0x62 };
	uint32_t at = 0;
	while (at < LENGTH) {
		if (random_below(5) == 0) {
			uint32_t which = random_below(ARRAY_SIZE(snippets));
			memcpy(memory + at, snippets[which].bytes, snippets[which].count);
			at += snippets[which].count;
			continue;
		}
		memory[at++] = random_below(2) ? (uint8_t)random64()
					       : usual[random_below(ARRAY_SIZE(usual))];
	}
}

static uint64_t some_value(void)
{
	switch (random_below(4)) {
	case 0:
		return random64();
	case 1:
		return random_below(256);
	case 2:
		return CODE_AT + random_below(LENGTH);
	default:
		return DATA_AT + random_below(PAGES * PAGE);
	}
}

static struct user_regs_struct some_registers(void)
{
	static const uint64_t selectors[] = { 0, 0x2b };
	struct user_regs_struct regs = {
		.rip = CODE_AT,
		.rsp = DATA_AT + (PAGES - 1) * PAGE - random_below(512) * 8,
		.cs = 0x33,
		.ss = 0x2b,
		.ds = selectors[random_below(2)],
		.eflags = 0x202 | (random64() & 0x200cd5),
		.fs_base = some_value() & 0x7ffffffff000,
		.gs_base = some_value() & 0x7fffffffe000,
	};
	unsigned long long *const r[] = { &regs.rax, &regs.rbx, &regs.rcx, &regs.rdx, &regs.rsi,
		&regs.rdi, &regs.rbp, &regs.r8, &regs.r9, &regs.r10, &regs.r11, &regs.r12,
		&regs.r13, &regs.r14, &regs.r15 };
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		*r[i] = some_value();
	return regs;
}

static void check_all(const struct user_regs_struct *regs)
{
	static uint8_t image[4096];
	check_words((const uint8_t *)regs, sizeof(*regs), "registers");
	check_words(memory + PAGES * PAGE, PAGES * PAGE, "memory");
	expect_equal(direct_process_save_vectors(process, image, sizeof(image)), 0);
	check_words(image, sizeof(image), "vectors");
}

static void one_case(uint32_t *exits)
{
	memset(memory, 0xf4, PAGE);
	memset(memory + PAGES * PAGE, 0, PAGES * PAGE);
	put_code();
	struct user_regs_struct regs = some_registers();
	for (int i = 0; i < AGAIN; i++) {
		uint64_t address;
		enum direct_exit exit = direct_process_run(process, &regs, &address);
		exits[exit]++;
		if (exit == DIRECT_GONE || exit == DIRECT_LOST)
			test_fail("the process is dead");
		check_all(&regs);
		if (exit == DIRECT_SYSENTER)
			return;
		if (exit == DIRECT_SYSCALL)
			regs.rip += 2;
		else if (exit == DIRECT_TRAP || exit == DIRECT_FAULT)
			regs.rip += 1 + random_below(4);
		regs.rip = CODE_AT + regs.rip % PAGE;
		regs.cs = 0x33;
		regs.ss = 0x2b;
		regs.ds = regs.es = regs.fs = regs.gs = 0;
		regs.eflags = (regs.eflags & 0x200cd5) | 0x202;
	}
}

/* What a program computes and stores is what it was, whatever was done there before. */
static void check_that_it_works(void)
{
	/* mov ecx, 1000; xor eax, eax; l: add rax, rcx; loop l; mov [rdi], rax; movq xmm0, rax; movq rbx, xmm0; syscall */
	static const uint8_t code[] = { 0xb9, 0xe8, 0x03, 0, 0, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xe2,
		0xfb, 0x48, 0x89, 0x07, 0x66, 0x48, 0x0f, 0x6e, 0xc0, 0x66, 0x48, 0x0f, 0x7e, 0xc3,
		0x0f, 0x05 };
	struct user_regs_struct regs = {
		.rip = CODE_AT, .rdi = DATA_AT, .cs = 0x33, .ss = 0x2b, .eflags = 0x202
	};
	static uint8_t vectors[4096] = { [0] = 0x7f, 3, [24] = 0x80, 0x1f, [512] = 3 };
	uint64_t address;
	enum direct_exit exit;
	expect_equal(direct_process_load_vectors(process, vectors, 576), 0);
	memcpy(memory, code, sizeof(code));
	do
		exit = direct_process_run(process, &regs, &address);
	while (exit == DIRECT_KICKED);
	expect_equal(exit, DIRECT_SYSCALL);
	expect_equal(regs.rax, 500500);
	expect_equal(regs.rbx, 500500);
	expect(memcmp(memory + PAGES * PAGE, &regs.rbx, 8) == 0);
}

static _Atomic bool ends;

static void *kick_often(void *data)
{
	const struct timespec time = { .tv_nsec = 300000 };
	while (!ends) {
		nanosleep(&time, NULL);
		direct_process_kick(process);
	}
	return data;
}

static uint32_t wanted_count = 2000;
static uint64_t wanted_seed = 1;

static void goes_on(void)
{
	struct error e = {};
	uint32_t exits[DIRECT_LOST + 1] = {};
	char path[64];
	pthread_t thread;
	int memfd = memfd_create("fuzz", MFD_CLOEXEC);
	expect(memfd >= 0 && ftruncate(memfd, 2 * PAGES * PAGE) == 0);
	memory = mmap(NULL, 2 * PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	expect(memory != MAP_FAILED);
	note_ranges("/proc/self/maps", true);
	if (direct_process_new(memfd, -1, &process, &e) < 0)
		test_skip("%.200s", e.text);
	snprintf(path, sizeof(path), "/proc/%d/maps", direct_process_id(process));
	note_ranges(path, false);
	const struct direct_change changes[] = {
		{ CODE_AT, PAGE, 0, PROT_READ | PROT_EXEC },
		{ DATA_AT, PAGES * PAGE, PAGES * PAGE, PROT_READ | PROT_WRITE },
	};
	expect_equal(direct_process_change(process, changes, 2), 0);
	expect(pthread_create(&thread, NULL, kick_often, NULL) == 0);
	random_state = wanted_seed * 2 + 1;
	for (uint32_t i = 0; i < wanted_count; i++) {
		one_case(exits);
		if (i % 64 == 0)
			check_that_it_works();
	}
	ends = true;
	pthread_join(thread, NULL);
	printf("# faults %u, calls %u, SYSENTER %u, INT3 %u, steps %u, traps %u, kicks %u\n",
		exits[DIRECT_FAULT], exits[DIRECT_SYSCALL], exits[DIRECT_SYSENTER],
		exits[DIRECT_INT3], exits[DIRECT_STEP], exits[DIRECT_TRAP], exits[DIRECT_KICKED]);
	direct_process_free(process);
	munmap(memory, 2 * PAGES * PAGE);
	close(memfd);
}

static const struct test tests[] = {
	{ "random bytes as a program neither end its process nor see what is the monitor's",
		goes_on },
};

int main(int argc, char **argv)
{
	if (argc > 1)
		wanted_count = (uint32_t)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		wanted_seed = strtoull(argv[2], NULL, 0);
	return test_main(tests, ARRAY_SIZE(tests));
}
