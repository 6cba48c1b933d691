/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"
#include "vmm/soft/fallback.h"
#include "vmm/soft/notice.h"
#include "vmm/soft/soft.h"
#include "vmm/soft/tlb.h"

#define RAM_BYTES (64 * MIB)

static struct guest *guest;
static struct cpus *cpus;

static struct cpu *open_two(struct cpu **other)
{
	struct error e = {};
	if (soft_translator_engine.probe(&e) < 0)
		test_skip("%.200s", e.text);
	expect(guest_new(&guest, &e) == 0);
	expect(guest_add(guest, 0, RAM_BYTES, GUEST_RAM, &e) == 0);
	expect(soft_translator_engine.open(guest, 2, &cpus, &e) == 0);
	struct soft *soft = (struct soft *)(void *)cpus; /* which begins with it */
	*other = soft->cpu[1];
	return soft->cpu[0];
}

static void close_two(void)
{
	soft_translator_engine.close(cpus);
	guest_free(guest);
}

static void decode_pages(struct cpu *cpu, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		notice_protect(cpu->soft, cpu, i * GUEST_PAGE);
}

/* As many as are kept are answered one by one. */
static void keeps_some(void)
{
	struct cpu *reader, *writer;
	reader = open_two(&writer);
	decode_pages(reader, NOTICE_MAX);
	decode_pages(reader, NOTICE_MAX);
	expect(!writer->notice_overflow);
	expect(atomic_load(&writer->attention) & ATTENTION_CODE);
	notice_handle(writer);
	expect(!reader->notice_forgets && reader->notice_count == 0);
	close_two();
}

/* More, while the other one ran: what it has written meanwhile nobody knows. */
static void is_told_of_what_was_lost(void)
{
	struct cpu *reader, *writer;
	reader = open_two(&writer);
	decode_pages(reader, NOTICE_MAX + 1);
	atomic_store(&reader->attention, 0);
	notice_handle(writer);
	expect(reader->notice_forgets);
	expect(atomic_load(&reader->attention) & ATTENTION_CODE);
	uint32_t generation = reader->generation;
	notice_handle(reader);
	expect(!reader->notice_forgets && reader->generation != generation);
	/* That is the end of it. */
	atomic_store(&writer->attention, 0);
	notice_handle(reader);
	expect(atomic_load(&writer->attention) == 0);
	close_two();
}

/* One that slept has written nothing. */
static void asks_nothing_for_sleepers(void)
{
	struct cpu *reader, *writer;
	reader = open_two(&writer);
	atomic_store(&writer->is_idle, true);
	decode_pages(reader, 2 * NOTICE_MAX);
	expect(writer->notice_overflow);
	notice_handle(writer);
	expect(!reader->notice_forgets);
	close_two();
}

static void fill(struct cpu *cpu, uint64_t page)
{
	uint32_t code;
	expect(tlb_find(cpu, cpu->tlb, page, ACCESS_READ | ACCESS_WRITE, &code));
}

#define PAGE_AT UINT64_C(0x5000)

/* What could write is asked, even if it cannot any more. */
static void knows_who_wrote(void)
{
	struct cpu *reader, *writer;
	for (int how = 0; how < 4; how++) {
		reader = open_two(&writer);
		fill(writer, PAGE_AT);
		if (how == 3)
			tlb_flush(writer, true); /* before: what was written is seen */
		notice_protect(reader->soft, reader, PAGE_AT);
		if (how == 0)
			tlb_flush(writer, true);
		if (how == 1)
			tlb_flush_page(writer, PAGE_AT);
		for (uint64_t i = 1; how == 2 && i < 4; i++)
			fill(writer, PAGE_AT + i * TLB_SIZE * GUEST_PAGE);
		atomic_store(&writer->attention, 0);
		notice_handle(writer);
		expect_equal(reader->notice_count, how != 3);
		/* Once. */
		reader->notice_count = 0;
		notice_protect(reader->soft, reader, PAGE_AT + GUEST_PAGE);
		atomic_store(&writer->attention, 0);
		notice_handle(writer);
		expect_equal(reader->notice_count, 0);
		close_two();
	}
}

/*
 * Behind a PAUSE, in which the CPU may have slept, it looks for attention before it writes.
 *
 *		pause; mov byte [0x3000], 1; jmp $
 */
static void looks_before_it_writes(void)
{
	static const uint8_t code[] = { 0xf3, 0x90, 0xc6, 0x06, 0x00, 0x30, 0x01, 0xeb, 0xfe };
	struct cpu *cpu, *other;
	struct cpu_state state;
	uint8_t byte;
	cpu = open_two(&other);
	expect(guest_write(guest, 0x2000, code, sizeof(code)) == 0);
	cpu_state_reset(&state, 0);
	state.segments[CPU_CS].selector = 0;
	state.segments[CPU_CS].base = 0;
	state.rip = 0x2000;
	expect(soft_translator_engine.load(cpus, 0, &state) == 0);
	atomic_store(&cpu->attention, ATTENTION_CODE);
	fallback_some(cpu);
	expect_equal(cpu->rip, 0x2002);
	expect(guest_read(guest, 0x3000, &byte, 1) == 0);
	expect_equal(byte, 0);
	atomic_store(&cpu->attention, 0);
	cpu->rip = 0x2000;
	fallback_some(cpu);
	expect(guest_read(guest, 0x3000, &byte, 1) == 0);
	expect_equal(byte, 1);
	close_two();
}

static const struct test tests[] = {
	{ "who could write a page is told that it was asked, in whatever way it lost that",
		knows_who_wrote },
	{ "pages that were decoded are told to the other CPU", keeps_some },
	{ "if they are more than it keeps, who has decoded them forgets its code",
		is_told_of_what_was_lost },
	{ "but not because of a CPU that sleeps", asks_nothing_for_sleepers },
	{ "a CPU that slept in PAUSE looks for attention before it writes",
		looks_before_it_writes },
};
TEST_MAIN(tests)
