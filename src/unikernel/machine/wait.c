/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c - the processor's own interrupt controller, which wakes a sleeping machine.
 *
 * Theory of operation. Interrupts are off but while the processor sleeps. What came before stays noted in the controller
 * and ends the sleep at once; so whoever looks at all devices, finds nothing and sleeps misses nothing.
 */
#include "unikernel/machine/wait.h"

#include "unikernel/machine/clock.h"
#include "unikernel/machine/gate.h"
#include "unikernel/machine/pages.h"
#include "unikernel/machine/port.h"

#define APIC_ID       0x20
#define APIC_SPURIOUS 0xf0
#define APIC_TIMER    0x320
#define APIC_INITIAL  0x380
#define APIC_DIVIDE   0x3e0
#define APIC_ENABLED  0x100u
#define DIVIDE_BY_ONE 0xbu
#define AT_DEADLINE   (2u << 17)
#define DEADLINE      0x6e0u
#define HAS_DEADLINE  (1u << 24)
#define SLEEP_LONGEST 4000000000u /* ns, and ticks of a timer of 1 GHz, as all hypervisors have */

#define AS_NMI           0x400u
#define IO_APIC_VERSION  1
#define LINE_ENTRY(line) (0x10 + 2 * (line))

struct controller {
	volatile uint32_t *select;
	uint32_t first;
};
static struct controller controllers[4];
static uint32_t controller_count;

static bool has_deadline;

static void apic_set(uint32_t place, uint32_t value)
{
	*device_word(MACHINE_APIC + place) = value;
}

void wait_init(void)
{
	has_deadline = (cpuid(1).c & HAS_DEADLINE) && clock_cycles_at(0);
	/* The old controllers are silent. */
	port_write8(0x21, 0xff);
	port_write8(0xa1, 0xff);
	apic_set(APIC_SPURIOUS, APIC_ENABLED | VECTOR_SPURIOUS);
	apic_set(APIC_DIVIDE, DIVIDE_BY_ONE);
	apic_set(APIC_TIMER, VECTOR_WAKE | (has_deadline ? AT_DEADLINE : 0));
}

void wait_add_controller(uint64_t physical, uint32_t first)
{
	volatile uint8_t *window = pages_map_device(physical, 0x20);
	if (!window || controller_count == COUNT(controllers))
		return;
	controllers[controller_count++] =
		(struct controller){ (volatile uint32_t *)(volatile void *)window, first };
}

/* As edges, whatever the line is: a line that stays raised would never let the processor sleep. */
static bool add_line(uint32_t line, uint32_t delivery)
{
	if (!controller_count)
		wait_add_controller(MACHINE_IO_APIC, 0);
	for (uint32_t i = 0; i < controller_count; i++) {
		volatile uint32_t *select = controllers[i].select, *data = select + 4;
		*select = IO_APIC_VERSION;
		uint32_t last = *data >> 16 & 0xff, entry = line - controllers[i].first;
		if (line < controllers[i].first || entry > last)
			continue;
		*select = LINE_ENTRY(entry) + 1;
		*data = device_word(MACHINE_APIC)[APIC_ID / 4] & 0xff000000;
		*select = LINE_ENTRY(entry);
		*data = delivery;
		return true;
	}
	return false;
}

bool wait_add_line(uint32_t line)
{
	return add_line(line, VECTOR_WAKE);
}

bool wait_add_outside(uint32_t line)
{
	return add_line(line, AS_NMI);
}

uint32_t wait_message_address(void)
{
	return MACHINE_APIC | (device_word(MACHINE_APIC)[APIC_ID / 4] >> 24 << 12);
}

void wait_until(uint64_t until_ns)
{
	uint64_t now = platform_clock_monotonic();
	if (until_ns <= now)
		return;
	uint64_t left = until_ns - now < SLEEP_LONGEST ? until_ns - now : SLEEP_LONGEST;
	if (has_deadline)
		gate_write_register(
			DEADLINE, until_ns == UINT64_MAX ? 0 : clock_cycles_at(until_ns));
	else
		apic_set(APIC_INITIAL, until_ns == UINT64_MAX ? 0 : (uint32_t)left);
	gate_halt();
}
