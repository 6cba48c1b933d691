/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_direct.c - a program of a tiny guest, run as it is and translated: where it ends, and with what, is the same.
 *
 * Its kernel is one instruction an exception: a write to the port of the vector's number, so that the registers are what
 * the program left.
 */
#include "test.h"
#include "vmm/soft/direct.h"
#include "vmm/soft/soft.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define RAM_BYTES  (16 * MIB)
#define GDT_AT     0x1000u
#define IDT_AT     0x2000u
#define TSS_AT     0x3000u
#define KERNEL_AT  0x4000u /* two bytes a vector */
#define SYSCALL_AT 0x5000u
#define STACK_AT   0x9000u /* the kernel's, its end */
#define TABLES_AT  0x10000u
#define PT_AT      (TABLES_AT + 0x3000)
#define FRAMES_AT  0x200000u /* pages of the program */
#define USER_AT    UINT64_C(0x400000)
#define DATA_PAGE  256u /* of the program's pages: those before are code */
#define DATA_AT    (USER_AT + DATA_PAGE * 4096)
#define READ_ONLY  (DATA_AT + 4 * 4096)
#define KERNELS    (DATA_AT + 6 * 4096)
#define NOTHING    (DATA_AT + 8 * 4096)
#define USER_STACK (DATA_AT + 3 * 4096)

#define PORT_OF_SYSCALL 0x80u

#define BURN    2000000u /* rounds before it, that it is worth a stay */
#define TRIES   2000
#define KICK_NS 2500000

#define CR0_64  UINT64_C(0x80050033) /* with AM, WP, NE */
#define CR4_64  UINT64_C(0x40620)    /* OSXSAVE, OSXMMEXCPT, OSFXSR, PAE */
#define EFER_64 UINT64_C(0xd01)      /* NXE, LMA, LME, SCE */

struct machine {
	const struct engine *engine;
	struct guest *guest;
	struct cpus *cpus;
};

static void put(struct guest *guest, uint64_t at, uint64_t value)
{
	expect(guest_write(guest, at, &value, 8) == 0);
}

static void put_kernel(struct guest *guest)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9a000000ffff, 0x00cf92000000ffff,
		0x00cffa000000ffff, 0x00cff2000000ffff, 0x00affa000000ffff };
	for (uint64_t i = 0; i < ARRAY_SIZE(gdt); i++)
		put(guest, GDT_AT + 8 * i, gdt[i]);
	for (uint64_t i = 0; i < 256; i++) {
		uint64_t handler = KERNEL_AT + 2 * i, dpl = i == 3 || i == 4 ? 3 : 0;
		uint8_t code[2] = { 0xe6, (uint8_t)i };
		put(guest, IDT_AT + 16 * i,
			(handler & 0xffff) | 0x10 << 16 | (0x8e00 | dpl << 13) << 32);
		put(guest, IDT_AT + 16 * i + 8, 0);
		expect(guest_write(guest, handler, code, 2) == 0);
	}
	expect(guest_write(guest, SYSCALL_AT, (uint8_t[]){ 0xe6, PORT_OF_SYSCALL }, 2) == 0);
	put(guest, TSS_AT + 4, STACK_AT);
	put(guest, TSS_AT + 0x60, UINT64_MAX); /* no ports */
	put(guest, TABLES_AT, (TABLES_AT + 0x1000) | 7);
	put(guest, TABLES_AT + 0x1000, (TABLES_AT + 0x2000) | 7);
	put(guest, TABLES_AT + 0x2000, 0x83);      /* the kernel's 2 MiB */
	put(guest, TABLES_AT + 0x2010, PT_AT | 7); /* the program's */
	for (uint64_t i = 0; i < 512; i++) {
		uint64_t frame = FRAMES_AT + i * 4096, linear = USER_AT + i * 4096;
		uint64_t rights = i < DATA_PAGE ? 7 : 7 | UINT64_C(1) << 63;
		if (linear == READ_ONLY)
			rights &= ~UINT64_C(2);
		if (linear == KERNELS)
			rights &= ~UINT64_C(4);
		if (linear == NOTHING)
			rights = 0;
		put(guest, PT_AT + 8 * i, frame | rights);
	}
}

