/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "test.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/cpuid.h"
#include "vmm/soft/soft.h"

#define CODE_AT   0x2000u
#define IMAGE_AT  0x3800u /* over the end of a page */
#define TABLES_AT 0x10000u
#define RAM_BYTES (4 * MIB)
#define CR4_OF_64 UINT64_C(0x40620) /* OSXSAVE, OSXMMEXCPT, OSFXSR, PAE */
#define XCR0_ALL  UINT64_C(0xe7)

#define FEATURES_B 0xd0230000u /* of leaf 7: F DQ IFMA CD BW VL */
#define FEATURES_C 0x00005842u /* VBMI VBMI2 VNNI BITALG VPOPCNTDQ */

/*
 * In each round, RCX, ZMM3, ZMM20 and K2 hold its number and keep it over CPUID, which leaves translated code. XSAVE
 * writes all components; in odd rounds they are cleared then and XSAVEOPT finds none in use; XRSTOR brings back what the
 * header says.
 *
 *  top:
 *	vpbroadcastq zmm3, rcx
 *	vpbroadcastq zmm20, rcx
 *	kmovq k2, rcx
 *	mov edi, ecx
 *	xor eax, eax
 *	xor ecx, ecx
 *	cpuid
 *	valignq zmm5, zmm3, zmm3, 7
 *	vmovq rax, xmm5
 *	cmp rax, rdi
 *	jne 2f
 *	valignq zmm5, zmm20, zmm20, 7
 *	vmovq rax, xmm5
 *	cmp rax, rdi
 *	jne 2f
 *	kmovq rax, k2
 *	cmp rax, rdi
 *	jne 2f
 *	mov eax, -1
 *	mov edx, eax
 *	xsave [rsi]
 *	test edi, 1
 *	jz 1f
 *	vzeroupper
 *	vpxord zmm20, zmm20, zmm20
 *	kxorq k2, k2, k2
 *	xsaveopt [rsi]
 *	mov rax, [rsi+512]
 *	and eax, 0xe4
 *	jnz 2f
 *	jmp 3f
 *	1:	vpxord zmm20, zmm20, zmm20
 *	mov rax, [rsi+512]
 *	and eax, 0xe4
 *	cmp eax, 0xe4
 *	jne 2f
 *	3:	mov eax, -1
 *	xrstor [rsi]
 *	valignq zmm5, zmm3, zmm3, 7
 *	vmovq rax, xmm5
 *	valignq zmm6, zmm20, zmm20, 7
 *	vmovq rdx, xmm6
 *	kmovq rbx, k2
 *	test edi, 1
 *	mov r8d, 0
 *	cmovz r8, rdi
 *	cmp rax, r8
 *	jne 2f
 *	cmp rdx, r8
 *	jne 2f
 *	cmp rbx, r8
 *	jne 2f
 *	mov ecx, edi
 *	dec ecx
 *	jnz top
 *	out 1, al
 *	2:	out 2, al
 */
