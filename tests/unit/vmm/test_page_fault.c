/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page faults of translated code: what the handler finds is what the interpreter leaves to it, in both rings, on every way
 * through the delivery.
 */
#include <string.h>

#include "test.h"
#include "vmm/soft/soft.h"

#define CODE_AT   0x2000u /* two pages */
#define TSS_AT    0x5000u
#define GDT_AT    0x6000u
#define IDT_AT    0x7000u
#define STACK_AT  0x9000u /* the end of ring 0's */
#define IST_AT    0xb000u
#define LOG_IS_AT 0xc000u /* where the next entry goes */
#define TABLES_AT 0x10000u
#define PAGES_AT  0x400000u /* the pages that are tried */
#define ALIAS_AT  0x600000u /* the code, for ring 3 */
#define LOG_AT    0x800000u
#define RAM_BYTES (64 * MIB)
#define TURNS     40 /* more than it takes to be translated */

#define PTE_OF_PAGES (TABLES_AT + 0x3000)
#define PTE_OF_ALIAS (TABLES_AT + 0x4000)

/*
 * RDI is the page, RBX where to go on after a fault, R8D how many turns are left. The handlers write an entry of the log each:
 * CR2, the error code, what was pushed, registers, the handler's RSP, the vector.
 */
extern const uint8_t faults_code[], faults_end[], faults_on_fault[], faults_on_double[],
	faults_moving[], faults_on_call[];
