/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
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
	state.gpr[CPU_RCX] = 10;
	state.gpr[CPU_RSP] = 0x8000;
	expect(soft_engine.load(cpus, 0, &state) == 0);
	expect(soft_engine.run(cpus, 0, &exit) == 0);
	expect_equal(exit.why, CPU_PORT);
	expect_equal(exit.at, 1);
	soft_engine.close(cpus);
	guest_free(guest);
}

static const struct test tests[] = {
	{ "a return finds its way when the code it leads to was written",
		comes_back_to_code_that_was_written },
};
TEST_MAIN(tests)
