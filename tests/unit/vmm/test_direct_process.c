/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "vmm/soft/direct_process.h"
#include "vmm/soft/direct_trace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define CODE_AT  UINT64_C(0x400000)
#define DATA_AT  UINT64_C(0x7fffffffe000) /* the last page there is */
#define CODE     UINT64_C(0)              /* in the file */
#define DATA     UINT64_C(0x1000)
#define FILE_MAX UINT64_C(0x4000)
#define PAGE     UINT64_C(0x1000)
#define RX       (PROT_READ | PROT_EXEC)
#define RW       (PROT_READ | PROT_WRITE)

#define FLAG_CF 0x1u
#define FLAG_TF 0x100u
#define FLAG_IF 0x200u
#define FLAG_AC 0x40000u
#define FLAG_ID 0x200000u

static int memfd = -1;
static uint8_t *memory;
static struct direct_process *process;
static struct user_regs_struct regs;
static uint64_t address;

static int map(uint64_t linear, uint64_t bytes, uint64_t offset, int prot)
{
	const struct direct_change change = { linear, bytes, offset, prot };
	return direct_process_change(process, &change, 1);
}

static void open_process(void)
{
	struct error e = {};
	memfd = memfd_create("test", MFD_CLOEXEC);
	expect(memfd >= 0 && ftruncate(memfd, (off_t)FILE_MAX) == 0);
	memory = mmap(NULL, FILE_MAX, RW, MAP_SHARED, memfd, 0);
	expect(memory != MAP_FAILED);
	if (direct_process_new(memfd, -1, &process, &e) < 0)
		test_skip("%.200s", e.text);
	expect_equal(map(CODE_AT, PAGE, CODE, RX), 0);
	expect_equal(map(DATA_AT, PAGE, DATA, RW), 0);
}

static void close_process(void)
{
	direct_process_free(process);
	process = NULL;
	munmap(memory, FILE_MAX);
	close(memfd);
}

static void begin(void)
{
	regs = (struct user_regs_struct){
		.rip = CODE_AT,
		.rsp = DATA_AT + PAGE,
		.cs = 0x33,
		.ss = 0x2b,
		.eflags = 0x202,
	};
}

static enum direct_exit run(const uint8_t *code, size_t bytes)
{
	memset(memory + CODE, 0xf4, PAGE);
	memcpy(memory + CODE, code, bytes);
	begin();
	return direct_process_run(process, &regs, &address);
}

#define RUN(...)          run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define expect_at(offset) expect_equal(regs.rip, CODE_AT + (offset))

static void computes(void)
{
	open_process();
	/* mov ecx, 1000000; xor eax, eax; l: add rax, rcx; loop l; mov [rsp-8], rax; hlt */
	expect_equal(RUN(0xb9, 0x40, 0x42, 0x0f, 0, 0x31, 0xc0, 0x48, 0x01, 0xc8, 0xe2, 0xfb, 0x48,
			     0x89, 0x44, 0x24, 0xf8, 0xf4),
		DIRECT_TRAP);
	expect_at(17);
	expect_equal(regs.rax, 500000500000);
	uint64_t used = direct_process_used_us(process);
	for (int i = 0; i < 10; i++) {
		begin();
		expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	}
	expect(direct_process_used_us(process) - used > 1000);
	expect_equal(*(uint64_t *)(void *)(memory + DATA + PAGE - 8), 500000500000);
	close_process();
}

static void tells_faults_exactly(void)
{
	open_process();
	/* mov rax, 0x123456789abc; mov [rax], cl */
	expect_equal(RUN(0x48, 0xb8, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0, 0, 0x88, 0x08),
		DIRECT_FAULT);
	expect_at(10);
	expect_equal(address, 0x123456789abc);
	/* A write to what can be read: mov byte [rip - 5], 1 */
	expect_equal(RUN(0xc6, 0x05, 0xf9, 0xff, 0xff, 0xff, 1), DIRECT_FAULT);
	expect_at(0);
	expect_equal(address, CODE_AT);
	/* Code that is none: jmp rsp */
	RUN(0x90);
	expect_equal(RUN(0x48, 0x83, 0xec, 0x10, 0xff, 0xe4), DIRECT_FAULT);
	expect_equal(regs.rip, DATA_AT + PAGE - 16);
	expect_equal(address, DATA_AT + PAGE - 16);
	/* Over the end of a page: the address is of the part that is not there. mov rax, [rsp - 3] */
	expect_equal(RUN(0x48, 0x8b, 0x44, 0x24, 0xfd), DIRECT_FAULT);
	expect_at(0);
	/* The kernel's half: mov rax, -4096; mov rax, [rax] */
	expect_equal(RUN(0x48, 0xc7, 0xc0, 0x00, 0xf0, 0xff, 0xff, 0x48, 0x8b, 0x00), DIRECT_FAULT);
	expect_at(7);
	expect_equal(address, UINT64_C(0xfffffffffffff000));
	/* No address at all: mov rax, 1 << 60; mov rax, [rax] */
	expect_equal(RUN(0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x10, 0x48, 0x8b, 0x00), DIRECT_TRAP);
	expect_at(10);
	/* Goes on after the page is there. */
	expect_equal(RUN(0xb8, 0x00, 0x00, 0x10, 0x00, 0x8b, 0x18, 0xf4), DIRECT_FAULT);
	expect_equal(map(0x100000, PAGE, DATA, PROT_READ), 0);
	*(uint32_t *)(void *)(memory + DATA) = 77;
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	expect_equal(regs.rbx, 77);
	close_process();
}

