/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "vmm/soft/code.h"
#include "vmm/soft/shared.h"
#include "vmm/soft/soft.h"

#define MAIN_AT   0x2000u
#define AFTER_AT  0x2080u
#define WRITER_AT 0x3000u
#define TABLES_AT 0x10000u

/*
 * A return leads to a block that begins with a jump, to a block that was translated before it; then both are
 * written. What comes back to the first must find its way, whatever became of the jump.
 */
static const uint8_t main_code[] = {
	0xe8, 0xfb, 0x0f, 0x00, 0x00,       /* 2000: call WRITER_AT */
	0x84, 0xc0,                         /* 2005: test al, al */
	0x0f, 0x84, 0x73, 0x00, 0x00, 0x00, /* je AFTER_AT */
	0xe6, 0x02,                         /* out 2, al */
};
static const uint8_t after_code[] = {
	0xff, 0xc9,                         /* 2080: dec ecx */
	0x0f, 0x85, 0x78, 0xff, 0xff, 0xff, /* jne MAIN_AT */
	0xe6, 0x01,                         /* out 1, al */
};
/* In the last round but one it writes what stands there already. */
static const uint8_t writer_code[] = {
	0x31, 0xc0,                                     /* xor eax, eax */
	0x83, 0xf9, 0x02,                               /* cmp ecx, 2 */
	0x75, 0x08,                                     /* jne to the return */
	0xc6, 0x04, 0x25, 0x05, 0x20, 0x00, 0x00, 0x84, /* mov byte [0x2005], 0x84 */
	0xc3,                                           /* ret */
};

static void comes_back_to_code_that_was_written(void)
{
	static const uint64_t tables[3] = { TABLES_AT + 0x1007, TABLES_AT + 0x2007, 0x87 };
	struct error e = {};
	struct guest *guest;
	struct cpus *cpus;
	struct cpu_state state;
	struct cpu_exit exit = { .why = CPU_KICKED };
	if (soft_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, MIB, GUEST_RAM, &e) == 0);
	for (uint64_t i = 0; i < 3; i++)
		expect(guest_write(guest, TABLES_AT + 0x1000 * i, &tables[i], 8) == 0);
	expect(guest_write(guest, MAIN_AT, main_code, sizeof(main_code)) == 0);
	expect(guest_write(guest, AFTER_AT, after_code, sizeof(after_code)) == 0);
	expect(guest_write(guest, WRITER_AT, writer_code, sizeof(writer_code)) == 0);
	expect(soft_engine.open(guest, 1, &cpus, &e) == 0);
	cpu_state_reset(&state, 0);
	state.cr0 = 0x80050033;
	state.cr3 = TABLES_AT;
	state.cr4 = 0x620;
	state.efer = 0x500;
	state.segments[CPU_CS].attributes = 0xa09b;
	state.segments[CPU_CS].base = 0;
	state.rip = AFTER_AT;
	state.gpr[CPU_RCX] = 40;
	state.gpr[CPU_RSP] = 0x8000;
	expect(soft_engine.load(cpus, 0, &state) == 0);
	expect(soft_engine.run(cpus, 0, &exit) == 0);
	expect_equal(exit.why, CPU_PORT);
	expect_equal(exit.at, 1);
	soft_engine.close(cpus);
	guest_free(guest);
}

#define SPACE_AT    0x20000u
#define OTHER_AT    0x30000u
#define USER_AT     0x3000u
#define KERNEL_AT   0x5000u
#define ONE_AT      0x40000u
#define TWO_AT      0x41000u
#define CALLEE_AT   0x200000u
#define USER_ROUNDS 400

