/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "vmm/soft/direct_space.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "vmm/soft/walk.h"

#define RAM_BYTES UINT64_C(0x800000)
#define ROM_AT    UINT64_C(0xf0000000)
#define FILE_AT   UINT64_C(0x700000) /* guest_map()'s */
#define IMAGE_AT  UINT64_C(0x710000) /* likewise, only read */
#define TABLES_AT UINT64_C(0x200000)
#define CODE      UINT64_C(0x1000) /* where it is in memory */
#define DATA      UINT64_C(0x3000) /* neighbours never lie beside each other there */
#define CODE_AT   UINT64_C(0x400000)
#define DATA_AT   UINT64_C(0x10000000)
#define PIECE     (2 * MIB)

#define READS  0u /* in the code: of what RDI points to */
#define WRITES 16u
#define JUMPS  32u

#define USER (PTE_P | PTE_U | PTE_A)
#define RX   USER
#define RW   (USER | PTE_W | PTE_D | PTE_NX)

static struct guest *guest;
static struct cpu *cpu;
static struct direct_space *space;
static uint64_t tables; /* the next that is free */
static uint64_t address;

static uint64_t *at(guest_addr physical)
{
	return guest_slice(guest, physical, 8);
}

/* The entry of `level` for this address, with all above it there. */
static uint64_t *entry_of(uint64_t linear, uint32_t level)
{
	uint64_t table = TABLES_AT;
	for (uint32_t i = 4; i > level; i--) {
		uint64_t *entry = at(table + 8 * (linear >> (12 + 9 * (i - 1)) & 511));
		if (!(*entry & PTE_P)) {
			*entry = tables | USER | PTE_W;
			tables += GUEST_PAGE;
			expect(tables < FILE_AT);
		}
		table = *entry & PTE_ADDRESS;
	}
	return at(table + 8 * (linear >> (12 + 9 * (level - 1)) & 511));
}

static void put(uint64_t linear, uint64_t pte)
{
	*entry_of(linear, 1) = pte;
}

static uint64_t pte(uint64_t linear)
{
	return *entry_of(linear, 1);
}

static void map_file(guest_addr at, enum guest_map how)
{
	uint8_t bytes[GUEST_PAGE];
	struct error e = {};
	int fd = memfd_create("file", MFD_CLOEXEC);
	memset(bytes, 0xf4, sizeof(bytes));
	expect(fd >= 0 && write(fd, bytes, sizeof(bytes)) == sizeof(bytes));
	expect(guest_map(guest, at, GUEST_PAGE, fd, how, &e) == 0);
	close(fd);
}