static void open_machine(struct machine *machine, const struct engine *engine)
{
	struct error e = {};
	machine->engine = engine;
	expect(guest_new(&machine->guest, &e) == 0);
	expect(guest_add(machine->guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	put_kernel(machine->guest);
	if (engine->open(machine->guest, 1, &machine->cpus, &e) < 0)
		test_fail("%.200s", e.text);
	engine->prepare(machine->cpus, 0);
}

static void close_machine(struct machine *machine)
{
	machine->engine->close(machine->cpus);
	guest_free(machine->guest);
}

static struct cpu_segment segment(uint32_t selector, uint32_t attributes)
{
	return (struct cpu_segment){ .selector = (uint16_t)selector,
		.attributes = (uint16_t)attributes,
		.limit = 0xffffffff };
}

static void begin(struct cpu_state *state, uint64_t rip)
{
	cpu_state_reset(state, 0);
	state->cr0 = CR0_64;
	state->cr3 = TABLES_AT;
	state->cr4 = CR4_64;
	state->efer = EFER_64;
	state->xcr0 = 7;
	state->rip = rip;
	state->rflags = 0x202;
	state->star = UINT64_C(0x23) << 48 | UINT64_C(0x10) << 32;
	state->lstar = SYSCALL_AT;
	state->fmask = 0x4700;
	state->gdt = (struct cpu_table){ GDT_AT, 0x4f, 0 };
	state->idt = (struct cpu_table){ IDT_AT, 0xfff, 0 };
	state->segments[CPU_CS] = segment(0x33, 0xa0fb);
	state->segments[CPU_SS] = segment(0x2b, 0xc0f3);
	for (int i = 0; i < 6; i++)
		if (i != CPU_CS && i != CPU_SS)
			state->segments[i] = segment(0, 0);
	state->segments[CPU_TR] = (struct cpu_segment){
		.selector = 0x40, .attributes = 0x8b, .limit = 0x67, .base = TSS_AT
	};
	for (uint64_t i = 0; i < 16; i++)
		state->gpr[i] = UINT64_C(0x0123456789abcdef) * (i + 1);
	state->gpr[CPU_RSP] = USER_STACK;
}

static _Atomic bool ends;

static void *kick_often(void *data)
{
	const struct machine *machine = data;
	const struct timespec time = { .tv_nsec = KICK_NS };
	while (!atomic_load(&ends)) {
		nanosleep(&time, NULL);
		machine->engine->kick(machine->cpus, 0);
	}
	return NULL;
}

/* The processes of the thread that runs the CPU. */
static uint32_t children(pid_t *pids, uint32_t count)
{
	char path[64];
	uint32_t found = 0;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	FILE *file = fopen(path, "re");
	expect(file);
	while (found < count && fscanf(file, "%d", &pids[found]) == 1)
		found++;
	fclose(file);
	return found;
}

static uint64_t children_ns(void)
{
	pid_t pids[16];
	uint64_t sum = 0;
	for (uint32_t i = children(pids, ARRAY_SIZE(pids)); i-- > 0;) {
		clockid_t clock;
		struct timespec time;
		if (clock_getcpuclockid(pids[i], &clock) == 0 && clock_gettime(clock, &time) == 0)
			sum += (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
	}
	return sum;
}

static void kill_children(void)
{
	pid_t pids[16];
	for (uint32_t i = children(pids, ARRAY_SIZE(pids)); i-- > 0;)
		expect(kill(pids[i], SIGKILL) == 0);
}

/* dec rcx; jnz */
static const uint8_t burn_code[] = { 0x48, 0xff, 0xc9, 0x75, 0xfb };

static void put_code(struct guest *guest, uint32_t page, const uint8_t *code, size_t bytes)
{
	uint64_t at = FRAMES_AT + page * 4096;
	uint8_t all[4096];
	memset(all, 0x90, sizeof(all));
	memcpy(all, burn_code, sizeof(burn_code));
	memcpy(all + sizeof(burn_code), code, bytes);
	expect(guest_write(guest, at, all, sizeof(all)) == 0);
	guest_wrote(guest, at, sizeof(all));
}

/*
 * From this state on, until its processes have computed so long; false: it has ended before. Between two kicks the state is saved
 * and loaded.
 */
static bool run_directly(struct machine *machine, struct cpu_state *state, uint64_t ns)
{
	struct cpu_exit exit = { .why = CPU_KICKED };
	pthread_t thread;
	uint64_t before = children_ns();
	int tries = 0;
	expect(machine->engine->load(machine->cpus, 0, state) == 0);
	atomic_store(&ends, false);
	expect(pthread_create(&thread, NULL, kick_often, machine) == 0);
	while (tries++ < TRIES && children_ns() - before < ns && exit.why == CPU_KICKED) {
		expect(machine->engine->run(machine->cpus, 0, &exit) == 0);
		/* What is asked for by a load is looked at as when a timer does that. */
		expect(machine->engine->save(machine->cpus, 0, state) == 0);
		if (exit.why == CPU_KICKED)
			expect(machine->engine->load(machine->cpus, 0, state) == 0);
	}
	atomic_store(&ends, true);
	pthread_join(thread, NULL);
	if (tries >= TRIES)
		test_fail("nothing runs directly");
	machine->engine->kick(machine->cpus, 0); /* there may be one already */
	return exit.why == CPU_KICKED;
}

static void warm_up(struct machine *machine)
{
	struct cpu_state state;
	put_code(machine->guest, 0, (const uint8_t[]){ 0xeb, 0xf9 }, 2); /* again */
	begin(&state, USER_AT);
	expect(run_directly(machine, &state, 3000000));
}

/* What the program has come to. */
struct end {
	uint64_t port;
	struct cpu_state state;
	uint64_t frame[6]; /* on the kernel's stack: the error code, or 0, and what follows */
	uint8_t data[3 * 4096];
	uint64_t direct_ns;
};

static void run_to_end(struct machine *machine, struct cpu_state *state, struct end *end)
{
	struct cpu_exit exit = { .why = CPU_KICKED };
	uint64_t before = children_ns();
	expect(machine->engine->load(machine->cpus, 0, state) == 0);
	do
		expect(machine->engine->run(machine->cpus, 0, &exit) == 0);
	while (exit.why == CPU_KICKED);
	expect_equal(exit.why, CPU_PORT);
	end->port = exit.at;
	end->direct_ns = children_ns() - before;
	/* It has come behind the write. */
	expect(machine->engine->save(machine->cpus, 0, &end->state) == 0);
	memset(end->frame, 0, sizeof(end->frame));
	uint64_t sp = end->state.gpr[CPU_RSP];
	if (sp < STACK_AT && STACK_AT - sp <= sizeof(end->frame))
		expect(guest_read(machine->guest, sp,
			       (uint8_t *)end->frame + (sizeof(end->frame) - (STACK_AT - sp)),
			       STACK_AT - sp) == 0);
	expect(guest_read(machine->guest, FRAMES_AT + DATA_PAGE * 4096, end->data,
		       sizeof(end->data)) == 0);
}

struct sample {
	const char *name;
	const char *code;
	uint32_t bytes;
	uint32_t port;
	uint64_t rdi;
	bool writes_flags;
};

#define SAMPLE(name, port, rdi, code, ...) \
	{ \
		name, code, sizeof(code) - 1, port, rdi, __VA_ARGS__ \
	}

static const struct sample samples[] = {
	SAMPLE("ud2", 6, 0, "\x0f\x0b"),
	SAMPLE("div by 0", 0, 0, "\x31\xd2\xf7\xf2"),
	SAMPLE("idiv that overflows", 0, 0,
		"\x48\x31\xc0\x48\xba\0\0\0\0\0\0\0\x80\x6a\xff\x48\xf7\x3c\x24"),
	SAMPLE("hlt", 13, 0, "\xf4"),
	SAMPLE("cli", 13, 0, "\xfa"),
	SAMPLE("in", 13, 0, "\xe4\x60"),
	SAMPLE("mov cr3", 13, 0, "\x0f\x20\xd8"),
	SAMPLE("rdmsr", 13, 0, "\x0f\x32"),
	SAMPLE("invlpg", 13, 0, "\x0f\x01\x3f"),
	SAMPLE("int 33", 13, 0, "\xcd\x21"),
	SAMPLE("int 3, one byte", 3, 0, "\xcc"),
	SAMPLE("int 3, two bytes", 3, 0, "\xcd\x03"),
	SAMPLE("int 4", 4, 0, "\xcd\x04"),
	SAMPLE("int1", 1, 0, "\xf1"),
	SAMPLE("int 0x80", 13, 0, "\x31\xc0\xcd\x80"),
	SAMPLE("syscall", PORT_OF_SYSCALL, 0, "\xf9\x0f\x05"),
	SAMPLE("sysret", 13, 0, "\x0f\x07"),
	SAMPLE("read of nothing", 14, NOTHING + 5, "\x8a\x07"),
	SAMPLE("write to nothing", 14, NOTHING + 5, "\x88\x07"),
	SAMPLE("read over an end", 14, NOTHING - 3, "\x48\x8b\x07"),
	SAMPLE("write over an end", 14, NOTHING - 3, "\x48\x89\x07"),
	SAMPLE("write to what is read-only", 14, READ_ONLY + 8, "\xc6\x07\x01"),
	SAMPLE("read-modify-write of it", 14, READ_ONLY + 8, "\xf0\xff\x07"),
	SAMPLE("compare and exchange of it", 14, READ_ONLY + 8, "\x48\x0f\xb1\x0f", true),
	SAMPLE("add to it", 14, READ_ONLY + 8, "\x01\x07", true),
	SAMPLE("compare with nothing", 14, NOTHING, "\x38\x07", true),
	SAMPLE("read of the kernel's", 14, KERNELS, "\x8a\x07"),
	SAMPLE("write to the kernel's", 14, KERNELS, "\x88\x07"),
	SAMPLE("read of its half", 14, UINT64_C(0xffff800000000000), "\x8a\x07"),
	SAMPLE("code of nothing", 14, NOTHING, "\xff\xe7"),
	SAMPLE("code that is none", 14, DATA_AT, "\xff\xe7"),
	SAMPLE("code of the kernel's", 14, KERNEL_AT, "\xff\xe7"),
	SAMPLE("the page of the host's calls", 14, UINT64_C(0xffffffffff600000), "\xff\xd7"),
	SAMPLE("no address", 13, UINT64_C(1) << 60, "\x8a\x07"),
	SAMPLE("no address, of the stack", 12, UINT64_C(1) << 60, "\x48\x89\xfc\x50"),
	SAMPLE("no address, of code", 13, UINT64_C(1) << 60, "\xff\xe7"),
	SAMPLE("a push to nothing", 14, NOTHING + 8, "\x48\x89\xfc\x50\x50"),
	SAMPLE("a call with no stack", 14, NOTHING + 4, "\x48\x89\xfc\xff\xd7"),
	SAMPLE("a vector that is not aligned", 13, DATA_AT + 1, "\x0f\x28\x07"),
	SAMPLE("alignment", 17, DATA_AT + 1, "\x9c\x80\x4c\x24\x02\x04\x9d\x8b\x07\x0f\x0b"),
	SAMPLE("alignment of what is written", 17, DATA_AT + 6,
		"\x9c\x80\x4c\x24\x02\x04\x9d\x88\x07\x66\x89\x07\xf0\xff\x07\x0f\x0b"),
	SAMPLE("alignment of the stack", 17, DATA_AT + 64 + 4,
		"\x9c\x80\x4c\x24\x02\x04\x9d\x48\x89\xfc\x50\x0f\x0b"),
	SAMPLE("no alignment of vectors", 6, DATA_AT + 1,
		"\x9c\x80\x4c\x24\x02\x04\x9d\x0f\x11\x07\x0f\x10\x07\xc5\xfe\x6f\x07\x0f\x0b"),
	SAMPLE("alignment that is right", 6, DATA_AT + 2,
		"\x9c\x80\x4c\x24\x02\x04\x9d\x88\x47\x01\x66\x8b\x07\x48\x89\x47\x06\x0f\x0b"),
	SAMPLE("a single step", 1, 0, "\x9c\x80\x4c\x24\x01\x01\x9d\xff\xc0\x90"),
	SAMPLE("a single step to a fault", 6, 0, "\x9c\x80\x4c\x24\x01\x01\x9d\x0f\x0b"),
	SAMPLE("a single step to a call", PORT_OF_SYSCALL, 0,
		"\x9c\x80\x4c\x24\x01\x01\x9d\x0f\x05"),
	SAMPLE("a single step in a string", 1, DATA_AT,
		"\x48\x89\xfe\xb9\x05\0\0\0\x9c\x80\x4c\x24\x01\x01\x9d\xf3\xa4\x90"),
	SAMPLE("a string that ends in nothing", 14, NOTHING - 16,
		"\x48\x89\xfe\xb9\x64\0\0\0\xf3\xac"),
	SAMPLE("copies to what is read-only", 14, READ_ONLY - 32,
		"\x48\x8d\xb7\x00\xe0\xff\xff\xb9\x20\0\0\0\xf3\x48\xa5"),
	SAMPLE("unmasked SSE", 19, 0,
		"\x68\x80\x1d\0\0\x0f\xae\x14\x24\x0f\x57\xc0\x6a\x01\xf3\x0f\x2a\x0c\x24\xf3\x0f\x5e\xc8"),
	SAMPLE("unmasked x87", 16, 0,
		"\xdb\xe3\x68\x7b\x03\0\0\xd9\x2c\x24\xd9\xe8\xd9\xee\xde\xf9\x90\x9b"),
	SAMPLE("flags", 6, 0, "\x68\xd5\x0c\x20\x00\x9d\x0f\x0b"),
	SAMPLE("a far return to no selector", 13, 0, "\x68\x00\x01\0\0\x50\x48\xcb"),
	SAMPLE("a selector of nothing", 13, 0, "\x66\xb8\x98\x01\x8e\xd8"),
	SAMPLE("32-bit code", 6, 0, "\x6a\x23\x48\x8d\x05\x03\0\0\0\x50\x48\xcb\x40\x40\x0f\x0b"),
	SAMPLE("32-bit code at half of an address", 6, 0,
		"\x6a\x23\x48\x8d\x05\x08\0\0\0\x48\x0f\xba\xe8\x28\x50\x48\xcb\x40\x40\x0f\x0b"),
	SAMPLE("x87 and MMX", 6, 0, "\xd9\xeb\xd9\xe8\xd9\xee\x0f\x0b"),
	SAMPLE("vectors", 6, DATA_AT,
		"\x66\x48\x0f\x6e\xc7\x66\x0f\xfe\xc0\x66\x44\x0f\x6f\xf8\xc5\xfc\x58\xc8\xc4\xe3\x75"
		"\x18\xd0\x01\x68\x80\x3f\0\0\x0f\xae\x14\x24\x0f\x0b"),
};

/* Opcode and operand that the x87 has failed at, where the silicon itself differs. */
static bool is_x87_last(uint32_t at)
{
	return at / 2 == 3 || at / 8 == 2;
}

/* What an instruction would overwrite is nothing yet when it faults, if it is translated. */
static uint64_t known_flags(const struct sample *sample, int word, uint64_t frame)
{
	return word == 3 && sample->writes_flags ? frame & ~UINT64_C(0x8d5) : frame;
}

#define differ(...) (printf("# " __VA_ARGS__), printf("\n"), false)

static bool compare(const struct sample *sample, const struct end *one, const struct end *other)
{
	const struct cpu_state *a = &one->state, *b = &other->state;
	if (one->port != sample->port || other->port != sample->port)
		return differ("%s: vectors %ju and %ju, cr2 %jx, rip %jx", sample->name,
			(uintmax_t)one->port, (uintmax_t)other->port, (uintmax_t)b->cr2,
			(uintmax_t)other->frame[1]);
	for (int i = 0; i < 6; i++)
		if (known_flags(sample, i, one->frame[i]) !=
			known_flags(sample, i, other->frame[i]))
			return differ("%s: frame[%d] %jx and %jx", sample->name, i,
				(uintmax_t)one->frame[i], (uintmax_t)other->frame[i]);
	for (int i = 0; i < 16; i++)
		if (a->gpr[i] != b->gpr[i])
			return differ("%s: register %d %jx and %jx", sample->name, i,
				(uintmax_t)a->gpr[i], (uintmax_t)b->gpr[i]);
	for (int i = 0; i < 8; i++)
		if (memcmp(&a->segments[i], &b->segments[i], sizeof(a->segments[i])) != 0)
			return differ("%s: segment %d: %x and %x", sample->name, i,
				a->segments[i].selector, b->segments[i].selector);
	if (sample->port == 14 && a->cr2 != b->cr2)
		return differ(
			"%s: cr2 %jx and %jx", sample->name, (uintmax_t)a->cr2, (uintmax_t)b->cr2);
	if (known_flags(sample, 3, a->rflags) != known_flags(sample, 3, b->rflags) ||
		a->dr[6] != b->dr[6])
		return differ("%s: flags %jx and %jx, dr6 %jx and %jx", sample->name,
			(uintmax_t)a->rflags, (uintmax_t)b->rflags, (uintmax_t)a->dr[6],
			(uintmax_t)b->dr[6]);
	for (uint32_t i = 0; i < sizeof(a->xsave); i++)
		if (a->xsave[i] != b->xsave[i] && !is_x87_last(i))
			return differ("%s: vectors at %u: %x and %x", sample->name, i, a->xsave[i],
				b->xsave[i]);
	for (uint32_t i = 0; i < sizeof(one->data); i++)
		if (one->data[i] != other->data[i])
			return differ("%s: memory at %u: %x and %x", sample->name, i, one->data[i],
				other->data[i]);
	return true;
}

static void need_direct(void)
{
	struct error e = {};
	if (soft_engine.probe(&e) < 0 || direct_process_probe(&e) < 0)
		test_skip("%.200s", e.text);
}

static void prepare_sample(struct machine *machine, uint32_t number, struct cpu_state *state)
{
	const struct sample *sample = &samples[number];
	static const uint8_t zeroes[3 * 4096];
	put_code(machine->guest, 1 + number, (const uint8_t *)sample->code, sample->bytes);
	expect(guest_write(machine->guest, FRAMES_AT + DATA_PAGE * 4096, zeroes, sizeof(zeroes)) ==
		0);
	begin(state, USER_AT + (1 + number) * 4096);
	state->gpr[CPU_RCX] = BURN;
	state->gpr[CPU_RDI] = sample->rdi;
}

/* Each ends a stay in the process, by what it is. */
static void ends_as_translated(void)
{
	static struct end one, other;
	struct machine direct, translated;
	struct cpu_state state;
	need_direct();
	open_machine(&direct, &soft_engine);
	open_machine(&translated, &soft_translator_engine);
	uint32_t failed = 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(samples); i++) {
		prepare_sample(&translated, i, &state);
		run_to_end(&translated, &state, &other);
		int tries = 0;
		/* Where it is never: after INT 4 nobody could tell where it was. */
		bool is_never = strcmp(samples[i].name, "int 4") == 0;
		do {
			if (tries > 0 || i == 0)
				warm_up(&direct);
			prepare_sample(&direct, i, &state);
			run_to_end(&direct, &state, &one);
		} while (one.direct_ns < 200000 && !is_never && ++tries < 20);
		if ((one.direct_ns < 200000) != is_never)
			test_fail("%s: was not run directly", samples[i].name);
		failed += !compare(&samples[i], &one, &other);
	}
	expect_equal(failed, 0);
	close_machine(&translated);
	close_machine(&direct);
}

/*
 *	fldpi; fld1
 *	l: vaddsd xmm0, xmm0, xmm1; vpaddq xmm4, xmm4, xmm5; vaddpd ymm2, ymm2, ymm3
 *	imul rax, rax, 0x1000193; add rax, rcx; mov edx, ecx; and edx, 0x1ff8; mov [rdi + rdx], rax
 *	dec rcx; jnz l; fadd st, st(1); ud2
 */
static const uint8_t long_code[] = { 0xd9, 0xeb, 0xd9, 0xe8, 0xc5, 0xfb, 0x58, 0xc1, 0xc5, 0xd9,
	0xd4, 0xe5, 0xc5, 0xed, 0x58, 0xd3, 0x48, 0x69, 0xc0, 0x93, 0x01, 0x00, 0x01, 0x48, 0x01,
	0xc8, 0x89, 0xca, 0x81, 0xe2, 0xf8, 0x1f, 0x00, 0x00, 0x48, 0x89, 0x04, 0x17, 0x48, 0xff,
	0xc9, 0x75, 0xd9, 0xd8, 0xc1, 0x0f, 0x0b };

/*
 *	l: vpaddd zmm20{k1}, zmm21, zmm20; vpaddq zmm2, zmm3, zmm2; kaddq k2, k2, k3
 *	and the same
 */
static const uint8_t wide_code[] = { 0x62, 0xa1, 0x55, 0x41, 0xfe, 0xe4, 0x62, 0xf1, 0xe5, 0x48,
	0xd4, 0xd2, 0xc4, 0xe1, 0xec, 0x4a, 0xd3, 0x48, 0x69, 0xc0, 0x93, 0x01, 0x00, 0x01, 0x48,
	0x01, 0xc8, 0x89, 0xca, 0x81, 0xe2, 0xf8, 0x1f, 0x00, 0x00, 0x48, 0x89, 0x04, 0x17, 0x48,
	0xff, 0xc9, 0x75, 0xd4, 0x0f, 0x0b };

#define LONG UINT64_C(12000000)
static uint64_t parts = 7; /* of XCR0 */

static void begin_long(struct machine *machine, struct cpu_state *state, uint64_t rounds)
{
	static const double ones[4] = { 1, 0.5, 0.25, 0.125 };
	uint8_t page[4096] = {};
	memcpy(page, long_code, sizeof(long_code));
	if (parts != 7)
		memcpy(page, wide_code, sizeof(wide_code));
	expect(guest_write(machine->guest, FRAMES_AT, page, sizeof(page)) == 0);
	begin(state, USER_AT);
	state->gpr[CPU_RCX] = rounds;
	state->gpr[CPU_RDI] = DATA_AT;
	state->xcr0 = parts;
	memcpy(state->xsave + 160 + 16, ones, 16);
	memcpy(state->xsave + 160 + 3 * 16, ones, 16);
	memcpy(state->xsave + 576 + 3 * 16, ones + 2, 16);
	memcpy(state->xsave + 160 + 5 * 16, state->gpr, 16);
	/* Masks, upper halves, those from 16 on: some number everywhere. */
	for (uint32_t at = 1088; parts != 7 && at < 2688; at++)
		state->xsave[at] = (uint8_t)(at * 37 ^ at >> 3);
	state->xsave[512] = (uint8_t)parts;
	memcpy(state->xsave, "\x7f\x03", 2); /* no x87 exceptions */
}

/* Two stays in different processes, the rest translated; false: it was done before. */
static bool goes_round(uint64_t rounds, struct end *ret)
{
	const struct engine *const engines[] = { &soft_engine, &soft_engine,
		&soft_translator_engine };
	static uint8_t ram[RAM_BYTES];
	struct machine machine;
	struct cpu_state state;
	bool goes_on = true;
	for (size_t i = 0; i < ARRAY_SIZE(engines) && goes_on; i++) {
		open_machine(&machine, engines[i]);
		if (i == 0)
			begin_long(&machine, &state, rounds);
		else
			expect(guest_write(machine.guest, 0, ram, RAM_BYTES) == 0);
		if (i + 1 < ARRAY_SIZE(engines))
			goes_on = run_directly(&machine, &state, 3000000);
		else
			run_to_end(&machine, &state, ret);
		expect(guest_read(machine.guest, 0, ram, RAM_BYTES) == 0);
		close_machine(&machine);
	}
	return goes_on;
}

static void run_translated(uint64_t rounds, struct end *ret)
{
	struct machine machine;
	struct cpu_state state;
	open_machine(&machine, &soft_translator_engine);
	begin_long(&machine, &state, rounds);
	run_to_end(&machine, &state, ret);
	close_machine(&machine);
}

/* Stopped while its program runs directly, and begun again from what was kept: here, elsewhere, and translated. */
static void goes_on_elsewhere(void)
{
	static const struct sample sample = { .name = "it computes", .port = 6 };
	static struct end one, other;
	uint64_t rounds = LONG;
	need_direct();
	if (!__builtin_cpu_supports("avx"))
		test_skip("this processor has no AVX");
	/* On a host that has other things to do the CPU is stopped late. */
	while (!goes_round(rounds, &one) && rounds < LONG * 100)
		rounds *= 3;
	run_translated(rounds, &other);
	expect(compare(&sample, &one, &other));
}

/* While the program is not there it is translated from then on. */
static void goes_on_without_them(void)
{
	static const struct sample sample = { .name = "it computes", .port = 6 };
	static struct end one, other;
	struct machine machine;
	struct cpu_state state;
	uint64_t rounds = LONG;
	bool was_running = false;
	need_direct();
	for (; !was_running && rounds < LONG * 100; rounds *= 3) {
		open_machine(&machine, &soft_engine);
		begin_long(&machine, &state, rounds);
		was_running = run_directly(&machine, &state, 3000000);
		kill_children();
		if (was_running)
			run_to_end(&machine, &state, &one);
		close_machine(&machine);
	}
	run_translated(rounds / 3, &other);
	expect(compare(&sample, &one, &other));
}

static void goes_on_elsewhere_with_more(void)
{
	struct machine machine;
	struct cpu_state state;
	need_direct();
	open_machine(&machine, &soft_translator_engine);
	begin(&state, USER_AT);
	state.xcr0 = 0xe7;
	bool can = machine.engine->load(machine.cpus, 0, &state) == 0;
	close_machine(&machine);
	if (!can)
		test_skip("this processor has no AVX-512");
	parts = 0xe7;
	goes_on_elsewhere();
	parts = 7;
}

/* When they are at work; and if that was missed the CPU is called a second later. */
static void *kill_at_work(void *data)
{
	const struct machine *machine = data;
	const struct timespec time = { .tv_nsec = 5000000 };
	uint64_t before = children_ns();
	for (int i = 0; i < 400 && children_ns() - before < 1000000; i++)
		nanosleep(&time, NULL);
	kill_children();
	for (int i = 0; i < 200 && !atomic_load(&ends); i++)
		nanosleep(&time, NULL);
	machine->engine->kick(machine->cpus, 0);
	return NULL;
}

/* With the program's registers: it must end, and not with others. */
static void ends_with_them(void)
{
	struct machine machine;
	struct cpu_exit exit = { .why = CPU_KICKED };
	pthread_t thread;
	int r = 0;
	need_direct();
	for (int tries = 0; tries < 10 && r == 0; tries++) {
		open_machine(&machine, &soft_engine);
		warm_up(&machine);
		/* What was asked for then is over. */
		expect(machine.engine->run(machine.cpus, 0, &exit) == 0);
		atomic_store(&ends, false);
		expect(pthread_create(&thread, NULL, kill_at_work, &machine) == 0);
		r = machine.engine->run(machine.cpus, 0, &exit);
		atomic_store(&ends, true);
		pthread_join(thread, NULL);
		close_machine(&machine);
	}
	expect_equal(r, -EIO);
}

/* Nobody calls: the timers' thread has it looked at. */
static void runs_with_interrupts_off(void)
{
	static struct end one, other;
	struct machine direct, translated;
	struct cpu_state state;
	need_direct();
	open_machine(&direct, &soft_engine);
	open_machine(&translated, &soft_translator_engine);
	prepare_sample(&translated, 0, &state);
	state.rflags = 2;
	run_to_end(&translated, &state, &other);
	uint64_t rounds = BURN;
	do {
		if (rounds > BURN << 12)
			test_fail("nothing runs directly");
		prepare_sample(&direct, 0, &state);
		state.rflags = 2;
		state.gpr[CPU_RCX] = rounds *= 2;
		run_to_end(&direct, &state, &one);
	} while (one.direct_ns < 1000000);
	expect(compare(&samples[0], &one, &other));
	expect_equal(one.frame[3] & 0x200, 0);
	/* A kick ends it at any moment. */
	put_code(direct.guest, 0, (const uint8_t[]){ 0xeb, 0xf9 }, 2); /* again */
	begin(&state, USER_AT);
	state.rflags = 2;
	expect(run_directly(&direct, &state, 3000000));
	expect_equal(state.rflags & 0x200, 0);
	close_machine(&translated);
	close_machine(&direct);
}

static void *send_nmi(void *data)
{
	const struct machine *machine = data;
	const struct timespec time = { .tv_nsec = 30000000 };
	nanosleep(&time, NULL);
	machine->engine->nmi(machine->cpus, 0);
	return NULL;
}

/* What they do not hold back comes. */
static void has_nmis_with_interrupts_off(void)
{
	static struct end end;
	struct machine machine;
	struct cpu_state state;
	pthread_t thread;
	need_direct();
	open_machine(&machine, &soft_engine);
	put_code(machine.guest, 0, (const uint8_t[]){ 0xeb, 0xf9 }, 2); /* again */
	begin(&state, USER_AT);
	state.rflags = 2;
	expect(pthread_create(&thread, NULL, send_nmi, &machine) == 0);
	run_to_end(&machine, &state, &end);
	pthread_join(thread, NULL);
	expect_equal(end.port, 2);
	close_machine(&machine);
}

/* Timer interrupts are rare enough, others may not be. */
static void weighs_interrupts(void)
{
	expect_equal(direct_worth_us(DIRECT_SYSCALL, 100), 100);
	expect_equal(direct_worth_us(DIRECT_FAULT, 100), 100);
	expect(direct_worth_us(DIRECT_KICKED, 1000) >= DIRECT_STAY_US);
	expect(direct_worth_us(DIRECT_KICKED, 180) < DIRECT_STAY_US);
}

static const struct test tests[] = {
	{ "if its processes are killed while none runs, a program is translated",
		goes_on_without_them },
	{ "if one is killed while a program runs in it, the CPU ends with an error",
		ends_with_them },
	{ "a state kept while a program runs directly goes on elsewhere", goes_on_elsewhere },
	{ "so it does with AVX-512", goes_on_elsewhere_with_more },
	{ "a program that other CPUs interrupt each 0.2 ms is better off translated",
		weighs_interrupts },
	{ "a program that ends in an exception is told of it what a translated one is",
		ends_as_translated },
	{ "a program with interrupts off is run directly, too, and a kick ends that",
		runs_with_interrupts_off },
	{ "and an NMI comes there", has_nmis_with_interrupts_off },
};
TEST_MAIN(tests)