static void stands_before_calls(void)
{
	open_process();
	/* mov rax, 0x1122334455667788; mov ecx, 5; mov r11d, 6; stc; syscall */
	expect_equal(RUN(0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xb9, 5, 0, 0,
			     0, 0x41, 0xbb, 6, 0, 0, 0, 0xf9, 0x0f, 0x05),
		DIRECT_SYSCALL);
	expect_at(22);
	expect_equal(regs.rax, 0x1122334455667788);
	expect_equal(regs.rcx, CODE_AT + 24);
	expect_equal(regs.r11 & (FLAG_CF | FLAG_IF), FLAG_CF | FLAG_IF);
	expect_equal(regs.r11, regs.eflags);
	/* mov eax, 1; mov ecx, 5; mov r11d, 6; mov r8d, 7; int 0x80 */
	expect_equal(RUN(0xb8, 1, 0, 0, 0, 0xb9, 5, 0, 0, 0, 0x41, 0xbb, 6, 0, 0, 0, 0x41, 0xb8, 7,
			     0, 0, 0, 0xcd, 0x80),
		DIRECT_SYSCALL);
	expect_at(22);
	expect_equal(regs.rax, 1);
	expect_equal(regs.rcx, 5);
	expect_equal(regs.r11, 6);
	expect_equal(regs.r8, 7);
	/* sysenter: an AMD has none there */
	enum direct_exit exit = RUN(0x90, 0x90, 0x0f, 0x34);
	expect(exit == DIRECT_SYSENTER || exit == DIRECT_TRAP);
	/* Where that comes out on the host nobody is told. */
	expect_at(exit == DIRECT_SYSENTER ? 0 : 2);
	expect_equal(regs.rsp, DATA_AT + PAGE);
	exit = RUN(0x0f, 0x34);
	expect(exit == DIRECT_SYSENTER || (exit == DIRECT_TRAP && regs.rip == CODE_AT));
	/* With a stack that can be read it comes out in another way. mov ebp, CODE_AT; mov rsp, rbp; sysenter */
	exit = RUN(0xbd, 0x00, 0x00, 0x40, 0x00, 0x48, 0x89, 0xec, 0x0f, 0x34);
	expect(exit == DIRECT_SYSENTER || (exit == DIRECT_TRAP && regs.rip == CODE_AT + 8));
	expect(RUN(0xb8, 1, 0, 0, 0, 0xf4) == DIRECT_TRAP && regs.rax == 1);
	close_process();
}

/* mov rax, 0xffffffffff600000 + call * 0x400; call rax */
static void knows_the_vsyscall_page(void)
{
	open_process();
	for (uint32_t i = 0; i < 4; i++) {
		uint64_t at = UINT64_C(0xffffffffff600000) + 0x400u * i;
		uint8_t code[] = { 0x48, 0xc7, 0xc0, 0, (uint8_t)(4 * i), 0x60, 0xff, 0xbf, 0, 0, 0,
			0, 0xff, 0xd0 };
		enum direct_exit exit = run(code, sizeof(code));
		expect(exit == DIRECT_FAULT || exit == DIRECT_TRAP);
		expect_equal(regs.rip, at);
		expect_equal(regs.rsp, DATA_AT + PAGE - 8);
		expect_equal(*(uint64_t *)(void *)(memory + DATA + PAGE - 8), CODE_AT + 14);
	}
	/* With arguments that the host would refuse. */
	expect(RUN(0x48, 0xc7, 0xc0, 0, 0, 0x60, 0xff, 0x48, 0xc7, 0xc7, 0xff, 0xff, 0xff, 0xff,
		       0xff, 0xd0) != DIRECT_LOST);
	expect_equal(regs.rip, UINT64_C(0xffffffffff600000));
	/* And with no stack. xor esp, esp; jmp rax */
	expect(RUN(0x48, 0xc7, 0xc0, 0, 0, 0x60, 0xff, 0x31, 0xe4, 0xff, 0xe0) != DIRECT_LOST);
	expect_equal(regs.rip, UINT64_C(0xffffffffff600000));
	expect_equal(regs.rsp, 0);
	close_process();
}