static void open_space(void)
{
	static const uint8_t code[] = { 0x8a, 0x07, 0xf4 }, writes[] = { 0xc6, 0x07, 77, 0xf4 },
			     jumps[] = { 0xff, 0xe7, 0xf4 };
	struct error e = {};
	struct direct_process *process;
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	expect(guest_add(guest, ROM_AT, GUEST_PAGE, GUEST_ROM, &e) == 0);
	map_file(FILE_AT, GUEST_MAP_SHARED);
	map_file(IMAGE_AT, GUEST_MAP_READ);
	expect(guest->image_fd >= 0);
	if (direct_process_new(guest->memfd, guest->image_fd, &process, &e) < 0)
		test_skip("%.200s", e.text);
	cpu = mmap(NULL, sizeof(*cpu), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	expect(cpu != MAP_FAILED);
	cpu->guest = guest;
	cpu->cr0 = CR0_PE | CR0_PG | CR0_WP;
	cpu->cr4 = CR4_PAE | CR4_OSFXSR;
	cpu->efer = 0xd01;
	cpu->cr3 = TABLES_AT;
	cpu->cpl = 3;
	cpu->code_bytes = 8;
	cpu->xcr0 = 7;
	cpu->direct_epoch = 1;
	walk_forget(cpu);
	tables = TABLES_AT + GUEST_PAGE;
	space = direct_space_new(process);
	memset(at(CODE), 0xf4, GUEST_PAGE);
	memcpy((uint8_t *)at(CODE) + READS, code, sizeof(code));
	memcpy((uint8_t *)at(CODE) + WRITES, writes, sizeof(writes));
	memcpy((uint8_t *)at(CODE) + JUMPS, jumps, sizeof(jumps));
	memset(at(DATA), 0xf4, GUEST_PAGE);
	put(CODE_AT, CODE | RX);
	expect(direct_space_begin(space, cpu));
}

static void close_space(void)
{
	direct_space_free(space);
	munmap(cpu, sizeof(*cpu));
	guest_free(guest);
}

/* As the CPU does it before it goes on. */
static bool ready(void)
{
	direct_space_look(space, cpu, cpu->direct_epoch);
	return direct_space_commit(space);
}

static void flush(void)
{
	cpu->direct_epoch++;
	walk_forget(cpu);
	expect(ready());
}

/* Whether it can be done there, as things are. */
static bool can(uint32_t what, uint64_t linear)
{
	struct direct_process *process = direct_space_process(space);
	for (int i = 0; i < 3; i++) {
		struct user_regs_struct regs = { .rip = CODE_AT + what,
			.rdi = linear,
			.cs = 0x33,
			.ss = 0x2b,
			.eflags = 0x202,
			.rsp = 0x1000 };
		enum direct_exit exit = direct_process_run(process, &regs, &address);
		if (exit == DIRECT_TRAP)
			return true; /* at the HLT */
		expect_equal(exit, DIRECT_FAULT);
		if (address == linear)
			return false;
		expect_equal(address, CODE_AT + what);
		expect_equal(
			direct_space_reach(space, cpu, CODE_AT + what, address), DIRECT_REACHED);
		expect(ready());
	}
	test_fail("the code cannot be reached");
}

/* What comes of an access to a page that is not there. */
static enum direct_reach reach(uint32_t what, uint64_t linear)
{
	expect(!can(what, linear));
	enum direct_reach reach =
		direct_space_reach(space, cpu, what == JUMPS ? linear : CODE_AT + what, linear);
	expect(ready());
	return reach;
}

static void maps_by_rights(void)
{
	open_space();
	put(DATA_AT, DATA | RW);
	expect_equal(reach(READS, DATA_AT), DIRECT_REACHED);
	expect(can(READS, DATA_AT) && can(WRITES, DATA_AT));
	expect_equal(*(uint8_t *)at(DATA), 77);
	expect_equal(reach(JUMPS, DATA_AT), DIRECT_INTERPRETED);
	/* Accessed and dirty: who reaches it sets them. */
	put(DATA_AT + PIECE, DATA | PTE_P | PTE_U | PTE_W | PTE_NX);
	expect_equal(reach(READS, DATA_AT + PIECE), DIRECT_REACHED);
	expect_equal(pte(DATA_AT + PIECE) & (PTE_A | PTE_D), PTE_A);
	expect(can(READS, DATA_AT + PIECE));
	expect_equal(reach(WRITES, DATA_AT + PIECE), DIRECT_TURNED);
	expect_equal(pte(DATA_AT + PIECE) & (PTE_A | PTE_D), PTE_A | PTE_D);
	expect(can(WRITES, DATA_AT + PIECE));
	/* Neighbours come along if they were accessed, and only then. */
	for (uint64_t i = 0; i < 4; i++)
		put(DATA_AT + 2 * PIECE + i * GUEST_PAGE,
			DATA | PTE_P | PTE_U | PTE_NX | (i % 2 ? 0 : PTE_A));
	expect_equal(reach(READS, DATA_AT + 2 * PIECE), DIRECT_REACHED);
	expect(can(READS, DATA_AT + 2 * PIECE + 2 * GUEST_PAGE));
	expect(!can(READS, DATA_AT + 2 * PIECE + GUEST_PAGE));
	expect(!(pte(DATA_AT + 2 * PIECE + GUEST_PAGE) & PTE_A));
	close_space();
}

static void leaves_the_rest_alone(void)
{
	static const uint64_t others[] = {
		DATA | PTE_P | PTE_A | PTE_W | PTE_D, /* the kernel's */
		RAM_BYTES | RW,                       /* there is nothing */
		ROM_AT | RW,                          /* it can be read, some other way */
		DATA | (UINT64_C(1) << 45) | RW,      /* a reserved bit */
		0,
	};
	open_space();
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		put(DATA_AT, others[i]);
		flush();
		expect_equal(reach(READS, DATA_AT), DIRECT_INTERPRETED);
	}
	/* So it is with what is above. */
	static const uint64_t above[][2] = { { 2, DATA | USER | PTE_PS | PTE_W | PTE_D }, { 3, 0 },
		{ 4, PTE_PS }, { 3, PTE_NX | PTE_P }, { 2, UINT64_C(1) << 50 } };
	for (size_t i = 0; i < ARRAY_SIZE(above); i++) {
		uint32_t level = (uint32_t)above[i][0];
		uint64_t linear = DATA_AT + (i + 1) * (UINT64_C(1) << 39);
		put(linear, DATA | RX);
		uint64_t *entry = entry_of(linear, level);
		if (above[i][1] == (PTE_NX | PTE_P))
			*entry |= PTE_NX;
		else if (above[i][1] & PTE_P || above[i][1] == 0)
			*entry = above[i][1];
		else
			*entry |= above[i][1];
		expect_equal(reach(JUMPS, linear), DIRECT_INTERPRETED);
	}
	expect_equal(direct_space_reach(space, cpu, CODE_AT, 0x1000), DIRECT_INTERPRETED);
	expect_equal(direct_space_reach(space, cpu, CODE_AT, DIRECT_END), DIRECT_INTERPRETED);
	expect_equal(direct_space_reach(space, cpu, CODE_AT, UINT64_MAX), DIRECT_INTERPRETED);
	close_space();
}

