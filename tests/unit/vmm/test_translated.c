/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <x86intrin.h>

#include "test.h"
#include "vmm/soft/soft.h"

#define CODE_AT   0x2000u
#define TABLES_AT 0x10000u
#define RAM_BYTES (64 * MIB)
#define CR4_OF_64 UINT64_C(0x40620) /* OSXSAVE, OSXMMEXCPT, OSFXSR, PAE */

/*
 * Upper halves that are all 0 are loaded another way than others. In odd rounds that of YMM15, the last one, holds the
 * round; CPUID leaves translated code in between.
 *
 *	top:	vmovq xmm1, rcx; vxorps ymm15, ymm15, ymm15; vzeroupper
 *		test cl, 1; jz 1f; vinsertf128 ymm15, ymm15, xmm1, 1
 *	1:	movq xmm2, xmm1; mov edi, ecx; xor eax, eax; xor ecx, ecx; cpuid
 *		vextractf128 xmm3, ymm15, 1; vmovq rax, xmm3
 *		mov edx, edi; and edx, 1; imul edx, edi; cmp rax, rdx; jne 2f
 *		movq rax, xmm2; cmp rax, rdi; jne 2f
 *		mov ecx, edi; dec ecx; jnz top
 *		out 1, al
 *	2:	out 2, al
 */
static const uint8_t vector_code[] = { 0xc4, 0xe1, 0xf9, 0x6e, 0xc9, 0xc4, 0x41, 0x04, 0x57, 0xff,
	0xc5, 0xf8, 0x77, 0xf6, 0xc1, 0x01, 0x74, 0x06, 0xc4, 0x63, 0x05, 0x18, 0xf9, 0x01, 0xf3,
	0x0f, 0x7e, 0xd1, 0x89, 0xcf, 0x31, 0xc0, 0x31, 0xc9, 0x0f, 0xa2, 0xc4, 0x63, 0x7d, 0x19,
	0xfb, 0x01, 0xc4, 0xe1, 0xf9, 0x7e, 0xd8, 0x89, 0xfa, 0x83, 0xe2, 0x01, 0x0f, 0xaf, 0xd7,
	0x48, 0x39, 0xd0, 0x75, 0x12, 0x66, 0x48, 0x0f, 0x7e, 0xd0, 0x48, 0x39, 0xf8, 0x75, 0x08,
	0x89, 0xf9, 0xff, 0xc9, 0x75, 0xb4, 0xe6, 0x01, 0xe6, 0x02 };

/*
 * 9,216 pages, more than twice as many as the TLB holds: each other page of a slot, and those whose tags stand for
 * slow ones, too. Each is written, read back, written again.
 *
 *	again:	mov edi, 0x400000
 *	1:	mov [rdi], rdi; add rdi, 4096; cmp edi, 0x2800000; jne 1b
 *		mov edi, 0x400000
 *	2:	cmp [rdi], rdi; jne 3f; mov qword [rdi], 0; add rdi, 4096; cmp edi, 0x2800000; jne 2b
 *		dec ecx; jnz again
 *		out 1, al
 *	3:	out 2, al
 */
static const uint8_t pages_code[] = { 0xbf, 0x00, 0x00, 0x40, 0x00, 0x48, 0x89, 0x3f, 0x48, 0x81,
	0xc7, 0x00, 0x10, 0x00, 0x00, 0x81, 0xff, 0x00, 0x00, 0x80, 0x02, 0x75, 0xee, 0xbf, 0x00,
	0x00, 0x40, 0x00, 0x48, 0x39, 0x3f, 0x75, 0x1c, 0x48, 0xc7, 0x07, 0x00, 0x00, 0x00, 0x00,
	0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0x81, 0xff, 0x00, 0x00, 0x80, 0x02, 0x75, 0xe5,
	0xff, 0xc9, 0x75, 0xc5, 0xe6, 0x01, 0xe6, 0x02 };