static void stands_at_exceptions(void)
{
	open_process();
	expect_equal(RUN(0x90, 0xcc), DIRECT_INT3);
	expect_at(2);
	expect_equal(RUN(0x90, 0xcd, 0x03), DIRECT_INT3);
	expect_at(3);
	expect_equal(RUN(0x90, 0xf1), DIRECT_TRAP); /* int1 */
	expect_at(1);
	expect_equal(RUN(0x90, 0x0f, 0x0b), DIRECT_TRAP); /* ud2 */
	expect_at(1);
	expect_equal(RUN(0x31, 0xc9, 0xf7, 0xf1), DIRECT_TRAP); /* div ecx */
	expect_at(2);
	expect_equal(RUN(0x90, 0xf4), DIRECT_TRAP); /* hlt */
	expect_at(1);
	expect_equal(RUN(0xcd, 0x21), DIRECT_TRAP); /* int 0x21 */
	expect_at(0);
	expect_equal(RUN(0xfa), DIRECT_TRAP); /* cli */
	expect_at(0);
	expect_equal(RUN(0xe4, 0x60), DIRECT_TRAP); /* in al, 0x60 */
	expect_at(0);
	expect_equal(RUN(0x0f, 0x31), DIRECT_TRAP); /* rdtsc */
	expect_at(0);
	expect_equal(RUN(0x0f, 0x01, 0xf9), DIRECT_TRAP); /* rdtscp */
	expect_at(0);
	if (direct_process_traps_cpuid(process)) {
		expect_equal(RUN(0x31, 0xc0, 0x0f, 0xa2), DIRECT_TRAP);
		expect_at(2);
		expect_equal(regs.rax, 0);
	}
	/* push 0x1b80's bit 7 off: divide by zero unmasked; xorps xmm0, xmm0; divps */
	expect_equal(RUN(0x68, 0x80, 0x1d, 0, 0, 0x0f, 0xae, 0x14, 0x24, 0x0f, 0x57, 0xc0, 0xb8, 1,
			     0, 0, 0, 0xf3, 0x0f, 0x2a, 0xc8, 0xf3, 0x0f, 0x5e, 0xc8),
		DIRECT_TRAP);
	expect_at(21);
	/* The x87's comes late: fninit; push 0x37b; fldcw [rsp]; fld1; fldz; fdivp; fwait */
	expect_equal(RUN(0xdb, 0xe3, 0x68, 0x7b, 0x03, 0, 0, 0xd9, 0x2c, 0x24, 0xd9, 0xe8, 0xd9,
			     0xee, 0xde, 0xf9, 0x9b),
		DIRECT_TRAP);
	expect_at(16);
	close_process();
}

static void knows_flags(void)
{
	open_process();
	/* pushf; or byte [rsp + 1], 1; popf; nop; nop */
	expect_equal(RUN(0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x90, 0x90), DIRECT_STEP);
	expect_at(8);
	expect(regs.eflags & FLAG_TF);
	/* What must not run there does not. */
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	expect_at(8);
	/* TF and a call: the call comes first. */
	expect_equal(RUN(0x9c, 0x80, 0x4c, 0x24, 0x01, 0x01, 0x9d, 0x0f, 0x05), DIRECT_SYSCALL);
	expect_at(7);
	expect(regs.eflags & FLAG_TF);
	/* Alignment: or byte [rsp + 2], 4; popf; mov eax, [rsp - 7] */
	expect_equal(
		RUN(0x9c, 0x80, 0x4c, 0x24, 0x02, 0x04, 0x9d, 0x8b, 0x44, 0x24, 0xf9), DIRECT_TRAP);
	expect_at(7);
	expect(regs.eflags & FLAG_AC);
	/* ID: xor byte [rsp + 2], 0x20; popf; hlt. Another run does not see it. */
	expect_equal(RUN(0x9c, 0x80, 0x74, 0x24, 0x02, 0x20, 0x9d, 0xf4), DIRECT_TRAP);
	expect(regs.eflags & FLAG_ID);
	expect_equal(RUN(0xf4), DIRECT_TRAP);
	expect(!(regs.eflags & FLAG_ID));
	begin();
	regs.eflags |= FLAG_ID;
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	expect(regs.eflags & FLAG_ID);
	close_process();
}

/* A guest's -512 in RAX with a signal is no call of the host's that begins again. */
static void begins_no_call_again(void)
{
	open_process();
	for (int i = 0; i < 20; i++) {
		memset(memory + CODE, 0xf4, PAGE);
		memcpy(memory + CODE, (const uint8_t[]){ 0x0f, 0x05, 0xeb, 0xfe }, 4);
		begin();
		expect_equal(direct_process_run(process, &regs, &address), DIRECT_SYSCALL);
		regs.rax = (uint64_t)-512;
		regs.rip += 2;
		direct_process_kick(process);
		expect_equal(direct_process_run(process, &regs, &address), DIRECT_KICKED);
		expect_at(2);
		expect_equal(regs.rax, -512);
	}
	close_process();
}