__asm__(".pushsection .rodata\n"
	".macro try what:vararg\n"
	"	lea 771f(%rip), %rbx\n"
	"	\\what\n"
	"771:\n"
	".endm\n"
	".globl faults_code, faults_end, faults_on_fault, faults_on_double, faults_moving\n"
	".globl faults_on_call\n"
	"faults_code:\n"
	"	mov $0x400000, %edi\n"
	"1:	mov $0x1122334455667788, %rax\n"
	"	mov $5, %ecx\n"
	"	xor %esi, %esi\n"
	"	lea 64(%rdi), %rsp\n"
	"	try movb %al, 3(%rdi)\n"
	"	try movq %rax, 8(%rdi)\n"
	"	try movl 16(%rdi), %edx\n"
	"	try movzbl 24(%rdi,%rcx), %edx\n"
	"	try addl %eax, 32(%rdi)\n"
	"	try lock addq %rcx, 40(%rdi)\n"
	"	try xchg %rcx, 48(%rdi)\n"
	"	try cmpl $7, 52(%rdi)\n"
	"	try cmpxchg %rcx, 56(%rdi)\n"
	"	try movl $1, 4094(%rdi)\n"
	"	try movups %xmm1, 64(%rdi)\n"
	"	try movaps %xmm1, 65(%rdi)\n"
	"	try divl 72(%rdi)\n"
	"	try btsl %ecx, 80(%rdi)\n"
	"	lea 64(%rdi), %rsp\n"
	"	try push %rcx\n"
	"	lea 64(%rdi), %rsp\n"
	"	try pushq $3\n"
	"	lea 64(%rdi), %rsp\n"
	"	try pushq 128(%rdi)\n"
	"	lea 64(%rdi), %rsp\n"
	"	try pop %rdx\n"
	"	lea 64(%rdi), %rsp\n"
	"	try call 771f\n"
	"	lea 64(%rdi), %rsp\n"
	"	try ret\n"
	"	lea 64(%rdi), %rsp\n"
	/* Checked together: both written; read, then written; lower second. */
	"	lea 772f(%rip), %rbx\n"
	"	movq %rax, 96(%rdi); movq %rcx, 104(%rdi); incl %esi\n"
	"772:\n"
	"	lea 772f(%rip), %rbx\n"
	"	movq 112(%rdi), %rdx; movq %rdx, 120(%rdi); incl %esi\n"
	"772:\n"
	"	lea 772f(%rip), %rbx\n"
	"	movq %rax, 144(%rdi); movq %rcx, 136(%rdi); incl %esi\n"
	"772:\n"
	"	lea 772f(%rip), %rbx\n"
	"	push %rax; push %rcx; pop %rcx; pop %rax; incl %esi\n"
	"772:\n"
	"	mov %rdi, %r9; mov $3, %ecx\n"
	"	try rep stosl\n"
	"	mov %r9, %rdi; lea 8(%rdi), %rsi; mov $3, %ecx\n"
	"	try rep movsb\n"
	"	mov %r9, %rdi; movabs $0x8000000000000000, %rdx\n"
	"	try movq %rax, (%rdx)\n"
	"	add $0x1000, %rdi\n"
	"	cmp $0x408000, %edi\n"
	"	jne 1b\n"
	"	dec %r8d\n"
	"	jnz faults_code\n"
	"	out %al, $1\n"
	".macro handle vector\n"
	"	push %rax\n"
	"	push %rdx\n"
	"	movq 0xc000, %rdx\n"
	"	mov %cr2, %rax; mov %rax, (%rdx)\n"
	"	mov 16(%rsp), %rax; mov %rax, 8(%rdx)\n"
	"	mov 24(%rsp), %rax; mov %rax, 16(%rdx)\n"
	"	mov 32(%rsp), %rax; mov %rax, 24(%rdx)\n"
	"	mov 40(%rsp), %rax; and $~0x8d5, %eax; mov %rax, 32(%rdx)\n"
	"	mov 48(%rsp), %rax; mov %rax, 40(%rdx)\n"
	"	mov 56(%rsp), %rax; mov %rax, 48(%rdx)\n"
	"	mov 8(%rsp), %rax; mov %rax, 56(%rdx)\n"
	"	mov %rcx, 64(%rdx); mov %rsi, 72(%rdx); mov %rdi, 80(%rdx); mov %rsp, 88(%rdx)\n"
	"	pushf; pop %rax; and $~0x8d5, %eax; mov %rax, 96(%rdx)\n"
	"	movq $\\vector, 104(%rdx)\n"
	"	add $112, %rdx; mov %rdx, 0xc000\n"
	"	mov %rbx, 24(%rsp)\n"
	"	pop %rdx\n"
	"	pop %rax\n"
	"	add $8, %rsp\n"
	"	iretq\n"
	".endm\n"
	"faults_on_fault: handle 14\n"
	"faults_on_double: handle 8\n"
	/*
	 * The handler, which SYSCALL calls, and faults lead to 200 bytes on, puts the other page of code here and loads CR3: where
	 * it goes on by SYSRET or IRET is in that one. RDX is which page that was, R8D how many rounds are left.
	 */
	"	.balign 4096\n"
	"faults_moving:\n"
	"	mov $0, %edx\n"
	"	syscall\n"
	"	jmp 3f\n"
	"	.balign 32\n"
	"3:	lea 4f(%rip), %rbx\n"
	"	movq %rax, 0x400000\n"
	"4:	dec %r8d\n"
	"	jnz faults_moving\n"
	"	out %al, $1\n"
	"	.balign 256\n"
	"faults_on_call:\n"
	"	mov 0xc000, %r10\n"
	"	mov %edx, (%r10); add $4, %r10; mov %r10, 0xc000\n"
	"	xorq $0x1000, 0x14000\n"
	"	mov %cr3, %r10; mov %r10, %cr3\n"
	"	sysretq\n"
	"	.balign 64\n"
	"	mov 0xc000, %r10\n"
	"	mov %edx, (%r10); add $4, %r10; mov %r10, 0xc000\n"
	"	xorq $0x1000, 0x14000\n"
	"	mov %cr3, %r10; mov %r10, %cr3\n"
	"	mov %rbx, 8(%rsp)\n"
	"	add $8, %rsp\n"
	"	iretq\n"
	"faults_end:\n"
	".popsection\n");

struct entry {
	uint64_t cr2, code, rip, cs, flags, rsp, ss, rax, rcx, rsi, rdi, handler_rsp, handler_flags,
		vector;
};

static struct {
	const struct engine *engine;
	uint32_t ring, ist; /* of #PF */
	uint64_t cr4, rflags, rsp0, double_at;
	bool is_moving;
} how;

/* What a run has left. */
static struct {
	struct guest *guest;
	uint32_t why;
	uint64_t at, logged;
} done;

static void put(struct guest *guest, guest_addr at, uint64_t value)
{
	expect(guest_write(guest, at, &value, 8) == 0);
}