static const uint8_t rounds_code[] = { 0x62, 0xf2, 0xfd, 0x48, 0x7c, 0xd9, 0x62, 0xe2, 0xfd, 0x48,
	0x7c, 0xe1, 0xc4, 0xe1, 0xfb, 0x92, 0xd1, 0x89, 0xcf, 0x31, 0xc0, 0x31, 0xc9, 0x0f, 0xa2,
	0x62, 0xf3, 0xe5, 0x48, 0x03, 0xeb, 0x07, 0xc4, 0xe1, 0xf9, 0x7e, 0xe8, 0x48, 0x39, 0xf8,
	0x0f, 0x85, 0xbf, 0x00, 0x00, 0x00, 0x62, 0xb3, 0xdd, 0x40, 0x03, 0xec, 0x07, 0xc4, 0xe1,
	0xf9, 0x7e, 0xe8, 0x48, 0x39, 0xf8, 0x0f, 0x85, 0xaa, 0x00, 0x00, 0x00, 0xc4, 0xe1, 0xfb,
	0x93, 0xc2, 0x48, 0x39, 0xf8, 0x0f, 0x85, 0x9c, 0x00, 0x00, 0x00, 0xb8, 0xff, 0xff, 0xff,
	0xff, 0x89, 0xc2, 0x0f, 0xae, 0x26, 0xf7, 0xc7, 0x01, 0x00, 0x00, 0x00, 0x74, 0x21, 0xc5,
	0xf8, 0x77, 0x62, 0xa1, 0x5d, 0x40, 0xef, 0xe4, 0xc4, 0xe1, 0xec, 0x47, 0xd2, 0x0f, 0xae,
	0x36, 0x48, 0x8b, 0x86, 0x00, 0x02, 0x00, 0x00, 0x25, 0xe4, 0x00, 0x00, 0x00, 0x75, 0x6b,
	0xeb, 0x19, 0x62, 0xa1, 0x5d, 0x40, 0xef, 0xe4, 0x48, 0x8b, 0x86, 0x00, 0x02, 0x00, 0x00,
	0x25, 0xe4, 0x00, 0x00, 0x00, 0x3d, 0xe4, 0x00, 0x00, 0x00, 0x75, 0x50, 0xb8, 0xff, 0xff,
	0xff, 0xff, 0x0f, 0xae, 0x2e, 0x62, 0xf3, 0xe5, 0x48, 0x03, 0xeb, 0x07, 0xc4, 0xe1, 0xf9,
	0x7e, 0xe8, 0x62, 0xb3, 0xdd, 0x40, 0x03, 0xf4, 0x07, 0xc4, 0xe1, 0xf9, 0x7e, 0xf2, 0xc4,
	0xe1, 0xfb, 0x93, 0xda, 0xf7, 0xc7, 0x01, 0x00, 0x00, 0x00, 0x41, 0xb8, 0x00, 0x00, 0x00,
	0x00, 0x4c, 0x0f, 0x44, 0xc7, 0x4c, 0x39, 0xc0, 0x75, 0x16, 0x4c, 0x39, 0xc2, 0x75, 0x11,
	0x4c, 0x39, 0xc3, 0x75, 0x0c, 0x89, 0xf9, 0xff, 0xc9, 0x0f, 0x85, 0x15, 0xff, 0xff, 0xff,
	0xe6, 0x01, 0xe6, 0x02 };

struct side {
	struct guest *guest;
	struct cpus *cpus;
};

static void open_side(struct side *side, const struct engine *engine)
{
	static const uint64_t tables[2] = { TABLES_AT + 0x1007, TABLES_AT + 0x2007 };
	struct error e = {};
	if (engine->probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&side->guest, &e) == 0);
	expect(guest_add(side->guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	for (uint64_t i = 0; i < 2; i++)
		expect(guest_write(side->guest, TABLES_AT + 0x1000 * i, &tables[i], 8) == 0);
	for (uint64_t i = 0; i < RAM_BYTES / (2 * MIB); i++) {
		uint64_t page = i * 2 * MIB | 0x87;
		expect(guest_write(side->guest, TABLES_AT + 0x2000 + 8 * i, &page, 8) == 0);
	}
	expect(engine->open(side->guest, 1, &side->cpus, &e) == 0);
}

static void close_side(struct side *side)
{
	side->cpus->engine->close(side->cpus);
	guest_free(side->guest);
}

static struct cpu_state state_of_64(void)
{
	struct cpu_state state;
	cpu_state_reset(&state, 0);
	state.cr0 = 0x80050033;
	state.cr3 = TABLES_AT;
	state.cr4 = CR4_OF_64;
	state.efer = 0x500;
	state.xcr0 = XCR0_ALL;
	state.segments[CPU_CS].attributes = 0xa09b;
	state.segments[CPU_CS].base = 0;
	state.rip = CODE_AT;
	state.gpr[CPU_RSI] = IMAGE_AT;
	state.gpr[CPU_RSP] = 0x8000;
	return state;
}

static struct cpu_exit run(struct side *side, const uint8_t *code, size_t bytes)
{
	struct cpu_exit exit = { .why = CPU_KICKED };
	expect(guest_write(side->guest, CODE_AT, code, bytes) == 0);
	expect(side->cpus->engine->run(side->cpus, 0, &exit) == 0);
	return exit;
}

static void need_host(void)
{
	bool has_it = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512cd");
	expect_equal(cpuid_host_has(HOST_HAS_AVX512), has_it);
	if (!has_it)
		test_skip("this processor has no AVX-512");
}

static void keeps_all(void)
{
	static const struct engine *const engines[] = { &soft_engine, &soft_lockstep_engine,
		&soft_interpreter_engine };
	need_host();
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		struct side side;
		open_side(&side, engines[i]);
		struct cpu_state state = state_of_64();
		state.gpr[CPU_RCX] = 200;
		expect(engines[i]->load(side.cpus, 0, &state) == 0);
		struct cpu_exit exit = run(&side, rounds_code, sizeof(rounds_code));
		expect_equal(exit.why, CPU_PORT);
		expect_equal(exit.at, 1);
		close_side(&side);
	}
}

