/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"
#include "vmm/soft/soft.h"

#define CODE_AT   0x2080u
#define TABLES_AT 0x10000u

static const uint8_t code[] = {
	0xff, 0xc9, /* dec ecx */
	0x75, 0xfc, /* jne CODE_AT */
	0xe6, 0x01, /* out 1, al */
};

static void count_down(struct guest *guest, struct cpus *cpus, uint32_t number)
{
	static const uint64_t tables[3] = { TABLES_AT + 0x1007, TABLES_AT + 0x2007, 0x87 };
	struct cpu_exit exit = { .why = CPU_KICKED };
	struct cpu_state state;
	for (uint64_t i = 0; i < 3; i++)
		expect_equal(guest_write(guest, TABLES_AT + 0x1000 * i, &tables[i], 8), 0);
	expect_equal(guest_write(guest, CODE_AT, code, sizeof(code)), 0);
	cpu_state_reset(&state, number);
	state.cr0 = 0x80050033;
	state.cr3 = TABLES_AT;
	state.cr4 = 0x620;
	state.efer = 0x500;
	state.segments[CPU_CS].attributes = 0xa09b;
	state.segments[CPU_CS].base = 0;
	state.rip = CODE_AT;
	state.activity = CPU_ACTIVE;
	state.gpr[CPU_RCX] = 1000;
	expect_equal(cpus->engine->load(cpus, number, &state), 0);
	do
		expect_equal(cpus->engine->run(cpus, number, &exit), 0);
	while (exit.why == CPU_KICKED);
	expect_equal(exit.why, CPU_PORT);
}

/* How many lines the map has for the code; all are whole. */
static uint32_t lines(const char *name)
{
	uint32_t found = 0;
	FILE *file = fopen(name, "r");
	unsigned long hot, hot_end, cold, cold_end, physical;
	unsigned mode, count;
	int words;
	expect(file != NULL);
	while ((words = fscanf(file, "%lx %lx %lx %lx %lx %u %u\n", &hot, &hot_end, &cold,
			&cold_end, &physical, &mode, &count)) == 7) {
		expect(hot < hot_end && cold <= cold_end && count > 0);
		found += physical == CODE_AT;
	}
	fclose(file);
	expect_equal(words, EOF);
	return found;
}

static void tells_where_code_is(void)
{
	char dir[] = "/tmp/berth-code-map.XXXXXX", name[64];
	struct error e = {};
	struct guest *guest;
	struct cpus *cpus, *second;
	if (soft_mapped_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	snprintf(name, sizeof(name), "berth-code-%d.map", (int)getpid());
	expect(mkdtemp(dir) && chdir(dir) == 0);
	test_removes_at_end(dir);
	expect_equal(guest_new(&guest, &e), 0);
	expect_equal(guest_add(guest, 0, MIB, GUEST_RAM, &e), 0);
	expect_equal(soft_mapped_engine.open(guest, 2, &cpus, &e), 0);
	/* Whoever put it there: it is not written over. */
	expect_equal(soft_mapped_engine.open(guest, 1, &second, &e), -EEXIST);
	expect_contains(e.text, name);
	count_down(guest, cpus, 0);
	uint32_t of_one = lines(name);
	expect(of_one > 0);
	count_down(guest, cpus, 1);
	expect_equal(lines(name), 2 * of_one);
	soft_mapped_engine.close(cpus);
	guest_free(guest);
	expect(unlink(name) == 0 && chdir("/") == 0 && rmdir(dir) == 0);
}

static const struct test tests[] = {
	{ "the map of the code says where the guest's code stands", tells_where_code_is },
};
TEST_MAIN(tests)
