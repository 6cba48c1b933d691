/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "test.h"
#include "vmm/assemble.h"
#include "vmm/engines.h"

#define OUTPUT_MAX 4096

struct run {
	struct loop *loop;
	struct assembly assembly;
	char kernel[4096];
	char output[OUTPUT_MAX];
	size_t count;
	size_t stop_at; /* bytes of output */
	enum machine_end end;
	int code;
	bool has_ended;
	struct source *wake;
};

static void output(void *data, const uint8_t *bytes, size_t count)
{
	struct run *run = data;
	for (size_t i = 0; i < count && run->count < OUTPUT_MAX - 1; i++)
		run->output[run->count++] = (char)bytes[i];
	if (run->count != run->stop_at)
		return;
	/* Here and now, not when the loop gets to it. */
	vcpus_stop_here(run->assembly.machine->vcpus);
	loop_wake(run->wake);
}

static void ended(void *data, enum machine_end end, int code)
{
	struct run *run = data;
	run->end = end;
	run->code = code;
	run->has_ended = true;
	loop_stop(run->loop, 0);
}

static void enough(void *data)
{
	struct run *run = data;
	loop_stop(run->loop, 1);
}

static const struct engine *engine_or_skip(const char *name)
{
	const struct engine *engine = NULL;
	char reason[ENGINE_REASON_SIZE];
	struct error e = {};
	if (engine_choose(name, &engine, reason, &e) < 0 || engine->probe(&e) < 0)
		test_skip("%.200s", e.text);
	return engine;
}

static void assemble(struct run *run, const struct engine *engine, const char *guest)
{
	struct error e = {};
	*run = (struct run){};
	snprintf(run->kernel, sizeof(run->kernel), "%s/%s.elf", getenv("GUESTS"), guest);
	const struct plan plan = {
		.name = guest,
		.cpus = 1,
		.memory_bytes = 4 * MIB,
		.kernel = run->kernel,
		.append = "",
		.has_rng = true,
		.has_balloon = true,
		.exit_port = 0xf4,
	};
	if (loop_new(&run->loop, &e) < 0 || loop_add_wake(run->loop, enough, run, &run->wake) < 0 ||
		assembly_init(&run->assembly, &plan, engine, run->loop, &e) < 0 ||
		assembly_boot(&run->assembly, &e) < 0 ||
		machine_start(run->assembly.machine, &e) < 0)
		test_fail("%s", e.text);
	struct machine *machine = run->assembly.machine;
	machine->ended = ended;
	machine->data = run;
	machine->serial.output = output;
	machine->serial.data = run;
}

static void run_done(struct run *run)
{
	assembly_done(&run->assembly);
	source_free(run->wake);
	loop_free(run->loop);
}

static void go(struct run *run)
{
	struct error e = {};
	if (machine_go(run->assembly.machine, &e) < 0)
		test_fail("%s", e.text);
	expect(loop_run(run->loop) >= 0);
}

static void counts(const char *engine, const char *guest)
{
	struct run run;
	assemble(&run, engine_or_skip(engine), guest);
	go(&run);
	expect_text(run.output, "abcdefghijklmnopqrstuvwxyz");
	expect_equal(run.end, MACHINE_EXIT);
	expect_equal(run.code, 7);
	run_done(&run);
}

static void counts_under_kvm(void)
{
	counts("kvm", "count");
}

static void counts_under_soft(void)
{
	counts("soft", "count");
	counts("soft", "vectors");
}

static void copy_memory(const struct guest *from, const struct guest *to)
{
	char page[4096];
	for (uint64_t at = 0; at < 4 * MIB; at += sizeof(page)) {
		expect(guest_read(from, at, page, sizeof(page)) == 0);
		expect(guest_write(to, at, page, sizeof(page)) == 0);
	}
}

/*
 * Stops after `letters`, saves, loads into a new machine, which goes on to the end. False if the guest
 * was at its end before it could be stopped.
 */
static bool moves(const char *first, const char *second, const char *guest, size_t letters)
{
	static struct run one, two;
	cleanup(state_done) struct state state = {};
	struct error e = {};
	const struct engine *from = engine_or_skip(first), *to = engine_or_skip(second);
	assemble(&one, from, guest);
	one.stop_at = letters;
	go(&one);
	machine_pause(one.assembly.machine);
	if (one.count == 26) {
		run_done(&one);
		return false;
	}
	if (machine_save(one.assembly.machine, &state, &e) < 0)
		test_fail("%s", e.text);
	assemble(&two, to, guest);
	copy_memory(one.assembly.machine->guest, two.assembly.machine->guest);
	if (machine_load(two.assembly.machine, &state, &e) < 0)
		test_fail("%s", e.text);
	machine_resume(two.assembly.machine);
	expect(loop_run(two.loop) >= 0);
	expect_equal(two.end, MACHINE_EXIT);
	expect_equal(two.code, 7);
	one.output[one.count] = '\0';
	expect_equal(one.count + two.count, 26);
	expect_text(two.output, &"abcdefghijklmnopqrstuvwxyz"[one.count]);
	run_done(&two);
	run_done(&one);
	return true;
}

