/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_soft.c - how many simple instructions a second the software CPU does: `name value unit` lines.
 *
 * usage: bench_soft [ROUNDS [soft|soft-interpreter]]
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/soft/soft.h"

#define CODE_AT 0x1000

struct workload {
	const char *name;
	const char *code; /* a body that uses RAX, RBX, RSI; RCX counts */
	size_t length;
	uint32_t instructions; /* of the body */
};

static const struct workload workloads[] = {
	/* add %rbx, %rax; xor %rax, %rbx; lea 3(%rax, %rbx), %rdx; shl $1, %rdx; sub %rdx, %rbx */
	{ "registers", "\x48\x01\xd8\x48\x31\xc3\x48\x8d\x54\x18\x03\x48\xd1\xe2\x48\x29\xd3", 17,
		5 },
	/* mov (%rsi), %rax; add $1, %rax; mov %rax, (%rsi); mov 8(%rsi), %rbx; add %rbx, 16(%rsi) */
	{ "memory", "\x48\x8b\x06\x48\x83\xc0\x01\x48\x89\x06\x48\x8b\x5e\x08\x48\x01\x5e\x10", 18,
		5 },
	/* test $1, %cl; je 1f; inc %rax; 1: push %rax; pop %rbx */
	{ "branches", "\xf6\xc1\x01\x74\x03\x48\xff\xc0\x50\x5b", 10, 5 },
	/* addps %xmm1, %xmm0; paddd %xmm2, %xmm3 */
	{ "vectors", "\x0f\x58\xc1\x66\x0f\xfe\xda", 7, 2 },
};

static uint64_t cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

static int put(struct guest *guest, uint64_t at, const void *bytes, size_t count)
{
	return guest_write(guest, at, bytes, count);
}

static int set_up(
	struct guest *guest, const struct workload *workload, struct cpus *cpus, uint64_t rounds)
{
	static const uint64_t tables[3] = { 0x11007, 0x12007, 0x87 };
	uint8_t code[64] = {};
	struct cpu_state state;
	for (uint64_t i = 0; i < 3; i++)
		if (put(guest, 0x10000 + 0x1000 * i, &tables[i], 8) < 0)
			return -1;
	memcpy(code, workload->code, workload->length);
	/* dec %rcx; jne CODE_AT; out %al, $1 */
	const uint8_t tail[] = { 0x48, 0xff, 0xc9, 0x75, (uint8_t) - (workload->length + 5), 0xe6,
		1 };
	memcpy(code + workload->length, tail, sizeof(tail));
	if (put(guest, CODE_AT, code, sizeof(code)) < 0)
		return -1;
	cpu_state_reset(&state, 0);
	state.cr0 = 0x80050033;
	state.cr3 = 0x10000;
	state.cr4 = 0x620;
	state.efer = 0x500;
	state.segments[CPU_CS].attributes = 0xa09b;
	state.segments[CPU_CS].base = 0;
	state.rip = CODE_AT;
	state.gpr[CPU_RCX] = rounds;
	state.gpr[CPU_RSI] = 0x2000;
	state.gpr[CPU_RSP] = 0x4000;
	return cpus->engine->load(cpus, 0, &state);
}

static int run(const struct workload *workload, uint64_t rounds, const struct engine *engine)
{
	cleanup(guest_free) struct guest *guest = NULL;
	struct cpus *cpus = NULL;
	struct error e = {};
	if (guest_new(&guest, &e) < 0 || guest_add(guest, 0, MIB, GUEST_RAM, &e) < 0 ||
		engine->open(guest, 1, &cpus, &e) < 0) {
		fprintf(stderr, "bench_soft: %s\n", e.text);
		return 1;
	}
	int status = set_up(guest, workload, cpus, rounds);
	uint64_t start = cpu_ns();
	struct cpu_exit end = {};
	if (status == 0)
		status = cpus->engine->run(cpus, 0, &end);
	uint64_t ns = cpu_ns() - start, count = rounds * (workload->instructions + 2);
	cpus->engine->close(cpus);
	if (status < 0 || end.why != CPU_PORT) {
		fprintf(stderr, "bench_soft: %s did not end\n", workload->name);
		return 1;
	}
	printf("%s_%s %" PRIu64 " instructions/s\n", engine->name, workload->name,
		count * NS_PER_SEC / (ns ? ns : 1));
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : 10000000;
	bool is_plain = argc > 2 && strcmp(argv[2], soft_interpreter_engine.name) == 0;
	const struct engine *engine = is_plain ? &soft_interpreter_engine : &soft_engine;
	for (size_t i = 0; i < ARRAY_SIZE(workloads); i++)
		if (run(&workloads[i], rounds, engine))
			return 1;
	return 0;
}