static uint64_t get(guest_addr at)
{
	uint64_t value;
	expect(guest_read(done.guest, at, &value, 8) == 0);
	return value;
}

static uint64_t address_of(const uint8_t *code)
{
	return CODE_AT + (uint64_t)(code - faults_code);
}

static void put_gate(struct guest *guest, uint32_t vector, uint64_t at, uint32_t ist)
{
	put(guest, IDT_AT + 16 * vector,
		(at & 0xffff) | 8 << 16 | (uint64_t)ist << 32 | UINT64_C(0x8e) << 40 |
			(at & 0xffff0000) << 32);
}

static void put_tables(struct guest *guest)
{
	/* Absent, read-only, reserved bits, a user's, ring 0's, a user's to read, not executable, absent. */
	static const uint64_t bits[8] = { 0, 1, UINT64_C(1) << 50 | 7, 7, 3, 5,
		UINT64_C(1) << 63 | 7, 0 };
	put(guest, TABLES_AT, TABLES_AT + 0x1007);
	put(guest, TABLES_AT + 0x1000, TABLES_AT + 0x2007);
	for (uint64_t i = 0; i < RAM_BYTES / (2 * MIB); i++)
		put(guest, TABLES_AT + 0x2000 + 8 * i, i * 2 * MIB | 0x83);
	put(guest, TABLES_AT + 0x2010, PTE_OF_PAGES | 7);
	put(guest, TABLES_AT + 0x2018, PTE_OF_ALIAS | 7);
	for (uint64_t i = 0; i < 8; i++)
		put(guest, PTE_OF_PAGES + 8 * i, (PAGES_AT + i * 0x1000) | bits[i]);
	for (uint64_t i = 0; i < 4; i++)
		put(guest, PTE_OF_ALIAS + 8 * i, (CODE_AT + i * 0x1000) | 5);
	put(guest, GDT_AT + 8, UINT64_C(0x00af9b000000ffff));
	put(guest, GDT_AT + 16, UINT64_C(0x00cf93000000ffff));
	put(guest, GDT_AT + 24, UINT64_C(0x00cff3000000ffff));
	put(guest, GDT_AT + 32, UINT64_C(0x00affb000000ffff));
	put(guest, TSS_AT + 4, how.rsp0);
	put(guest, TSS_AT + 0x24, how.double_at);
	put(guest, TSS_AT + 0x2c, IST_AT);
	put_gate(guest, 8, address_of(faults_on_double), 1);
	put_gate(guest, 13, address_of(faults_on_fault), how.ist);
	put_gate(guest, 12, address_of(faults_on_fault), how.ist);
	put_gate(guest, 14, address_of(faults_on_fault), how.ist);
	put(guest, LOG_IS_AT, LOG_AT);
	/* What RET finds in a page may be 0: jmp rbx. */
	put(guest, 0, 0xe3ff);
}

/* Two pages of code that differ in a number; the PTEs of the alias are where the second page is, so that they can be exchanged. */
static void put_moving(struct guest *guest)
{
	static uint8_t page[0x1000];
	size_t offset = (size_t)(faults_moving - faults_code);
	memcpy(page, faults_moving, (size_t)(faults_end - faults_moving));
	for (uint8_t i = 0; i < 2; i++) {
		page[1] = i;
		expect(guest_write(guest, 0x20000 + 0x1000 * i, page, sizeof(page)) == 0);
	}
	put(guest, PTE_OF_ALIAS, 0x20005);
	put_gate(guest, 14, CODE_AT + offset + (size_t)(faults_on_call - faults_moving) + 64, 0);
}