static void carries_vectors(void)
{
	uint8_t image[4096] __attribute__((__aligned__(64))) = {};
	open_process();
	expect_equal(direct_process_save_vectors(process, image, sizeof(image)), 0);
	/* Nothing of what the monitor had. */
	expect_equal(image[512], 0);
	for (int i = 160; i < 416; i++)
		expect_equal(image[i], 0);
	for (int i = 0; i < 16; i++)
		image[160 + i] = (uint8_t)i;
	image[512] = 3;
	expect_equal(direct_process_load_vectors(process, image, sizeof(image)), 0);
	/* movq rax, xmm0; paddb xmm0, xmm0; hlt */
	expect_equal(RUN(0x66, 0x48, 0x0f, 0x7e, 0xc0, 0x66, 0x0f, 0xfc, 0xc0, 0xf4), DIRECT_TRAP);
	expect_equal(regs.rax, 0x0706050403020100);
	expect_equal(direct_process_save_vectors(process, image, sizeof(image)), 0);
	for (int i = 0; i < 16; i++)
		expect_equal(image[160 + i], 2 * i);
	/* They stay. */
	expect_equal(RUN(0x66, 0x48, 0x0f, 0x7e, 0xc0, 0xf4), DIRECT_TRAP);
	expect_equal(regs.rax, 0x0e0c0a0806040200);
	/* Initial ones, from as little as there can be. */
	memset(image, 0, sizeof(image));
	image[0] = 0x7f;
	image[1] = 0x03;
	image[24] = 0x80;
	image[25] = 0x1f;
	expect_equal(direct_process_load_vectors(process, image, 576), 0);
	expect_equal(RUN(0x66, 0x48, 0x0f, 0x7e, 0xc0, 0xf4), DIRECT_TRAP);
	expect_equal(regs.rax, 0);
	expect_equal(direct_process_load_vectors(process, image, 575), -EINVAL);
	close_process();
}

/* Keys of memory that code there has written are none for what comes after it. */
static void forgets_keys(void)
{
	uint8_t image[4096] __attribute__((__aligned__(64))) = {};
	open_process();
	/* xor ecx, ecx; xor edx, edx; mov eax, -1; wrpkru; mov eax, [rsp - 8]; hlt */
	enum direct_exit exit = RUN(0x31, 0xc9, 0x31, 0xd2, 0xb8, 0xff, 0xff, 0xff, 0xff, 0x0f,
		0x01, 0xef, 0x8b, 0x44, 0x24, 0xf8, 0xf4);
	if (exit == DIRECT_TRAP) {
		close_process();
		test_skip("this host has no protection keys");
	}
	expect_equal(exit, DIRECT_FAULT);
	expect_at(12);
	expect_equal(direct_process_save_vectors(process, image, sizeof(image)), 0);
	expect_equal(RUN(0x8b, 0x44, 0x24, 0xf8, 0xf4), DIRECT_TRAP);
	expect_at(4);
	close_process();
}

/* Nothing is there but what was mapped, and the one page that nobody can read where there are keys. */
static void is_empty(void)
{
	char path[64], line[512];
	open_process();
	snprintf(path, sizeof(path), "/proc/%d/maps", direct_process_id(process));
	FILE *file = fopen(path, "re");
	expect(file);
	int count = 0;
	while (fgets(line, sizeof(line), file)) {
		bool is_known = strstr(line, "memfd:test") || strstr(line, "--xp") ||
			strstr(line, "[vsyscall]");
		if (!is_known)
			printf("# %s", line);
		expect(is_known);
		count++;
	}
	fclose(file);
	expect(count == 3 || count == 4);
	expect_equal(direct_process_unmap_all(process), 0);
	file = fopen(path, "re");
	count = 0;
	while (fgets(line, sizeof(line), file))
		count += !strstr(line, "[vsyscall]");
	fclose(file);
	expect_equal(count, 1); /* our page */
	expect_equal(RUN(0x90), DIRECT_FAULT);
	expect_at(0);
	close_process();
}