/*
 * Flags are had again over checks, returns and calls: of operands that change behind the comparison, of registers that have
 * moved, with a carry that nothing on the way touches.
 *
 *	top:	mov edi, 0x3000; mov [rdi], ecx; mov eax, ecx
 *		call 3f; jne 2f; call 4f; jne 2f; mov edi, 0x1000; call 5f; jz 2f
 *		stc; call 6f; jnc 2f; jnz 2f; call 7f; jne 2f
 *		dec ecx; jnz top
 *		out 1, al
 *	2:	out 2, al
 *	3:	cmp [rdi], eax; mov [rdi + 8], rax; ret
 *	4:	cmp eax, [rdi]; mov dword [rdi], 0; ret
 *	5:	test rdi, rdi; lea rdi, [rdi + 0x3000]; mov [rdi], rdi; ret
 *	6:	mov edx, 1; dec edx; mov [rdi], rdx; ret
 *	7:	mov dword [rdi], 7; mov eax, 3; add eax, [rdi]; mov [rdi], eax; push rax; pop rdx
 *		cmp byte [rdi], 10; mov [rdi], rdi; ret
 */
static const uint8_t flags_code[] = { 0xbf, 0x00, 0x30, 0x00, 0x00, 0x89, 0x0f, 0x89, 0xc8, 0xe8,
	0x2e, 0x00, 0x00, 0x00, 0x75, 0x2a, 0xe8, 0x2e, 0x00, 0x00, 0x00, 0x75, 0x23, 0xbf, 0x00,
	0x10, 0x00, 0x00, 0xe8, 0x2b, 0x00, 0x00, 0x00, 0x74, 0x17, 0xf9, 0xe8, 0x31, 0x00, 0x00,
	0x00, 0x73, 0x0f, 0x75, 0x0d, 0xe8, 0x33, 0x00, 0x00, 0x00, 0x75, 0x06, 0xff, 0xc9, 0x75,
	0xc8, 0xe6, 0x01, 0xe6, 0x02, 0x39, 0x07, 0x48, 0x89, 0x47, 0x08, 0xc3, 0x3b, 0x07, 0xc7,
	0x07, 0x00, 0x00, 0x00, 0x00, 0xc3, 0x48, 0x85, 0xff, 0x48, 0x8d, 0xbf, 0x00, 0x30, 0x00,
	0x00, 0x48, 0x89, 0x3f, 0xc3, 0xba, 0x01, 0x00, 0x00, 0x00, 0xff, 0xca, 0x48, 0x89, 0x17,
	0xc3, 0xc7, 0x07, 0x07, 0x00, 0x00, 0x00, 0xb8, 0x03, 0x00, 0x00, 0x00, 0x03, 0x07, 0x89,
	0x07, 0x50, 0x5a, 0x80, 0x3f, 0x0a, 0x48, 0x89, 0x3f, 0xc3 };

/*
 * Operands that are checked together, most of them in one page and some over the end of one; flags are read behind them.
 *
 *	top:	mov esi, ecx; lea rdi, [rcx * 8 + 0x300000]
 *		cmp rcx, rsi; mov [rdi], rcx; mov [rdi + 24], rcx; jne 2f
 *		mov rax, [rdi]; add rax, [rdi + 24]; lea rdx, [rcx + rcx]; cmp rax, rdx; jne 2f
 *		mov rsp, rdi; push rcx; push rdx; pop rax; pop rbx; cmp rax, rdx; jne 2f; cmp rbx, rcx; jne 2f
 *		dec ecx; jnz top
 *		out 1, al
 *	2:	out 2, al
 */
static const uint8_t together_code[] = { 0x89, 0xce, 0x48, 0x8d, 0x3c, 0xcd, 0x00, 0x00, 0x30, 0x00,
	0x48, 0x39, 0xf1, 0x48, 0x89, 0x0f, 0x48, 0x89, 0x4f, 0x18, 0x75, 0x27, 0x48, 0x8b, 0x07,
	0x48, 0x03, 0x47, 0x18, 0x48, 0x8d, 0x14, 0x09, 0x48, 0x39, 0xd0, 0x75, 0x17, 0x48, 0x89,
	0xfc, 0x51, 0x52, 0x58, 0x5b, 0x48, 0x39, 0xd0, 0x75, 0x0b, 0x48, 0x39, 0xcb, 0x75, 0x06,
	0xff, 0xc9, 0x75, 0xc5, 0xe6, 0x01, 0xe6, 0x02 };