/* A program must not go on with what its kernel has taken away. */
static void sees_what_changes(void)
{
	uint64_t physical = DATA + 2 * GUEST_PAGE;
	open_space();
	struct {
		uint32_t level;
		uint64_t clear, set;
		bool reads, writes;
	} changes[] = {
		{ 1, PTE_P, 0, false, false },
		{ 1, PTE_U, 0, false, false },
		{ 1, PTE_A, 0, false, false },
		{ 1, PTE_W, 0, false, false }, /* until it is reached again */
		{ 1, PTE_D, 0, false, false },
		{ 1, PTE_ADDRESS, physical, false, false },
		{ 1, 0, PTE_G, true, true },
		{ 2, PTE_P, 0, false, false },
		{ 2, PTE_U, 0, false, false },
		{ 2, PTE_W, 0, false, false },
		{ 3, PTE_U, 0, false, false },
		{ 3, PTE_A, 0, false, false },
		{ 4, PTE_U, 0, false, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		uint64_t linear = DATA_AT + (i + 1) * (UINT64_C(1) << 39);
		put(linear, DATA | RW);
		expect_equal(reach(WRITES, linear), DIRECT_REACHED);
		expect(can(READS, linear) && can(WRITES, linear));
		uint64_t *entry = entry_of(linear, changes[i].level);
		*entry = (*entry & ~changes[i].clear) | changes[i].set;
		flush();
		if (can(READS, linear) != changes[i].reads)
			test_fail("change %zu, read", i);
		if (can(WRITES, linear) != changes[i].writes)
			test_fail("change %zu, write", i);
	}
	/* Another program has come here: most is wrong. */
	for (uint64_t i = 0; i < 16; i++)
		put(DATA_AT + 2 * i * GUEST_PAGE, DATA | RW);
	expect_equal(reach(READS, DATA_AT), DIRECT_REACHED);
	for (uint64_t i = 0; i < 16; i++)
		put(DATA_AT + 2 * i * GUEST_PAGE, physical | RW);
	*entry_of(CODE_AT, 1) = 0;
	cpu->direct_epoch++;
	expect(!direct_space_look(space, cpu, cpu->direct_epoch));
	close_space();
}

static void code_is_not_written(void)
{
	uint64_t rwx = DATA | RX | PTE_W | PTE_D;
	open_space();
	put(DATA_AT, rwx);
	expect_equal(reach(JUMPS, DATA_AT), DIRECT_REACHED);
	expect(can(JUMPS, DATA_AT));
	expect_equal(reach(WRITES, DATA_AT), DIRECT_TURNED);
	expect_equal(reach(JUMPS, DATA_AT), DIRECT_TURNED);
	/* What tells of the host cannot be executed: XSAVE. */
	memcpy(at(DATA + 2 * GUEST_PAGE), "\x0f\xae\x20", 3);
	put(DATA_AT + PIECE, (DATA + 2 * GUEST_PAGE) | RX);
	expect_equal(reach(JUMPS, DATA_AT + PIECE), DIRECT_REFUSED);
	expect(can(READS, DATA_AT + PIECE));
	/* Decoded code is written by nobody unnoticed: not by a mapping that comes, nor by one that is there. */
	uint64_t other = DATA_AT + 2 * PIECE;
	put(other, DATA | RW);
	expect_equal(reach(WRITES, other), DIRECT_REACHED);
	expect(direct_space_protect(space, DATA));
	expect(!direct_space_protect(space, DATA));
	atomic_store(&guest->regions[0].watched[DATA / GUEST_PAGE], 1);
	expect(ready());
	expect_equal(reach(WRITES, other), DIRECT_REACHED);
	expect(can(READS, other));
	expect_equal(reach(WRITES, other), DIRECT_INTERPRETED);
	expect(!direct_space_protect(space, DATA));
	close_space();
}

/* What the guest sees there is not in the memfd. */
static void leaves_files_alone(void)
{
	open_space();
	put(DATA_AT, FILE_AT | RW);
	put(DATA_AT + GUEST_PAGE, (FILE_AT + GUEST_PAGE) | RW);
	expect_equal(reach(WRITES, DATA_AT), DIRECT_INTERPRETED);
	expect(can(WRITES, DATA_AT + GUEST_PAGE));
	expect(!can(READS, DATA_AT));
	close_space();
}

/* What can only be read anyway is mapped from the file, beside what is not. */
static void maps_the_image(void)
{
	open_space();
	put(DATA_AT, IMAGE_AT | RW);
	put(DATA_AT + GUEST_PAGE, (IMAGE_AT + GUEST_PAGE) | RW);
	put(DATA_AT + PIECE, IMAGE_AT | RX);
	expect_equal(reach(READS, DATA_AT), DIRECT_REACHED);
	expect(can(READS, DATA_AT) && can(WRITES, DATA_AT + GUEST_PAGE));
	expect_equal(reach(WRITES, DATA_AT), DIRECT_INTERPRETED);
	expect_equal(reach(JUMPS, DATA_AT + PIECE), DIRECT_REACHED);
	expect(can(JUMPS, DATA_AT + PIECE) && can(READS, DATA_AT + PIECE));
	expect_equal(*(uint8_t *)at(IMAGE_AT), 0xf4);
	put(DATA_AT, DATA | RW);
	flush();
	expect_equal(reach(WRITES, DATA_AT), DIRECT_REACHED);
	expect(can(WRITES, DATA_AT));
	close_space();
}

static void limit(rlim_t bytes)
{
	const struct rlimit limit = { bytes, RLIM_INFINITY };
	int pid = direct_process_id(direct_space_process(space));
	expect_equal(prlimit(pid, RLIMIT_AS, &limit, NULL), 0);
}

/* No page beside its neighbour: each is a mapping. */
static void scatter(uint64_t linear)
{
	for (uint64_t i = 0; i < PIECE / GUEST_PAGE; i++)
		put(linear + i * GUEST_PAGE, DATA | RW);
}

static void expect_none(uint64_t linear)
{
	for (uint64_t i = 0; i < PIECE / GUEST_PAGE; i++) {
		put(linear + i * GUEST_PAGE, 0);
		flush();
		if (can(READS, linear + i * GUEST_PAGE))
			test_fail("page %ju is there still", (uintmax_t)i);
	}
}

/* The host has no room while pages of a piece are still being mapped: none of them may be forgotten and stay. */
static void forgets_nothing_that_stays(void)
{
	open_space();
	scatter(DATA_AT);
	scatter(DATA_AT + PIECE);
	limit(64 * GUEST_PAGE);
	expect(direct_space_reach(space, cpu, CODE_AT, DATA_AT) == DIRECT_REACHED);
	(void)direct_space_reach(space, cpu, CODE_AT, DATA_AT + PIECE);
	limit(RLIM_INFINITY);
	expect(ready());
	expect_none(DATA_AT + PIECE);
	expect_none(DATA_AT);
	/* The same with a table that is another by now. */
	put(CODE_AT, CODE | RX);
	scatter(DATA_AT);
	for (uint64_t i = 0; i < 4; i++)
		expect_equal(reach(READS, DATA_AT + 128 * i * GUEST_PAGE), DIRECT_REACHED);
	close_space();
}

#define MANY UINT64_C(72)

/* More than a process may have: that neither ends it nor has anybody see what is not there. */
static void has_room_for_the_rest(void)
{
	open_space();
	for (uint64_t i = 0; i < MANY; i++)
		scatter(DATA_AT + i * PIECE);
	for (uint64_t page = 0; page < MANY * 512; page += 32) {
		enum direct_reach r = direct_space_reach(
			space, cpu, CODE_AT, DATA_AT + (page + page / 32 % 32) * GUEST_PAGE);
		if (r != DIRECT_REACHED && r != DIRECT_TURNED)
			test_fail("page %ju: %u", (uintmax_t)page, (uint32_t)r);
		expect(ready());
	}
	uint64_t last = DATA_AT + (MANY * 512 - 7) * GUEST_PAGE;
	put(CODE_AT, CODE | RX);
	if (!can(READS, last))
		expect_equal(reach(READS, last), DIRECT_REACHED);
	expect(can(READS, last));
	/* All that was there is gone, and all is taken away. */
	for (uint64_t i = 0; i < MANY; i++)
		*entry_of(DATA_AT + i * PIECE, 2) = 0;
	flush();
	for (uint64_t page = 0; page < MANY * 512; page += 97)
		expect(!can(READS, DATA_AT + page * GUEST_PAGE));
	close_space();
}

/* More pieces than are kept. */
static void has_many_pieces(void)
{
	open_space();
	/* One table for all. */
	put(DATA_AT, DATA | RW);
	uint64_t table = *entry_of(DATA_AT, 2);
	for (uint64_t i = 1; i < 1100; i++) {
		*entry_of(DATA_AT + i * PIECE, 2) = table;
		enum direct_reach r = direct_space_reach(space, cpu, CODE_AT, DATA_AT + i * PIECE);
		expect_equal(r, DIRECT_REACHED);
		expect(ready());
		if (i % 100 == 0)
			expect(can(READS, DATA_AT + i * PIECE));
	}
	put(DATA_AT, 0);
	flush();
	for (uint64_t i = 0; i < 1100; i += 7)
		expect(!can(READS, DATA_AT + i * PIECE));
	close_space();
}

static void knows_that_it_is_gone(void)
{
	open_space();
	expect_equal(kill(direct_process_id(direct_space_process(space)), SIGKILL), 0);
	put(DATA_AT, DATA | RW);
	(void)direct_space_reach(space, cpu, CODE_AT, DATA_AT);
	expect(!ready());
	expect(!ready());
	expect(!direct_space_begin(space, cpu));
	close_space();
}

/* Four pages of tables that lead to the same empty one 67 million times: who calls does not wait until all were looked at. */
static void is_called_away(void)
{
	open_space();
	for (uint64_t level = 4; level > 1; level--) {
		uint64_t *table = at(TABLES_AT + (level == 4 ? 0 : 0x100000 + level * GUEST_PAGE));
		for (uint32_t i = 0; i < (level == 4 ? 256 : 512); i++)
			table[i] = (TABLES_AT + 0x100000 + (level - 1) * GUEST_PAGE) | USER | PTE_W;
	}
	memset(at(TABLES_AT + 0x101000), 0, GUEST_PAGE);
	atomic_store(&cpu->attention, ATTENTION_KICK);
	walk_forget(cpu);
	expect(direct_space_begin(space, cpu));
	close_space();
}

static const struct test tests[] = {
	{ "a page is mapped as the tables allow; accessed and dirty are set", maps_by_rights },
	{ "what is not the program's memory is the interpreter's", leaves_the_rest_alone },
	{ "after a flush nothing is there that the tables do not have any more",
		sees_what_changes },
	{ "nothing is written and executed at once; decoded code is not written",
		code_is_not_written },
	{ "memory that is a file's is not taken from the memfd", leaves_files_alone },
	{ "what is only read of a file is mapped from it", maps_the_image },
	{ "what was mapped while there was no room is not forgotten", forgets_nothing_that_stays },
	{ "more pieces of memory than a process may have", has_room_for_the_rest },
	{ "more of the address space than is kept", has_many_pieces },
	{ "a process that was killed is gone", knows_that_it_is_gone },
	{ "tables without end keep nobody who calls", is_called_away },
};
TEST_MAIN(tests)