static void has_no_rights(void)
{
	static const char *const wanted[] = { "CapEff:\t0000000000000000\n",
		"CapPrm:\t0000000000000000\n", "CapInh:\t0000000000000000\n",
		"CapAmb:\t0000000000000000\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n", "Threads:\t1\n",
		"SigCgt:\t0000000000000000\n", "SigBlk:\t0000000000000000\n" };
	char path[64], text[4096] = "";
	open_process();
	snprintf(path, sizeof(path), "/proc/%d/status", direct_process_id(process));
	FILE *file = fopen(path, "re");
	expect(file && fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		expect_contains(text, wanted[i]);
	/* Where the host lets its processes choose. */
	if (strstr(text, "SpeculationIndirectBranch:\tconditional"))
		expect_contains(text, "SpeculationIndirectBranch:\tconditional force disabled\n");
	snprintf(path, sizeof(path), "TracerPid:\t%d\n", (int)gettid());
	expect_contains(text, path);
	snprintf(path, sizeof(path), "/proc/%d/fd", direct_process_id(process));
	DIR *dir = opendir(path);
	expect(dir);
	int count = 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	expect_equal(count, 2 + 2); /* . and .., the guest's memory, our pages */
	/* Nobody of the same user looks into it: its files are root's, whoever it is. */
	if (getuid() == 0) {
		pid_t pid = fork();
		if (pid == 0) {
			struct error e = {};
			struct direct_process *other;
			struct stat stat_;
			if (setresgid(65534, 65534, 65534) < 0 ||
				setresuid(65534, 65534, 65534) < 0 ||
				direct_process_new(memfd, -1, &other, &e) < 0)
				_exit(2);
			snprintf(path, sizeof(path), "/proc/%d/mem", direct_process_id(other));
			bool is_ours = stat(path, &stat_) == 0 && stat_.st_uid != 0;
			_exit(is_ours || open(path, O_RDONLY) >= 0);
		}
		int status = -1;
		expect_equal(waitpid(pid, &status, 0), pid);
		expect_equal(status, 0);
	}
	close_process();
}

static uint64_t own_page(void)
{
	char path[64], line[512];
	unsigned long at = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", direct_process_id(process));
	FILE *file = fopen(path, "re");
	while (fgets(line, sizeof(line), file))
		if (strstr(line, "--xp") && !strstr(line, "[vsyscall]"))
			at = strtoul(line, NULL, 16);
	fclose(file);
	return at;
}

static void jump_to(uint64_t at)
{
	uint8_t code[] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0 };
	memcpy(code + 2, &at, 8);
	expect_equal(run(code, sizeof(code)), DIRECT_FAULT);
	expect_equal(regs.rip, at);
	expect_equal(address, at);
}

static void hides_its_page(void)
{
	open_process();
	uint64_t page = own_page();
	expect(page >= UINT64_C(0x300000000000));
	for (uint64_t i = 0; i < PAGE; i += 509)
		jump_to(page + i);
	jump_to(page + 4091); /* the SYSCALL */
	jump_to(page + 4092);
	jump_to(page + PAGE);
	/* mov rax, page; mov [rax], al */
	uint8_t code[] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0x00 };
	memcpy(code + 2, &page, 8);
	expect_equal(run(code, sizeof(code)), DIRECT_FAULT);
	expect_equal(address, page);
	/* Its place is the guest's if it wants it. */
	*(uint64_t *)(void *)(memory + DATA) = UINT64_C(0x0fe8000f00000000);
	expect_equal(map(page - PAGE, 3 * PAGE, 0, RX), 0);
	uint64_t other = own_page();
	expect(other != 0 && other != page);
	expect_equal(map(other - PAGE, 3 * PAGE, 0, 0), 0);
	expect_equal(map(CODE_AT, PAGE, CODE, PROT_READ), 0);
	expect_equal(RUN(0x90), DIRECT_FAULT);
	expect_equal(own_page(), other);
	close_process();
}

/* Every number, with arguments that would do something. */
static void makes_no_call(void)
{
	open_process();
	/* l: mov eax, ebx; mov edi.. as given; syscall */
	memset(memory + CODE, 0xf4, PAGE);
	memcpy(memory + CODE, (const uint8_t[]){ 0x0f, 0x05, 0xcd, 0x80 }, 4);
	for (uint64_t way = 0; way < 3; way++) {
		for (uint64_t number = 0; number < 600; number++) {
			begin();
			regs.rax = number | (way == 2 ? 0x40000000 : 0);
			regs.rip = way == 1 ? CODE_AT + 2 : CODE_AT;
			regs.rdi = number == SYS_kill || number == SYS_tgkill
				? (uint64_t)direct_process_id(process)
				: DATA_AT;
			regs.rsi = 9;
			regs.rdx = regs.r10 = regs.r8 = 7;
			const struct user_regs_struct before = regs;
			expect_equal(direct_process_run(process, &regs, &address), DIRECT_SYSCALL);
			expect_equal(regs.rip, before.rip);
			expect_equal(regs.rax, before.rax);
			expect_equal(regs.rdi, before.rdi);
		}
	}
	expect_equal(RUN(0xf4), DIRECT_TRAP);
	close_process();
}

#define MANY 1000u