/*
 * A write that does not happen leaves no trace in the page tables, though it would be checked with the read before it.
 *
 *		mov edi, 0x2000000; mov esi, 0x12080
 *	1:	cmp dword [rdi], 1; jne 3f; mov [rdi + 8], eax
 *	3:	test byte [rsi], 0x40; jnz 2f; test byte [rsi], 0x20; jz 2f
 *		add edi, 0x200000; add esi, 8; cmp edi, 0x4000000; jne 1b
 *		out 1, al
 *	2:	out 2, al
 */
static const uint8_t clean_code[] = { 0xbf, 0x00, 0x00, 0x00, 0x02, 0xbe, 0x80, 0x20, 0x01, 0x00,
	0x83, 0x3f, 0x01, 0x75, 0x03, 0x89, 0x47, 0x08, 0xf6, 0x06, 0x40, 0x75, 0x18, 0xf6, 0x06,
	0x20, 0x74, 0x13, 0x81, 0xc7, 0x00, 0x00, 0x20, 0x00, 0x83, 0xc6, 0x08, 0x81, 0xff, 0x00,
	0x00, 0x00, 0x04, 0x75, 0xdd, 0xe6, 0x01, 0xe6, 0x02 };

/*
 * What keeps a kernel from running a loop of calls at each system call.
 *
 *		mov eax, 7; mov ecx, 2; cpuid; bt edx, 4; jnc 2f
 *		mov ecx, 0x48; mov eax, 0x401; xor edx, edx; wrmsr; xor eax, eax; rdmsr; bt eax, 10; jnc 2f
 *		out 1, al
 *	2:	out 2, al
 */
static const uint8_t history_code[] = { 0xb8, 0x07, 0x00, 0x00, 0x00, 0xb9, 0x02, 0x00, 0x00, 0x00,
	0x0f, 0xa2, 0x0f, 0xba, 0xe2, 0x04, 0x73, 0x1a, 0xb9, 0x48, 0x00, 0x00, 0x00, 0xb8, 0x01,
	0x04, 0x00, 0x00, 0x31, 0xd2, 0x0f, 0x30, 0x31, 0xc0, 0x0f, 0x32, 0x0f, 0xba, 0xe0, 0x0a,
	0x73, 0x02, 0xe6, 0x01, 0xe6, 0x02 };

/*
 * Waits for so many ticks.
 *
 *		rdtsc; shl rdx, 32; or rax, rdx; lea rsi, [rax + rcx]
 *	1:	pause; rdtsc; shl rdx, 32; or rax, rdx; cmp rax, rsi; jb 1b
 *		out 1, al
 */
static const uint8_t pause_code[] = { 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48,
	0x8d, 0x34, 0x08, 0xf3, 0x90, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48,
	0x39, 0xf0, 0x72, 0xf0, 0xe6, 0x01 };

/*
 * So many PAUSEs.
 *
 *	1:	pause; dec rcx; jnz 1b
 *		out 1, al
 */
static const uint8_t counted_code[] = { 0xf3, 0x90, 0x48, 0xff, 0xc9, 0x75, 0xf9, 0xe6, 0x01 };

/*
 * So many times 32 PAUSEs, and then something else for 100,000 ticks.
 *
 *	1:	mov ebx, 32
 *	2:	pause; dec ebx; jnz 2b
 *		rdtsc; shl rdx, 32; or rax, rdx; lea rsi, [rax + 100000]
 *	3:	rdtsc; shl rdx, 32; or rax, rdx; cmp rax, rsi; jb 3b
 *		dec rcx; jnz 1b
 *		out 1, al
 */
