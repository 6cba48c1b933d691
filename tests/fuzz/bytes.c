/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.c - random bytes as code of the software CPU, in rings 0 and 3, of 64, 32 and 16 bits: whatever they
 * do must end in the guest.
 *
 * usage: bytes [COUNT [SEED]]
 *
 * Each case begins with the same registers and tables in a page of its own, and ends with a device access,
 * a triple fault or when its time is up. A crash of the engine is a crash of this program.
 */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "test.h"
#include "vmm/soft/soft.h"

#define MEMORY    (4 * MIB)
#define TABLES_AT UINT64_C(0x10000)
#define CODE_AT   UINT64_C(0x100000)
#define CODE_STEP UINT64_C(0x1800) /* the code of some lies in two pages */
#define CASES     256              /* places for code */
#define LENGTH    96u

static uint64_t random_state;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static void put(struct guest *guest, uint64_t at, uint64_t value)
{
	expect_equal(guest_write(guest, at, &value, 8), 0);
}

/* The first 4 MiB twice, for both rings. */
static void put_tables(struct guest *guest)
{
	put(guest, TABLES_AT, (TABLES_AT + 0x1000) | 7);
	put(guest, TABLES_AT + 0x1000, (TABLES_AT + 0x2000) | 7);
	for (uint64_t i = 0; i < 4; i++)
		put(guest, TABLES_AT + 0x2000 + 8 * i, (i % 2) << 21 | 0xe7);
}

static void put_code(struct guest *guest, uint64_t at)
{
	/* Common opcodes are more common, and near each other. */
	static const uint8_t usual[] = { 0x0f, 0x48, 0x66, 0xf2, 0xf3, 0xc4, 0xc5, 0x8b, 0x89, 0xd8,
		0xdd, 0xf0, 0xff, 0x67, 0x40, 0x41, 0x4f, 0x38, 0x3a, 0x64 };
	uint8_t code[LENGTH];
	for (uint32_t i = 0; i < LENGTH; i++)
		code[i] = random64() >> 40 & 1 ? (uint8_t)(random64() >> 20)
					       : usual[(random64() >> 20) % sizeof(usual)];
	expect_equal(guest_write(guest, at, code, sizeof(code)), 0);
	guest_wrote(guest, at, sizeof(code));
}

static void make_state(struct cpu_state *state, uint64_t rip, uint32_t how)
{
	uint32_t ring = how & 1 ? 3 : 0, bits = how >> 1 & 3;
	cpu_state_reset(state, 0);
	state->cr0 = 0x80010033;
	state->cr3 = TABLES_AT;
	state->cr4 = 0x406a0 | (how & 8 ? 0x300000 : 0);
	state->efer = 0xd01;
	state->xcr0 = 7;
	state->rip = rip;
	state->rflags = 0x202 | (random64() & 0xcd5);
	for (int i = 0; i < 16; i++)
		state->gpr[i] = random64() >> 8 & 1 ? random64() & 0x3fffff : random64();
	state->gpr[CPU_RSP] = 0x300000 + (random64() & 0xfff8);
	uint32_t size = bits == 1 ? 0xc000 : bits == 2 ? 0x8000 : 0xa000;
	state->segments[CPU_CS] = (struct cpu_segment){ .selector = (uint16_t)(8 | ring),
		.attributes = (uint16_t)(size | 0x9b | ring << 5),
		.limit = 0xffffffff };
	for (int i = 0; i < 6; i++)
		if (i != CPU_CS)
			state->segments[i] =
				(struct cpu_segment){ .selector = (uint16_t)(16 | ring),
					.attributes = (uint16_t)(0xc093 | ring << 5),
					.limit = 0xffffffff };
}

struct clock {
	struct cpus *cpus;
	_Atomic bool ends;
};

static void *kick_often(void *data)
{
	struct clock *clock = data;
	const struct timespec time = { .tv_nsec = 500000 };
	while (!clock->ends) {
		nanosleep(&time, NULL);
		soft_engine.kick(clock->cpus, 0);
	}
	return NULL;
}

static uint32_t wanted_count = 3000;
static uint64_t wanted_seed = 1;

static void survives(void)
{
	struct error e = {};
	if (soft_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	cleanup(guest_free) struct guest *guest = NULL;
	struct clock clock = {};
	pthread_t thread;
	if (guest_new(&guest, &e) < 0 || guest_add(guest, 0, MEMORY, GUEST_RAM, &e) < 0 ||
		soft_engine.open(guest, 1, &clock.cpus, &e) < 0)
		test_fail("%s", e.text);
	expect_equal(pthread_create(&thread, NULL, kick_often, &clock), 0);
	random_state = wanted_seed | 1;
	for (uint32_t i = 0; i < wanted_count; i++) {
		uint64_t at = CODE_AT + i % CASES * CODE_STEP + (random64() & 0xfc0);
		struct cpu_state state;
		struct cpu_exit end = {};
		put_tables(guest);
		put_code(guest, at);
		make_state(&state, at, (uint32_t)(random64() >> 16));
		expect_equal(soft_engine.load(clock.cpus, 0, &state), 0);
		expect_equal(soft_engine.run(clock.cpus, 0, &end), 0);
	}
	clock.ends = true;
	pthread_join(thread, NULL);
	soft_engine.close(clock.cpus);
}

static const struct test tests[] = {
	{ "random bytes as code do not end the CPU", survives },
};

int main(int argc, char **argv)
{
	if (argc > 1)
		wanted_count = (uint32_t)strtoul(argv[1], NULL, 0);
	if (argc > 2)
		wanted_seed = strtoull(argv[2], NULL, 0);
	return test_main(tests, ARRAY_SIZE(tests));
}