static void changes_much(void)
{
	static struct direct_change changes[MANY];
	open_process();
	for (uint32_t i = 0; i < MANY; i++)
		changes[i] = (struct direct_change){ 0x10000000 + 2 * PAGE * i, PAGE,
			i % 2 ? DATA : DATA + PAGE, PROT_READ };
	expect_equal(direct_process_change(process, changes, MANY), 0);
	*(uint32_t *)(void *)(memory + DATA) = 77;
	*(uint32_t *)(void *)(memory + DATA + PAGE) = 78;
	for (uint32_t i = 0; i < MANY; i += 111) {
		uint64_t at = changes[i].linear;
		uint8_t code[] = { 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0x8b, 0x18, 0xf4 };
		memcpy(code + 2, &at, 8);
		expect_equal(run(code, sizeof(code)), DIRECT_TRAP);
		expect_equal(regs.rbx, i % 2 ? 77 : 78);
	}
	/* One piece after another over where our pages are, one that has them in its midst, and nothing. */
	uint64_t page = own_page();
	for (uint32_t i = 0; i < MANY; i++)
		changes[i] = (struct direct_change){ page - 50 * PAGE + PAGE * (i % 100),
			i == 500 ? 200 * PAGE : PAGE, DATA, i % 3 ? PROT_READ : 0 };
	changes[500].prot = 0;
	expect_equal(direct_process_change(process, changes, MANY), 0);
	expect_equal(direct_process_change(process, changes, 0), 0);
	expect(own_page() != page);
	expect_equal(RUN(0x90, 0xf4), DIRECT_TRAP);
	changes[700].linear = 0;
	expect_equal(direct_process_change(process, changes, MANY), -ENOMEM);
	expect_equal(RUN(0x90), DIRECT_FAULT);
	close_process();
}

/* More than a process may have. */
static void runs_out_of_memory(void)
{
	static struct direct_change changes[MANY];
	const struct rlimit few = { 100 * PAGE, 100 * PAGE };
	open_process();
	for (uint32_t i = 0; i < MANY; i++)
		changes[i] =
			(struct direct_change){ 0x10000000 + 2 * PAGE * i, PAGE, DATA, PROT_READ };
	expect_equal(prlimit(direct_process_id(process), RLIMIT_AS, &few, NULL), 0);
	expect_equal(direct_process_change(process, changes, MANY), -ENOMEM);
	expect_equal(RUN(0x90), DIRECT_FAULT);
	expect_equal(map(CODE_AT, PAGE, CODE, RX), 0);
	expect_equal(RUN(0x90, 0xf4), DIRECT_TRAP);
	/* Not even the calls that are made at once have room. */
	const struct rlimit none = { 0, 0 };
	expect_equal(prlimit(direct_process_id(process), RLIMIT_AS, &none, NULL), 0);
	expect_equal(direct_process_change(process, changes, MANY), -ENOMEM);
	expect_equal(RUN(0x90), DIRECT_FAULT);
	expect_at(0);
	close_process();
}

static void refuses_mappings(void)
{
	open_process();
	expect_equal(map(DIRECT_END, PAGE, 0, RX), -EINVAL);
	expect_equal(map(DIRECT_END - PAGE, 2 * PAGE, 0, RX), -EINVAL);
	expect_equal(map(UINT64_MAX - PAGE + 1, PAGE, 0, RX), -EINVAL);
	expect_equal(map(CODE_AT, UINT64_MAX - PAGE + 1, 0, RX), -EINVAL);
	expect_equal(map(CODE_AT, 0, 0, RX), -EINVAL);
	expect_equal(map(CODE_AT + 1, PAGE, 0, RX), -EINVAL);
	expect_equal(map(CODE_AT, PAGE, 1, RX), -EINVAL);
	expect_equal(RUN(0x90, 0xf4), DIRECT_TRAP);
	/* What the host refuses loses all. */
	expect_equal(map(0, PAGE, 0, RX), -ENOMEM);
	expect_equal(RUN(0x90), DIRECT_FAULT);
	/* Behind the file's end it faults. */
	expect_equal(map(CODE_AT, PAGE, FILE_MAX, RX), 0);
	begin();
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_FAULT);
	expect_equal(address, CODE_AT);
	begin();
	regs.fs_base = UINT64_C(0xffff800000000000);
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	begin();
	regs.cs = 0x10;
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	begin();
	regs.eflags |= 0x3000;
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	close_process();
}

static atomic_bool storm_ends;
static atomic_uint kicks;

static void *storm(void *data)
{
	(void)data;
	while (!atomic_load(&storm_ends)) {
		direct_process_kick(process);
		atomic_fetch_add(&kicks, 1);
		const struct timespec while_ = { .tv_nsec = 20000 };
		nanosleep(&while_, NULL);
	}
	return NULL;
}