static const uint8_t working_code[] = { 0xbb, 0x20, 0x00, 0x00, 0x00, 0xf3, 0x90, 0xff, 0xcb, 0x75,
	0xfa, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x8d, 0xb0, 0xa0, 0x86,
	0x01, 0x00, 0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0x48, 0x39, 0xf0, 0x72,
	0xf2, 0x48, 0xff, 0xc9, 0x75, 0xd2, 0xe6, 0x01 };

/*
 * All places where code goes on are forgotten, then it jumps to address 0.
 *
 *	top:	mov rax, cr3; mov cr3, rax; xor eax, eax; jmp rax
 *	0:	dec ecx; jnz 1f; out 1, al
 *	1:	mov edx, top; jmp rdx
 */
static const uint8_t zero_code[] = { 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x31, 0xc0, 0xff, 0xe0 };
static const uint8_t at_zero[] = { 0xff, 0xc9, 0x75, 0x02, 0xe6, 0x01, 0xba, 0x00, 0x20, 0x00, 0x00,
	0xff, 0xe2 };

/*
 * More often than it takes code to be translated.
 *
 *	1:	dec ecx; jnz 1b
 *		out 1, al
 */
static const uint8_t loop_code[] = { 0xff, 0xc9, 0x75, 0xfc, 0xe6, 0x01 };

/*
 * 32-bit code, in long mode: the base of GS, 0x300380, and what is below it meet where 32-bit programs have their threads' own.
 *
 *		mov eax, -8; mov dword gs:[eax], 0x12345678; cmp dword [0x300378], 0x12345678; jne 2f
 *		mov ebx, -8; mov al, 0; xlat gs:[ebx]; cmp al, 0x78; jne 2f
 *		inc dword gs:[-8]; cmp dword [0x300378], 0x12345679; jne 2f
 *		mov edi, -8; mov eax, 0xabcdef01; movd xmm3, eax; pcmpeqd xmm1, xmm1; psrldq xmm1, 12
 *		maskmovdqu gs:xmm3, xmm1; cmp dword [0x300378], 0xabcdef01; jne 2f
 *		mov eax, -8; vpcmpeqd xmm1, xmm1, xmm1; vpxor xmm2, xmm2, xmm2; vpgatherdd xmm0, gs:[eax + xmm2], xmm1
 *		vmovd ecx, xmm0; cmp ecx, 0xabcdef01; jne 2f
 *		push 0x11223344; mov eax, -16; pop dword gs:[eax]; cmp dword [0x300370], 0x11223344; jne 2f
 *		out 1, al
 *	2:	out 2, al
 */
static const uint8_t narrow_code[] = { 0xb8, 0xf8, 0xff, 0xff, 0xff, 0x65, 0xc7, 0x00, 0x78, 0x56,
	0x34, 0x12, 0x81, 0x3d, 0x78, 0x03, 0x30, 0x00, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x85, 0x83,
	0x00, 0x00, 0x00, 0xbb, 0xf8, 0xff, 0xff, 0xff, 0xb0, 0x00, 0x65, 0xd7, 0x3c, 0x78, 0x75,
	0x76, 0x65, 0xff, 0x05, 0xf8, 0xff, 0xff, 0xff, 0x81, 0x3d, 0x78, 0x03, 0x30, 0x00, 0x79,
	0x56, 0x34, 0x12, 0x75, 0x63, 0xbf, 0xf8, 0xff, 0xff, 0xff, 0xb8, 0x01, 0xef, 0xcd, 0xab,
	0x66, 0x0f, 0x6e, 0xd8, 0x66, 0x0f, 0x76, 0xc9, 0x66, 0x0f, 0x73, 0xd9, 0x0c, 0x65, 0x66,
	0x0f, 0xf7, 0xd9, 0x81, 0x3d, 0x78, 0x03, 0x30, 0x00, 0x01, 0xef, 0xcd, 0xab, 0x75, 0x3b,
	0xb8, 0xf8, 0xff, 0xff, 0xff, 0xc5, 0xf1, 0x76, 0xc9, 0xc5, 0xe9, 0xef, 0xd2, 0x65, 0xc4,
	0xe2, 0x71, 0x90, 0x04, 0x10, 0xc5, 0xf9, 0x7e, 0xc1, 0x81, 0xf9, 0x01, 0xef, 0xcd, 0xab,
	0x75, 0x1b, 0x68, 0x44, 0x33, 0x22, 0x11, 0xb8, 0xf0, 0xff, 0xff, 0xff, 0x65, 0x8f, 0x00,
	0x81, 0x3d, 0x70, 0x03, 0x30, 0x00, 0x44, 0x33, 0x22, 0x11, 0x75, 0x02, 0xe6, 0x01, 0xe6,
	0x02 };