/* Calls another page, by its distance and by its address, and says what the calls have answered wrongly. */
static const uint8_t user_code[] = {
	0xe8, 0xfb, 0xcf, 0x1f, 0x00, /* 3000: call CALLEE_AT */
	0x29, 0xf8,                   /* sub eax, edi */
	0x09, 0xc3,                   /* or ebx, eax */
	0xff, 0xd2,                   /* call rdx */
	0x29, 0xf8,                   /* sub eax, edi */
	0x09, 0xc3,                   /* or ebx, eax */
	0x83, 0xf7, 0x03,             /* xor edi, 3 */
	0x0f, 0x05,                   /* syscall */
	0xff, 0xce,                   /* dec esi */
	0x75, 0xe8,                   /* jne USER_AT */
	0xe6, 0x01,                   /* out 1, al */
};
static const uint8_t kernel_code[] = {
	0x0f, 0x20, 0xd8,                   /* mov rax, cr3 */
	0x48, 0x35, 0x00, 0x00, 0x01, 0x00, /* xor rax, SPACE_AT ^ OTHER_AT */
	0x0f, 0x22, 0xd8,                   /* mov cr3, rax */
	0x48, 0x0f, 0x07,                   /* sysretq */
};

/* An address space whose page at CALLEE_AT is this one. */
static void write_space(struct guest *guest, guest_addr at, guest_addr callee)
{
	const uint64_t entries[][2] = {
		{ at, at + 0x1007 },
		{ at + 0x1000, at + 0x2007 },
		{ at + 0x2000, 0x87 },
		{ at + 0x2008, at + 0x3007 },
		{ at + 0x3000, callee | 7 },
	};
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
		expect(guest_write(guest, entries[i][0], &entries[i][1], 8) == 0);
}

/* Both spaces have the caller in common. What it calls is the same page in both, or not. */
static void calls_in_two_spaces(bool is_same)
{
	static const uint8_t one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };
	struct error e = {};
	struct guest *guest;
	struct cpus *cpus;
	struct cpu_state state;
	struct cpu_exit exit = { .why = CPU_KICKED };
	if (soft_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, MIB, GUEST_RAM, &e) == 0);
	write_space(guest, SPACE_AT, ONE_AT);
	write_space(guest, OTHER_AT, is_same ? ONE_AT : TWO_AT);
	expect(guest_write(guest, USER_AT, user_code, sizeof(user_code)) == 0);
	expect(guest_write(guest, KERNEL_AT, kernel_code, sizeof(kernel_code)) == 0);
	expect(guest_write(guest, ONE_AT, one, sizeof(one)) == 0);
	expect(guest_write(guest, TWO_AT, two, sizeof(two)) == 0);
	expect(soft_engine.open(guest, 1, &cpus, &e) == 0);
	cpu_state_reset(&state, 0);
	state.cr0 = 0x80050033;
	state.cr3 = SPACE_AT;
	state.cr4 = 0x620;
	state.efer = 0x501;
	state.star = UINT64_C(0x23) << 48 | UINT64_C(0x10) << 32;
	state.lstar = KERNEL_AT;
	state.rflags = 0x3002;
	state.segments[CPU_CS].selector = 0x33;
	state.segments[CPU_CS].attributes = 0xa0fb;
	state.segments[CPU_CS].base = 0;
	state.segments[CPU_SS].selector = 0x2b;
	state.segments[CPU_SS].attributes = 0xc0f3;
	state.rip = USER_AT;
	state.gpr[CPU_RBX] = 0;
	state.gpr[CPU_RDX] = CALLEE_AT;
	state.gpr[CPU_RDI] = 1;
	state.gpr[CPU_RSI] = USER_ROUNDS;
	state.gpr[CPU_RSP] = 0x8000;
	expect(soft_engine.load(cpus, 0, &state) == 0);
	expect(soft_engine.run(cpus, 0, &exit) == 0);
	expect_equal(exit.why, CPU_PORT);
	expect_equal(exit.at, 1);
	expect(soft_engine.save(cpus, 0, &state) == 0);
	if (is_same)
		expect_equal(state.gpr[CPU_RBX], 0xffffffff); /* 1 - 2, in each other round */
	else
		expect_equal(state.gpr[CPU_RBX], 0);
	soft_engine.close(cpus);
	guest_free(guest);
}