/* Each kick ends a run or is followed by one that ends; what is computed stays right. */
static void takes_kicks(void)
{
	pthread_t thread;
	open_process();
	/* mov ecx, 50000000; l: inc rax; mov [rsp - 8], rax; loop l; syscall */
	static const uint8_t code[] = { 0xb9, 0x80, 0xf0, 0xfa, 0x02, 0x48, 0xff, 0xc0, 0x48, 0x89,
		0x44, 0x24, 0xf8, 0xe2, 0xf6, 0x0f, 0x05 };
	atomic_store(&storm_ends, false);
	atomic_store(&kicks, 0);
	expect(pthread_create(&thread, NULL, storm, NULL) == 0);
	while (atomic_load(&kicks) ==
		0) /* the first run ends at once, however late the others are */
		sched_yield();
	uint32_t kicked = 0;
	enum direct_exit exit = run(code, sizeof(code));
	while (exit == DIRECT_KICKED) {
		kicked++;
		if (kicked % 64 == 0 && map(0x100000, PAGE, DATA, RW) < 0)
			break;
		exit = direct_process_run(process, &regs, &address);
	}
	atomic_store(&storm_ends, true);
	pthread_join(thread, NULL);
	expect_equal(exit, DIRECT_SYSCALL);
	expect_at(15);
	expect_equal(*(uint64_t *)(void *)(memory + DATA + PAGE - 8), 50000000);
	printf("# %u kicks, %u runs ended\n", kicks, kicked);
	expect(kicked > 0);
	close_process();
}

static void *kick_once(void *data)
{
	(void)data;
	direct_process_kick(process);
	return NULL;
}

/* A loop without end: a kick that is lost would be seen by the alarm. */
static void loses_no_kick(void)
{
	open_process();
	alarm(240);
	memcpy(memory + CODE, (const uint8_t[]){ 0xeb, 0xfe }, 2);
	for (int i = 0; i < 300; i++) {
		pthread_t thread;
		expect(pthread_create(&thread, NULL, kick_once, NULL) == 0);
		begin();
		expect_equal(direct_process_run(process, &regs, &address), DIRECT_KICKED);
		expect_at(0);
		pthread_join(thread, NULL);
	}
	alarm(0);
	close_process();
}