/* A state with each byte of components 5 to 7 in use, to a CPU and back; and what is not in use. */
static void comes_back(void)
{
	need_host();
	struct cpuid_layout at = cpuid_layout(!cpuid_host_is_amd());
	struct cpu_state state = state_of_64(), back;
	for (uint32_t i = 0; i < at.bytes - at.opmask; i++)
		state.xsave[at.opmask + i] = (uint8_t)(i * 7 + i / 256 + 1);
	state.xsave[512] = 0xe3;
	for (uint32_t used = 0; used < 8; used++) {
		struct side side;
		open_side(&side, &soft_engine);
		state.xsave[512] = (uint8_t)(3 | used << 5);
		expect(soft_engine.load(side.cpus, 0, &state) == 0);
		expect(soft_engine.save(side.cpus, 0, &back) == 0);
		expect_equal(back.xcr0, XCR0_ALL);
		expect_equal(back.xsave[512] & 0xe0, used << 5);
		static const uint8_t zero[1024];
		const struct {
			uint32_t at, bytes;
		} parts[] = { { at.opmask, 64 }, { at.upper, 512 }, { at.more, 1024 } };
		for (uint32_t i = 0; i < 3; i++)
			expect(memcmp(back.xsave + parts[i].at,
				       used >> i & 1 ? state.xsave + parts[i].at : zero,
				       parts[i].bytes) == 0);
		close_side(&side);
	}
}

static void refuses_parts(void)
{
	static const uint64_t wrong[] = { 0x27, 0x47, 0x87, 0xc7, 0xa7, 0xe3, 0xe1, 0xe5, 0xe6,
		0x1e7, 0x202e7, 0xf };
	struct side side;
	open_side(&side, &soft_engine);
	struct cpu_state state = state_of_64();
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		state.xcr0 = wrong[i];
		expect_equal(soft_engine.load(side.cpus, 0, &state), -EINVAL);
	}
	close_side(&side);
}

/* Intel's Ice Lake server, Sapphire Rapids, a client with AVX-VNNI, Zen 4. */
static void shows_no_model_of_more(void)
{
	bool has_512 = cpuid_host_has(HOST_HAS_AVX512);
	const uint32_t ice[3] = { FEATURES_B, 0, 0 },
		       sapphire[3] = { FEATURES_B, 0x03800000, 0x30 }, client[3] = { 0, 0, 0x10 },
		       haswell[3] = { 0x20, 0, 0 }, zen[3] = { FEATURES_B, 0, 0x20 };
	expect_equal(cpuid_signature(0x606a6, false, ice), has_512 ? 0x606a6 : 0x606f0);
	expect_equal(cpuid_signature(0x806f8, false, sapphire), 0x606f0);
	expect_equal(cpuid_signature(0xb0671, false, client), 0x606f0);
	expect_equal(cpuid_signature(0x306f2, false, haswell), 0x306f2);
	expect_equal(cpuid_signature(0xa10f11, true, zen), 0xa00f11);
}

static void query(const struct cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t regs[4])
{
	memset(regs, 0, 16);
	cpuid_query(cpu, leaf, sub, regs);
}

static void offers_what_the_host_has(void)
{
	need_host();
	struct cpu *cpu = alloc(struct cpu);
	struct cpuid_layout at = cpuid_layout(!cpuid_host_is_amd());
	uint32_t regs[4], host[4];
	cpu->is_intel = !cpuid_host_is_amd();
	cpu->soft_count = 1;
	__asm__("cpuid"
		: "=a"(host[0]), "=b"(host[1]), "=c"(host[2]), "=d"(host[3])
		: "a"(7), "c"(0));
	query(cpu, 7, 0, regs);
	expect_equal(regs[1] & FEATURES_B, host[1] & FEATURES_B);
	expect_equal(regs[2] & FEATURES_C, host[2] & FEATURES_C);
	expect_equal(regs[3] & 0x03c00100, 0); /* VP2INTERSECT, AMX, FP16 */
	query(cpu, 7, 1, regs);
	expect_equal(regs[0], 0); /* BF16 */
	const uint32_t wanted[3][2] = { { 64, at.opmask }, { 512, at.upper }, { 1024, at.more } };
	for (uint32_t i = 0; i < 3; i++) {
		query(cpu, 0xd, 5 + i, regs);
		expect_equal(regs[0], wanted[i][0]);
		expect_equal(regs[1], wanted[i][1]);
	}
	const uint32_t sizes[][2] = { { 1, 576 }, { 3, 576 }, { 7, 832 }, { XCR0_ALL, at.bytes } };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cpu->xcr0 = sizes[i][0];
		query(cpu, 0xd, 0, regs);
		expect_equal(regs[0], XCR0_ALL);
		expect_equal(regs[1], sizes[i][1]);
		expect_equal(regs[2], at.bytes);
	}
	free(cpu);
}