static void calls_what_each_space_has(void)
{
	calls_in_two_spaces(false);
}

static void calls_what_both_spaces_have(void)
{
	calls_in_two_spaces(true);
}

#define MUCH_AT  0x200000u
#define PAIRS    250000u
#define ROUNDS   20u /* more than it is interpreted first */
#define COUNT_AT 0x8000u
#define MANY     16u /* CPUs: each has 16 MiB for its code */

/* Straight on through more code than there is memory for when it is translated, several times. */
static void forgets_what_does_not_fit(void)
{
	static const uint64_t tables[3] = { TABLES_AT + 0x1007, TABLES_AT + 0x2007, 0x87 };
	static const uint8_t pair[] = { 0x48, 0x01, 0x06, /* add [rsi], rax */
		0x48, 0x83, 0xf6, 0x08 };                 /* xor rsi, 8 */
	const uint64_t large = 0x200087;
	uint64_t counts[2];
	struct error e = {};
	struct guest *guest;
	struct cpus *cpus;
	struct cpu_state state;
	struct cpu_exit exit = { .why = CPU_KICKED };
	if (soft_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, 4 * MIB, GUEST_RAM, &e) == 0);
	for (uint64_t i = 0; i < 3; i++)
		expect(guest_write(guest, TABLES_AT + 0x1000 * i, &tables[i], 8) == 0);
	expect(guest_write(guest, TABLES_AT + 0x2008, &large, 8) == 0);
	guest_addr at = MUCH_AT;
	for (uint32_t i = 0; i < PAIRS; i++, at += sizeof(pair))
		expect(guest_write(guest, at, pair, sizeof(pair)) == 0);
	int32_t back = (int32_t)(MUCH_AT - (at + 8));
	uint8_t last[10] = { 0xff, 0xc9, 0x0f, 0x85, 0, 0, 0, 0, 0xe6, 0x01 }; /* dec; jnz; out */
	memcpy(last + 4, &back, sizeof(back));
	expect(guest_write(guest, at, last, sizeof(last)) == 0);
	expect(soft_translator_engine.open(guest, MANY, &cpus, &e) == 0);
	cpu_state_reset(&state, 0);
	state.cr0 = 0x80050033;
	state.cr3 = TABLES_AT;
	state.cr4 = 0x620;
	state.efer = 0x500;
	state.segments[CPU_CS].attributes = 0xa09b;
	state.segments[CPU_CS].base = 0;
	state.rip = MUCH_AT;
	state.gpr[CPU_RCX] = ROUNDS;
	state.gpr[CPU_RAX] = 1;
	state.gpr[CPU_RSI] = COUNT_AT;
	expect(soft_translator_engine.load(cpus, 0, &state) == 0);
	expect(soft_translator_engine.run(cpus, 0, &exit) == 0);
	expect_equal(exit.why, CPU_PORT);
	expect_equal(exit.at, 1);
	expect(guest_read(guest, COUNT_AT, counts, sizeof(counts)) == 0);
	expect_equal(counts[0] + counts[1], ROUNDS * PAIRS);
	const struct native *native = ((struct soft *)(void *)cpus)->cpu[0]->native;
	expect(native->flushes > 0);
	expect_equal(native->mapped, 16 * MIB);
	expect(native->used <= native->cold && native->cold_used <= native->bytes);
	soft_translator_engine.close(cpus);
	guest_free(guest);
}

static const struct test tests[] = {
	{ "code beyond the memory for it is forgotten, found again, and right",
		forgets_what_does_not_fit },
	{ "a user's calls lead to the page that the address space has, whatever the one before had",
		calls_what_each_space_has },
	{ "a user's calls lead to the page that both address spaces have",
		calls_what_both_spaces_have },
	{ "a return finds its way when the code it leads to was written",
		comes_back_to_code_that_was_written },
};
TEST_MAIN(tests)