static const struct engine *engine = &soft_engine;
static uint16_t ring;
static bool is_narrow;             /* 32-bit code */
static uint32_t count_of_cpus = 1; /* of which the first runs */

static struct {
	struct cpus *cpus;
	_Atomic bool runs;
} kicked;

static void *kick_often(void *data)
{
	const struct timespec time = { .tv_nsec = 100000 };
	while (atomic_load(&kicked.runs)) {
		nanosleep(&time, NULL);
		engine->kick(kicked.cpus, 0);
	}
	return data;
}

/* Runs it with a count in RCX: the port that it writes to in the end. */
static uint64_t port_of(const uint8_t *code, size_t bytes, uint64_t count)
{
	static const uint64_t tables[2] = { TABLES_AT + 0x1007, TABLES_AT + 0x2007 };
	struct error e = {};
	struct guest *guest;
	struct cpus *cpus;
	struct cpu_state state;
	struct cpu_exit exit = { .why = CPU_KICKED };
	if (engine->probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	for (uint64_t i = 0; i < 2; i++)
		expect(guest_write(guest, TABLES_AT + 0x1000 * i, &tables[i], 8) == 0);
	for (uint64_t i = 0; i < RAM_BYTES / (2 * MIB); i++) {
		uint64_t page = i * 2 * MIB | 0x87;
		expect(guest_write(guest, TABLES_AT + 0x2000 + 8 * i, &page, 8) == 0);
	}
	expect(guest_write(guest, CODE_AT, code, bytes) == 0);
	expect(guest_write(guest, 0, at_zero, sizeof(at_zero)) == 0);
	expect(engine->open(guest, count_of_cpus, &cpus, &e) == 0);
	cpu_state_reset(&state, 0);
	state.cr0 = 0x80050033;
	state.cr3 = TABLES_AT;
	state.cr4 = CR4_OF_64;
	state.efer = 0x500;
	state.xcr0 = 7;
	state.segments[CPU_CS].attributes = (uint16_t)(0xa09b | ring << 5);
	state.segments[CPU_CS].base = 0;
	state.segments[CPU_SS].attributes = (uint16_t)(0xc093 | ring << 5);
	if (is_narrow) {
		state.segments[CPU_CS].attributes = 0xc09b;
		for (int i = 0; i < 6; i++)
			state.segments[i].limit = UINT32_MAX;
		state.segments[CPU_GS].base = 0x300380;
	}
	state.rflags |= 0x3000;
	state.rip = CODE_AT;
	state.gpr[CPU_RCX] = count;
	state.gpr[CPU_RSP] = 0x8000;
	expect(engine->load(cpus, 0, &state) == 0);
	kicked.cpus = cpus;
	pthread_t thread;
	bool is_kicked = atomic_load(&kicked.runs);
	if (is_kicked)
		expect(pthread_create(&thread, NULL, kick_often, NULL) == 0);
	do
		expect(engine->run(cpus, 0, &exit) == 0);
	while (exit.why == CPU_KICKED && atomic_load(&kicked.runs));
	atomic_store(&kicked.runs, false);
	if (is_kicked)
		pthread_join(thread, NULL);
	expect_equal(exit.why, CPU_PORT);
	engine->close(cpus);
	guest_free(guest);
	return exit.at;
}

static void keeps_upper_halves(void)
{
	if (!__builtin_cpu_supports("avx"))
		test_skip("this processor has no AVX");
	expect_equal(port_of(vector_code, sizeof(vector_code), 100), 1);
}

static void keeps_pages_apart(void)
{
	expect_equal(port_of(pages_code, sizeof(pages_code), 4), 1);
}

static void has_flags_again(void)
{
	expect_equal(port_of(flags_code, sizeof(flags_code), 100), 1);
}

static void checks_operands_together(void)
{
	expect_equal(port_of(together_code, sizeof(together_code), 4000), 1);
}

static void leaves_pages_clean(void)
{
	expect_equal(port_of(clean_code, sizeof(clean_code), 0), 1);
}

static void has_no_branch_history(void)
{
	if (!__builtin_cpu_is("intel"))
		test_skip("this processor is not by Intel");
	expect_equal(port_of(history_code, sizeof(history_code), 0), 1);
}

static int64_t sleeps(const uint8_t *code, size_t bytes, uint64_t count)
{
	struct rusage before, after;
	expect(getrusage(RUSAGE_THREAD, &before) == 0);
	expect_equal(port_of(code, bytes, count), 1);
	expect(getrusage(RUSAGE_THREAD, &after) == 0);
	printf("# %ld sleeps\n", after.ru_nvcsw - before.ru_nvcsw);
	return after.ru_nvcsw - before.ru_nvcsw;
}

static void gives_its_processor_away(void)
{
	const uint64_t ticks = 400000000;
	uint64_t begin = __rdtsc();
	count_of_cpus = 2;
	int64_t count = sleeps(pause_code, sizeof(pause_code), ticks);
	count_of_cpus = 1;
	expect(__rdtsc() - begin >= ticks);
	/* A thousand when nobody else runs: how much of the time that is depends on the machine. */
	expect(count > 20);
}

static void sleeps_for_others_only(void)
{
	int64_t alone = sleeps(counted_code, sizeof(counted_code), 20000);
	count_of_cpus = 2;
	int64_t with_another = sleeps(counted_code, sizeof(counted_code), 20000);
	int64_t at_work = sleeps(working_code, sizeof(working_code), 500);
	count_of_cpus = 1;
	expect(alone < 100);
	expect(with_another > 200);
	expect(at_work < 100);
}

static void runs_in_all_rings(void)
{
	for (ring = 0; ring < 4; ring++)
		expect_equal(port_of(loop_code, sizeof(loop_code), 1000), 1);
	ring = 0;
}

static void ends_at_4_gib(void)
{
	if (!__builtin_cpu_supports("avx2"))
		test_skip("this processor has no AVX2");
	is_narrow = true;
	expect_equal(port_of(narrow_code, sizeof(narrow_code), 0), 1);
	is_narrow = false;
}

/* Somebody wants its attention while it does, and it must not take what is nowhere for code at 0. */
static void jumps_to_zero(void)
{
	atomic_store(&kicked.runs, true);
	expect_equal(port_of(zero_code, sizeof(zero_code), 60000), 1);
	engine = &soft_lockstep_engine;
	atomic_store(&kicked.runs, true);
	uint64_t port = port_of(zero_code, sizeof(zero_code), 10000);
	engine = &soft_engine;
	expect_equal(port, 1);
}

static const struct test tests[] = {
	{ "a jump to address 0 finds what is there, whoever calls meanwhile", jumps_to_zero },
	{ "64-bit code runs in all rings, also where it is only interpreted", runs_in_all_rings },
	{ "addresses of 32-bit code end at 4 GiB, in long mode, too", ends_at_4_gib },
	{ "upper halves of vectors are kept, all 0 or not", keeps_upper_halves },
	{ "pages that share slots of the TLB are kept apart", keeps_pages_apart },
	{ "flags are had again", has_flags_again },
	{ "operands that are checked together may reach over the end of a page",
		checks_operands_together },
	{ "a write that does not happen leaves its page clean", leaves_pages_clean },
	{ "branch history is the control's of the CPU, not the kernel's", has_no_branch_history },
	{ "a CPU that spins for long gives its processor away", gives_its_processor_away },
	{ "but none that is alone, or does something else in between", sleeps_for_others_only },
};
TEST_MAIN(tests)