/* CPUID of a processor like this one without AVX-512, as long as the real one faults. */
static void answer_cpuid(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info;
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const uint8_t *code = (const uint8_t *)regs[REG_RIP];
	uint32_t a = (uint32_t)regs[REG_RAX], c = (uint32_t)regs[REG_RCX], b, d, leaf = a, sub = c;
	if (code[0] != 0x0f || code[1] != 0xa2)
		_exit(99);
	syscall(SYS_arch_prctl, 0x1012, 1);
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	syscall(SYS_arch_prctl, 0x1012, 0);
	if (leaf == 7 && sub == 0) {
		b &= ~FEATURES_B;
		c &= ~FEATURES_C;
	}
	regs[REG_RAX] = a, regs[REG_RBX] = b, regs[REG_RCX] = c, regs[REG_RDX] = d;
	regs[REG_RIP] += 2;
}

/* 0, or the number of the claim that does not hold there. */
static int without_avx512(void)
{
	static const uint8_t evex[] = { 0x62, 0xf1, 0x7c, 0x48, 0x57, 0xc0, 0xe6,
		0x01 },                                          /* vxorps zmm0, zmm0, zmm0 */
		kmov[] = { 0xc5, 0xf8, 0x93, 0xc1, 0xe6, 0x01 }, /* kmovw eax, k1 */
		vex[] = { 0xc5, 0xfc, 0x57, 0xc0, 0xe6, 0x01 };  /* vxorps ymm0, ymm0, ymm0 */
	struct sigaction action = { .sa_sigaction = answer_cpuid, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &action, NULL);
	if (syscall(SYS_arch_prctl, 0x1012, 0) < 0)
		return 77;
	struct error e = {};
	if (soft_engine.probe(&e) < 0 || !cpuid_host_has(HOST_HAS_AVX))
		return 77;
	if (cpuid_host_has(HOST_HAS_AVX512))
		return 1;
	if (setjmp(test_end)) /* a claim that does not hold has said so */
		return 98;
	struct cpu *cpu = alloc(struct cpu);
	uint32_t regs[4];
	cpu->is_intel = !cpuid_host_is_amd();
	cpu->soft_count = 1;
	cpu->xcr0 = 7;
	query(cpu, 7, 0, regs);
	if ((regs[1] & FEATURES_B) || (regs[2] & FEATURES_C))
		return 2;
	query(cpu, 0xd, 0, regs);
	if (regs[0] != 7 || regs[1] != 832 || regs[2] != 832)
		return 3;
	for (uint32_t i = 3; i < 10; i++) {
		query(cpu, 0xd, i, regs);
		if (regs[0] || regs[1])
			return 4;
	}
	free(cpu);
	struct side side;
	open_side(&side, &soft_engine);
	struct cpu_state state = state_of_64();
	if (soft_engine.load(side.cpus, 0, &state) != -ENOTSUP)
		return 5;
	state.xcr0 = 7;
	const struct {
		const uint8_t *code;
		size_t bytes;
		enum cpu_why why;
	} all[] = { { evex, sizeof(evex), CPU_SHUTDOWN }, { kmov, sizeof(kmov), CPU_SHUTDOWN },
		{ vex, sizeof(vex), CPU_PORT } };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (soft_engine.load(side.cpus, 0, &state) != 0)
			return 6;
		if (run(&side, all[i].code, all[i].bytes).why != all[i].why)
			return 7 + (int)i;
	}
	close_side(&side);
	return 0;
}

/* Before anything asks the host in this process: what it has is remembered. */
static int answer_without = -1;

static void hides_it_elsewhere(void)
{
	if (answer_without == 77)
		test_skip("this host has no AVX, or its CPUID cannot be made to fault");
	expect_equal(answer_without, 0);
}

static void ask_without(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(without_avx512());
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	answer_without = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static const struct test tests[] = {
	{ "on a host without AVX-512 a guest never sees it, and a state with it is refused",
		hides_it_elsewhere },
	{ "vectors, upper halves and opmasks are kept over exits and XSAVE", keeps_all },
	{ "components 5 to 7 come back from a state, those in use only", comes_back },
	{ "an XCR0 with some of its bits is refused", refuses_parts },
	{ "a guest is offered what the host has", offers_what_the_host_has },
	{ "no model is shown that has more than the guest", shows_no_model_of_more },
};

int main(void)
{
	ask_without();
	return test_main(tests, ARRAY_SIZE(tests));
}
