/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trap.c - what an exception is: a page of the image that is written to, a fault of the program, or our own end.
 */
#include "unikernel/machine/trap.h"

#include <signal.h>

#include "unikernel/exit.h"
#include "unikernel/machine/button.h"
#include "unikernel/machine/layout.h"
#include "unikernel/machine/pages.h"
#include "unikernel/thread.h"

static_assert(offsetof(struct trap, address) == TRAP_ADDRESS, "trap.S");
static_assert(offsetof(struct trap, vector) == TRAP_VECTOR, "trap.S");
static_assert(sizeof(struct trap) == TRAP_SIZE, "trap.S");
static_assert(KERNEL_STACK == 32768, "trap.S");

#define VECTORS      256u
#define TRAPS        22u
#define GATE_PRESENT 0x8e00u
#define GATE_OPEN    0x6000u /* ring 3 may ask for it */

#define OUTSIDE          2
#define PAGE_FAULT       14
#define ERROR_IS_PRESENT 1u
#define ERROR_IS_WRITE   2u
#define CODE_KERNEL      0x80 /* SI_KERNEL */

struct vector {
	uint16_t low, selector, flags, middle;
	uint32_t high, reserved;
};

extern struct vector machine_vectors[VECTORS];
extern const uint64_t machine_trap_entries[TRAPS];
void machine_wake(void);
void machine_spurious(void);
void machine_trap(struct trap *trap) __attribute__((__noreturn__));

static void set_vector(uint32_t number, uint64_t handler, uint16_t stack, uint16_t flags)
{
	machine_vectors[number] = (struct vector){ .low = (uint16_t)handler,
		.selector = BOOT_CODE,
		.flags = (uint16_t)(GATE_PRESENT | flags | stack),
		.middle = (uint16_t)(handler >> 16),
		.high = (uint32_t)(handler >> 32) };
}

static uint64_t entry_of(void (*function)(void))
{
	return address_of((void *)(uintptr_t)function);
}

void trap_init(void)
{
	for (uint32_t i = 0; i < TRAPS; i++)
		set_vector(i, machine_trap_entries[i], i == OUTSIDE ? STACK_OUTSIDE : STACK_TRAP,
			i == 3 || i == 4 ? GATE_OPEN : 0); /* int3 and into */
	set_vector(VECTOR_WAKE, entry_of(machine_wake), STACK_INTERRUPT, 0);
	set_vector(VECTOR_SPURIOUS, entry_of(machine_spurious), STACK_INTERRUPT, 0);
}

/* As Linux tells programs. */
static struct fault fault_of(const struct trap *trap)
{
	static const struct {
		uint8_t signal, code;
	} faults[TRAPS] = {
		[0] = { SIGFPE, FPE_INTDIV },
		[1] = { SIGTRAP, TRAP_TRACE },
		[3] = { SIGTRAP, CODE_KERNEL },
		[4] = { SIGSEGV, CODE_KERNEL },
		[6] = { SIGILL, ILL_ILLOPN },
		[12] = { SIGBUS, CODE_KERNEL },
		[16] = { SIGFPE, FPE_FLTINV },
		[17] = { SIGBUS, BUS_ADRALN },
		[19] = { SIGFPE, FPE_FLTINV },
	};
	struct fault fault = { .registers = trap->registers,
		.signal = faults[trap->vector].signal,
		.code = faults[trap->vector].code };
	if (trap->vector == PAGE_FAULT) {
		fault.signal = SIGSEGV;
		fault.code = trap->registers.number & ERROR_IS_PRESENT ? SEGV_ACCERR : SEGV_MAPERR;
		fault.address = trap->address;
	} else if (!fault.signal) {
		fault.signal = SIGSEGV;
		fault.code = CODE_KERNEL;
	} else if (fault.code != CODE_KERNEL) {
		fault.address = trap->registers.rip;
	}
	return fault;
}

static void say_hex(uint64_t value)
{
	char digits[17];
	for (int i = 0; i < 16; i++)
		digits[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
	digits[16] = ' ';
	platform_console_write(2, digits, sizeof(digits));
}

void machine_trap(struct trap *trap)
{
	if (trap->vector == OUTSIDE) {
		struct registers *r = at(current_thread->kernel_sp - sizeof(*r));
		*r = trap->registers;
		button_release();
		unikernel_interrupt(r);
	}
	if (trap->vector == PAGE_FAULT && (trap->registers.number & ERROR_IS_WRITE) &&
		pages_take(trap->address))
		unikernel_continue(&trap->registers);
	struct fault fault = fault_of(trap);
	if (!current_thread) {
		say_hex(trap->vector);
		say_hex(trap->registers.rip);
		say_hex(trap->address);
		kernel_panic("a fault before the program began");
	}
	uint64_t sp = trap->registers.rsp, top = current_thread->kernel_sp;
	fault.is_in_call = sp < top && sp > top - KERNEL_STACK;
	unikernel_fault(&fault);
}

static bool says_traps;

void trap_report_at_end(void)
{
	says_traps = true;
}

void trap_report(void)
{
	static const char head[] = "berth: ", tail[] = " system calls trapped\n";
	char digits[20];
	size_t start = sizeof(digits);
	if (!says_traps)
		return;
	uint64_t left = machine_traps;
	do {
		digits[--start] = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	platform_console_write(2, head, sizeof(head) - 1);
	platform_console_write(2, digits + start, sizeof(digits) - start);
	platform_console_write(2, tail, sizeof(tail) - 1);
}