static void knows_that_it_is_dead(void)
{
	open_process();
	expect_equal(kill(direct_process_id(process), SIGKILL), 0);
	begin();
	memcpy(memory + CODE, (const uint8_t[]){ 0xeb, 0xfe }, 2);
	enum direct_exit exit = direct_process_run(process, &regs, &address);
	expect(exit == DIRECT_GONE || exit == DIRECT_LOST);
	expect_at(0);
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_GONE);
	expect_equal(map(CODE_AT, PAGE, 0, RX), -ESRCH);
	direct_process_kick(process);
	close_process();
	errno = 0;
	expect(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

static bool is_alive(pid_t pid)
{
	char path[64], text[256] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool has_line = fgets(text, sizeof(text), file) != NULL;
	fclose(file);
	return has_line && !strstr(text, ") Z") && !strstr(text, ") X");
}

/* Killed while it runs there, or before it ever did: neither leaves anything. */
static void dies_with_its_maker(void)
{
	for (int runs = 0; runs < 2; runs++) {
		int tell[2];
		pid_t number = 0;
		expect(pipe(tell) == 0);
		pid_t maker = fork();
		if (maker == 0) {
			struct error e = {};
			open_process();
			pid_t id = direct_process_id(process);
			if (runs == 0 && direct_process_new(memfd, -1, &process, &e) == 0)
				id = direct_process_id(process);
			(void)!write(tell[1], &id, sizeof(id));
			memcpy(memory + CODE, (const uint8_t[]){ 0xeb, 0xfe }, 2);
			begin();
			if (runs)
				(void)direct_process_run(process, &regs, &address);
			pause();
			_exit(0);
		}
		close(tell[1]);
		ssize_t got = read(tell[0], &number, sizeof(number));
		close(tell[0]);
		const struct timespec a_while = { .tv_nsec = 20000000 };
		nanosleep(&a_while, NULL);
		bool was_alive = got == sizeof(number) && is_alive(number);
		expect(kill(maker, SIGKILL) == 0);
		expect(waitpid(maker, NULL, 0) == maker);
		if (got != sizeof(number))
			test_skip("no process could be made");
		expect(was_alive);
		for (int i = 0; i < 3000 && is_alive(number); i++)
			nanosleep(&a_while, NULL);
		expect(!is_alive(number));
	}
}

/* 32-bit code of the host's selectors is told by CS. */
static void tells_a_far_jump(void)
{
	open_process();
	/* push 0x23; push CODE_AT + 16; retfq; at 16: nop; ud2 */
	expect_equal(RUN(0x6a, 0x23, 0x68, 0x10, 0x00, 0x40, 0x00, 0x48, 0xcb, 0xf4, 0xf4, 0xf4,
			     0xf4, 0xf4, 0xf4, 0xf4, 0x90, 0x0f, 0x0b),
		DIRECT_TRAP);
	expect_at(17);
	expect_equal(regs.cs, 0x23);
	expect_equal(direct_process_run(process, &regs, &address), DIRECT_TRAP);
	expect_at(17);
	/* What enters the host's kernel from there: sysenter and syscall, with a stack and without. */
	for (int i = 0; i < 4; i++) {
		uint8_t code[] = { 0x6a, 0x23, 0x68, 0x10, 0x00, 0x40, 0x00, 0x48, 0xcb, 0xf4, 0xf4,
			0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0x31, i & 1 ? 0xe4 : 0xc0, 0x0f,
			i & 2 ? 0x05 : 0x34, 0xf4 };
		enum direct_exit exit = run(code, sizeof(code));
		expect(exit == DIRECT_SYSENTER || exit == DIRECT_TRAP);
		expect_at(exit == DIRECT_SYSENTER ? 0 : 18);
	}
	close_process();
}

/* The second wall, with the first one open: the calls are made as the monitor makes its own. */
static void has_a_filter(void)
{
	static const struct direct_call calls[] = {
		{ SYS_getpid, {} },
		{ SYS_write, { DIRECT_GUEST_FD, DATA_AT, 1 } },
		{ SYS_openat, { AT_FDCWD, DATA_AT } },
		{ SYS_execve, { DATA_AT } },
		{ SYS_clone, { SIGCHLD } },
		{ SYS_kill, { 1, 0 } },
		{ SYS_ptrace, { PTRACE_TRACEME } },
		{ SYS_prctl, { 38 } },
		{ SYS_ioctl, { DIRECT_GUEST_FD } },
		{ SYS_mprotect, { CODE_AT, PAGE, RX | PROT_WRITE } },
		{ SYS_mremap, { CODE_AT, PAGE, PAGE, 0 } },
		{ SYS_close, { DIRECT_GUEST_FD } },
		{ SYS_io_uring_setup, { 1, DATA_AT } },
		{ 0x40000000u | SYS_munmap, { CODE_AT, PAGE } }, /* x32 */
		{ SYS_mmap,
			{ 0x100000, PAGE, RW, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS,
				UINT64_MAX } },
		{ SYS_mmap, { 0x100000, PAGE, RW, MAP_SHARED | MAP_FIXED | MAP_ANONYMOUS, 0 } },
		{ SYS_mmap, { 0x100000, PAGE, RW, MAP_PRIVATE | MAP_FIXED, DIRECT_GUEST_FD } },
		{ SYS_mmap, { 0x100000, PAGE, RW, MAP_SHARED, DIRECT_GUEST_FD } },
		{ SYS_mmap, { 0x100000, PAGE, RW | 8, MAP_SHARED | MAP_FIXED, DIRECT_GUEST_FD } },
		{ SYS_mmap, { 0x100000, PAGE, RW, MAP_SHARED | MAP_FIXED, DIRECT_PAGES_FD } },
		{ SYS_mmap,
			{ 0x100000, PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
				DIRECT_PAGES_FD } },
		{ SYS_mmap, { 0x100000, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, 2 } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		open_process();
		/* It has one, and it has what is asked for. */
		expect_equal(map(0x100000, PAGE, DATA, PROT_READ), 0);
		if (direct_trace_call(process, &calls[i]) != -ESRCH)
			test_fail("call %zu (%ju) is made", i, (uintmax_t)calls[i].number);
		begin();
		expect_equal(direct_process_run(process, &regs, &address), DIRECT_GONE);
		close_process();
	}
}

static const struct test tests[] = {
	{ "any call that is not the monitor's to make ends the process", has_a_filter },
	{ "keys of memory do not outlive a stay", forgets_keys },
	{ "it computes", computes },
	{ "a fault has its address and the instruction's", tells_faults_exactly },
	{ "at a system call it stands before it", stands_before_calls },
	{ "the host's vsyscall page is none of the guest's", knows_the_vsyscall_page },
	{ "at an exception it stands at the instruction", stands_at_exceptions },
	{ "TF, AC and ID are told and do no harm", knows_flags },
	{ "a RAX that looks like an interrupted call is none", begins_no_call_again },
	{ "vectors go there and come back", carries_vectors },
	{ "nothing is mapped that was not asked for", is_empty },
	{ "it has no rights and no descriptors but two", has_no_rights },
	{ "its own page is not there for the guest", hides_its_page },
	{ "no call of any number reaches the host", makes_no_call },
	{ "much is changed at once", changes_much },
	{ "what fails unmaps all and harms nothing", runs_out_of_memory },
	{ "mappings and registers that cannot be are refused", refuses_mappings },
	{ "kicks end runs and change nothing", takes_kicks },
	{ "no kick is lost", loses_no_kick },
	{ "a process that was killed is known to be", knows_that_it_is_dead },
	{ "it dies with the process that made it", dies_with_its_maker },
	{ "a far jump to the host's 32-bit code is told by CS", tells_a_far_jump },
};

TEST_MAIN(tests)