static void set_state(struct cpu_state *state)
{
	cpu_state_reset(state, 0);
	state->cr0 = 0x80050033;
	state->cr3 = TABLES_AT;
	state->cr4 = UINT64_C(0x40620) | how.cr4;
	state->efer = 0xd01; /* NXE, LMA, LME, SCE */
	state->xcr0 = 7;
	state->star = UINT64_C(0x10) << 48 | UINT64_C(8) << 32;
	state->fmask = 0x40000;
	state->lstar = address_of(faults_on_call);
	state->gdt = (struct cpu_table){ .base = GDT_AT, .limit = 0xff };
	state->idt = (struct cpu_table){ .base = IDT_AT, .limit = 0xfff };
	state->segments[CPU_TR] = (struct cpu_segment){
		.selector = 0x28, .base = TSS_AT, .limit = 0x67, .attributes = 0x8b
	};
	for (int i = 0; i < CPU_TR; i++) {
		bool is_user = how.ring == 3;
		struct cpu_segment *segment = &state->segments[i];
		segment->base = 0;
		segment->limit = UINT32_MAX;
		if (i == CPU_CS) {
			segment->selector = is_user ? 0x23 : 8;
			segment->attributes = (uint16_t)(0xa09b | how.ring << 5);
		} else if (i <= CPU_GS) {
			segment->selector = is_user ? 0x1b : 0x10;
			segment->attributes = (uint16_t)(0xc093 | how.ring << 5);
		}
	}
	state->rflags = 0x3002 | how.rflags;
	state->rip = how.ring == 3 ? ALIAS_AT : CODE_AT;
	state->gpr[8] = how.is_moving ? 5 * TURNS : TURNS;
	state->gpr[CPU_RSP] = STACK_AT;
}