static void moves_under_kvm(void)
{
	bool has_moved = false;
	for (size_t letters = 1; letters < 26; letters += 8)
		has_moved |= moves("kvm", "kvm", "count", letters);
	expect(has_moved);
}

static void moves_under_soft(void)
{
	bool has_moved = false;
	for (size_t letters = 1; letters < 26; letters += 8)
		has_moved |= moves("soft", "soft", "vectors", letters);
	expect(has_moved);
}

static void moves_between(void)
{
	bool has_moved = false;
	for (int i = 0; i < 5; i++) {
		bool there = moves("kvm", "soft", "count", 10);
		bool back = moves("soft", "kvm", "count", 2);
		has_moved |= there && back;
	}
	expect(has_moved);
}

static void registers_at_end(
	const struct engine *engine, const char *guest, int code, struct cpu_state *state)
{
	struct run run;
	assemble(&run, engine, guest);
	go(&run);
	expect_equal(run.code, code);
	struct machine *machine = run.assembly.machine;
	expect_equal(machine->cpus->engine->save(machine->cpus, 0, state), 0);
	run_done(&run);
}

static void agree_on(const char *guest, int code)
{
	static struct cpu_state kvm, soft;
	registers_at_end(engine_or_skip("kvm"), guest, code, &kvm);
	registers_at_end(engine_or_skip("soft"), guest, code, &soft);
	for (size_t i = 0; i < 16; i++)
		expect_equal(kvm.gpr[i], soft.gpr[i]);
	expect_equal(kvm.rip, soft.rip);
	/* All but what the last instructions leave undefined. */
	expect_equal(kvm.rflags & 0xffffff2a, soft.rflags & 0xffffff2a);
	for (size_t i = 0; i < ARRAY_SIZE(kvm.segments); i++) {
		expect_equal(kvm.segments[i].base, soft.segments[i].base);
		expect_equal(kvm.segments[i].limit, soft.segments[i].limit);
	}
	expect_equal(kvm.cr0, soft.cr0);
	expect_equal(kvm.cr3, soft.cr3);
	expect_equal(kvm.cr4, soft.cr4);
	expect_equal(kvm.efer, soft.efer);
}

static void agree(void)
{
	static const struct {
		const char *guest;
		int code;
	} guests[] = { { "compute", 9 }, { "hello", 42 }, { "count", 7 } };
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++)
		agree_on(guests[i].guest, guests[i].code);
}

static void ends(const char *engine, const char *guest, enum machine_end end)
{
	struct run run;
	assemble(&run, engine_or_skip(engine), guest);
	go(&run);
	expect_equal(run.end, end);
	run_done(&run);
}

static void ends_are_told_apart_under_kvm(void)
{
	ends("kvm", "off", MACHINE_OFF);
	ends("kvm", "fault", MACHINE_FAULT);
	ends("kvm", "reset", MACHINE_RESET);
}

static void ends_are_told_apart_under_soft(void)
{
	ends("soft", "off", MACHINE_OFF);
	ends("soft", "fault", MACHINE_FAULT);
	ends("soft", "reset", MACHINE_RESET);
}

static void starts_again(const char *engine)
{
	struct run run;
	struct error e = {};
	assemble(&run, engine_or_skip(engine), "reset");
	go(&run);
	for (int i = 0; i < 2; i++) {
		expect_equal(run.end, MACHINE_RESET);
		if (machine_reset(run.assembly.machine, &e) < 0 ||
			assembly_boot(&run.assembly, &e) < 0)
			test_fail("%s", e.text);
		go(&run);
	}
	expect_equal(run.end, MACHINE_EXIT);
	expect_equal(run.code, 5);
	run_done(&run);
}

static void starts_again_under_kvm(void)
{
	starts_again("kvm");
}

static void starts_again_under_soft(void)
{
	starts_again("soft");
}

static const struct test tests[] = {
	{ "kvm: a guest counts in registers, memory and on the stack", counts_under_kvm },
	{ "soft: a guest counts in registers, memory, on the stack and in vectors",
		counts_under_soft },
	{ "kvm: a saved guest goes on in another machine", moves_under_kvm },
	{ "soft: a saved guest goes on in another machine", moves_under_soft },
	{ "a guest moves from kvm to soft and from soft to kvm", moves_between },
	{ "both engines end with the same registers", agree },
	{ "kvm: off, reset and triple fault are told apart", ends_are_told_apart_under_kvm },
	{ "soft: off, reset and triple fault are told apart", ends_are_told_apart_under_soft },
	{ "kvm: a reset guest starts again with its memory as at first", starts_again_under_kvm },
	{ "soft: a reset guest starts again with its memory as at first", starts_again_under_soft },
};
TEST_MAIN(tests)