static void run(void)
{
	struct error e = {};
	struct cpus *cpus;
	struct cpu_state state;
	struct cpu_exit exit = { .why = CPU_KICKED };
	if (how.engine->probe(&e) < 0)
		test_skip("%.200s", e.text);
	if (done.guest)
		guest_free(done.guest);
	expect(guest_new(&done.guest, &e) == 0);
	expect(guest_add(done.guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	put_tables(done.guest);
	expect(guest_write(done.guest, CODE_AT, faults_code, (size_t)(faults_end - faults_code)) ==
		0);
	if (how.is_moving)
		put_moving(done.guest);
	expect(how.engine->open(done.guest, 1, &cpus, &e) == 0);
	set_state(&state);
	expect(how.engine->load(cpus, 0, &state) == 0);
	do
		expect(how.engine->run(cpus, 0, &exit) == 0);
	while (exit.why == CPU_KICKED);
	done.why = exit.why;
	done.at = exit.at;
	how.engine->close(cpus);
	done.logged = get(LOG_IS_AT) - LOG_AT;
}

static struct entry entry(uint64_t number)
{
	struct entry found;
	expect(guest_read(done.guest, LOG_AT + number * sizeof(found), &found, sizeof(found)) == 0);
	return found;
}

static void defaults(void)
{
	memset(&how, 0, sizeof(how));
	how.engine = &soft_engine;
	how.rsp0 = STACK_AT;
	how.double_at = IST_AT - 0x800;
}

/* All engines leave the same log, and the same page tables. */
static uint64_t compare(void)
{
	static uint8_t first[4 * MIB], second[4 * MIB], tables[2][0x1000];
	static const struct engine *const engines[] = { &soft_interpreter_engine, &soft_engine,
		&soft_lockstep_engine };
	uint64_t bytes = 0;
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		how.engine = engines[i];
		run();
		expect_equal(done.why, CPU_PORT);
		expect(done.logged <= sizeof(first));
		expect(guest_read(done.guest, LOG_AT, i ? second : first, done.logged) == 0);
		expect(guest_read(done.guest, PTE_OF_PAGES, tables[i != 0], 0x1000) == 0);
		if (i == 0)
			bytes = done.logged;
		expect_equal(done.logged, bytes);
		for (uint64_t at = 0; i && at < bytes; at += 8)
			if (memcmp(first + at, second + at, 8) != 0)
				test_fail("entry %ju, word %ju",
					(uintmax_t)at / sizeof(struct entry),
					(uintmax_t)at % sizeof(struct entry) / 8);
		expect(i == 0 || memcmp(tables[0], tables[1], 0x1000) == 0);
	}
	return bytes / sizeof(struct entry);
}

static void in_ring_3(void)
{
	defaults();
	how.ring = 3;
	uint64_t count = compare();
	expect(count > 100 * TURNS);
	/* The byte that is written first: not present, a user's, a write. */
	struct entry e = entry(0);
	expect_equal(e.cr2, PAGES_AT + 3);
	expect_equal(e.code, 6);
	expect_equal(e.cs, 0x23);
	expect_equal(e.ss, 0x1b);
	expect_equal(e.rsp, PAGES_AT + 64);
	expect_equal(e.rax, 0x1122334455667788);
	expect_equal(e.flags, 0x13002); /* RF */
	expect_equal(e.handler_flags, 0x3002);
	expect_equal(e.handler_rsp, STACK_AT - 64);
	expect_equal(e.vector, 14);
	/* What was only read is accessed, what was written is dirty, what faulted is neither. */
	expect_equal(get(PTE_OF_PAGES + 8 * 3) & 0x60, 0x60);
	expect_equal(get(PTE_OF_PAGES + 8 * 5) & 0x60, 0x20);
	expect_equal(get(PTE_OF_PAGES + 8 * 4) & 0x60, 0);
	expect_equal(get(PTE_OF_PAGES) & 0x60, 0);
	/* In its last turn as in the first. */
	struct entry last = entry(count - count / TURNS);
	expect(memcmp(&e, &last, sizeof(e)) == 0);
}

static void in_ring_0(void)
{
	defaults();
	how.ist = 2; /* the stack is what is tried */
	expect(compare() > 50 * TURNS);
	struct entry e = entry(0);
	expect_equal(e.code, 2);
	expect_equal(e.handler_rsp, IST_AT - 64);
	expect_equal(e.ss, 0x10);
}

static void on_a_stack_that_faults(void)
{
	defaults();
	expect(compare() > 50 * TURNS);
	/* Its own stack is the page that is not there. */
	struct entry e = entry(0);
	expect_equal(e.vector, 8);
	expect_equal(e.code, 0);
	expect_equal(e.cr2, PAGES_AT + 64 - 8);
	expect_equal(e.handler_rsp, IST_AT - 0x800 - 64);
}

static void with_smap_and_smep(void)
{
	defaults();
	how.ist = 2;
	how.cr4 = UINT64_C(3) << 20;
	uint64_t count = compare();
	how.rflags = 0x40000; /* AC: the user's pages are open */
	expect(compare() < count);
}

static void with_a_stack_that_is_not_there(void)
{
	defaults();
	how.ring = 3;
	how.rsp0 = PAGES_AT + 0x7f00;
	compare();
	struct entry e = entry(0);
	expect_equal(e.vector, 8);
	expect_equal(e.cr2, PAGES_AT + 0x7f00 - 8);
	expect_equal(e.cs, 0x23);
	/* Not canonical: a stack fault becomes a double fault as well. */
	how.rsp0 = UINT64_C(1) << 60;
	compare();
	expect_equal(entry(0).vector, 8);
	expect_equal(entry(0).cr2, PAGES_AT + 3);
}

static void shuts_down(void)
{
	static const struct engine *const engines[] = { &soft_interpreter_engine, &soft_engine };
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		defaults();
		how.engine = engines[i];
		how.ring = 3;
		how.rsp0 = PAGES_AT + 0x7f00;
		how.double_at = PAGES_AT + 0x100;
		run();
		expect_equal(done.why, CPU_SHUTDOWN);
		expect_equal(done.logged, 0);
	}
}

/* In which page of code each round ran: the handlers change it each time. */
static void goes_on_in_the_new_space(void)
{
	static const struct engine *const engines[] = { &soft_interpreter_engine, &soft_engine,
		&soft_lockstep_engine };
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++) {
		defaults();
		how.engine = engines[i];
		how.ring = 3;
		how.is_moving = true;
		run();
		expect_equal(done.why, CPU_PORT);
		expect_equal(done.logged, 2 * 4 * 5 * TURNS);
		for (uint64_t at = 0; at < done.logged; at += 8)
			expect_equal(get(LOG_AT + at), 0);
	}
}

static const struct test tests[] = {
	{ "ring 3: what the handler finds", in_ring_3 },
	{ "ring 0, by a stack of its own", in_ring_0 },
	{ "ring 0, on a stack that faults: a double fault", on_a_stack_that_faults },
	{ "ring 0 kept off the user's pages, and not", with_smap_and_smep },
	{ "a stack for ring 0 that is not there: a double fault", with_a_stack_that_is_not_there },
	{ "nor one for the double fault: it shuts down", shuts_down },
	{ "a return goes on in the address space that is loaded", goes_on_in_the_new_space },
};
TEST_MAIN(tests)
