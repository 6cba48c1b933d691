/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.c - time from the processor's cycle counter: as the host tells (KVM's clock), or measured once.
 */
#include "unikernel/machine/clock.h"

#include "unikernel/kernel.h"
#include "unikernel/machine/gate.h"
#include "unikernel/machine/pages.h"
#include "unikernel/machine/port.h"

#define NS          UINT64_C(1000000000)
#define LONGEST     (4 * NS) /* waking up now and then does no harm */
#define HYPERVISOR  0x40000000u
#define KVM_CLOCK   (1u << 3)
#define KVM_WALL    0x4b564d00u
#define KVM_SYSTEM  0x4b564d01u
#define PIT_HZ      1193182u
#define PIT_COUNT   11932u /* ten milliseconds */
#define PIT_LOOKS   5
#define PIT_TRIES   20
#define PIT_CHANNEL 0x42
#define PIT_COMMAND 0x43
#define PIT_GATE    0x61
#define RTC_INDEX   0x70
#define RTC_DATA    0x71

/* The host writes it; an odd version, or one that has changed, says that it does so now. */
struct kvm_clock {
	volatile uint32_t version;
	uint32_t reserved;
	uint64_t cycles, ns;
	uint32_t factor; /* of 2^-32 */
	int8_t shift;
	uint8_t flags, reserved2[2];
};

struct kvm_wall {
	uint32_t version, seconds, ns;
};

static struct kvm_clock kvm __attribute__((aligned(64)));
static struct kvm_wall wall __attribute__((aligned(64)));
/* What is read: the host's or what was measured. */
static struct kvm_clock fixed;
static uint64_t wall_ns;  /* since the epoch, when the monotonic clock showed nothing */
static uint64_t ahead_ns; /* of the host's clock: it went on before */

static uint64_t scale(const struct kvm_clock *clock, uint64_t cycles)
{
	cycles = clock->shift < 0 ? cycles >> -clock->shift : cycles << clock->shift;
	return (uint64_t)((unsigned __int128)cycles * clock->factor >> 32);
}

static struct kvm_clock read_clock(void)
{
	struct kvm_clock copy;
	if (!kvm.version)
		return fixed;
	do {
		copy = kvm;
		__asm__ volatile("" : : : "memory");
	} while ((copy.version & 1) || copy.version != kvm.version);
	return copy;
}

uint64_t platform_clock_monotonic(void)
{
	struct kvm_clock clock = read_clock();
	uint64_t now = cycles_now();
	return ahead_ns + clock.ns + (now > clock.cycles ? scale(&clock, now - clock.cycles) : 0);
}

uint64_t platform_clock_realtime(void)
{
	return wall_ns + platform_clock_monotonic();
}

uint64_t clock_cycles_at(uint64_t ns)
{
	struct kvm_clock clock = read_clock();
	if (!clock.factor)
		return 0;
	uint64_t left = ns > ahead_ns + clock.ns ? ns - ahead_ns - clock.ns : 0;
	if (left > LONGEST)
		left = LONGEST;
	uint64_t cycles = (left << 32) / clock.factor;
	uint64_t count = clock.shift < 0 ? cycles << -clock.shift : cycles >> clock.shift;
	return clock.cycles + count + 1;
}

static bool has_kvm_clock(void)
{
	struct cpuid head = cpuid(HYPERVISOR);
	return (cpuid(1).c >> 31) && head.b == 0x4b4d564b && head.c == 0x564b4d56 &&
		head.d == 0x4d && (cpuid(HYPERVISOR + 1).a & KVM_CLOCK);
}

static void use_kvm_clock(void)
{
	gate_write_register(KVM_WALL, pages_physical(&wall));
	gate_write_register(KVM_SYSTEM, pages_physical(&kvm) | 1);
	if (kvm.version)
		wall_ns = wall.seconds * NS + wall.ns;
}

/* What the timer and the counter of cycles showed at about the same moment. */
struct moment {
	uint64_t cycles, apart;
	uint32_t left; /* of the timer's count */
};

/* The closest of a few looks: the processor may be somebody else's in between. */
static struct moment look_at_timer(void)
{
	struct moment best = { .apart = UINT64_MAX };
	for (int i = 0; i < PIT_LOOKS; i++) {
		uint64_t before = cycles_now();
		port_write8(PIT_COMMAND, 0x80); /* keeps what channel 2 shows */
		uint32_t left = port_read8(PIT_CHANNEL);
		left |= (uint32_t)port_read8(PIT_CHANNEL) << 8;
		uint64_t apart = cycles_now() - before;
		if (apart < best.apart)
			best = (struct moment){ before + apart / 2, apart, left };
	}
	return best;
}

/* By the one timer that every PC has, which counts down once; 0 if its end came too early, UINT64_MAX if there is none. */
static uint64_t measure_once(void)
{
	uint8_t before = port_read8(PIT_GATE) & 0xfc;
	port_write8(PIT_GATE, before | 1);
	port_write8(PIT_COMMAND, 0xb0);
	port_write8(PIT_CHANNEL, 0xff);
	port_write8(PIT_CHANNEL, 0xff);
	struct moment start = look_at_timer(), end = start;
	while (start.left - end.left < PIT_COUNT && end.left <= start.left) {
		end = look_at_timer();
		if (end.cycles - start.cycles > UINT64_C(1) << 32)
			return UINT64_MAX;
	}
	if ((port_read8(PIT_GATE) & 0x20) || end.left >= start.left)
		return 0;
	return (end.cycles - start.cycles) * PIT_HZ / (start.left - end.left);
}

static uint64_t measure_cycles(void)
{
	for (int i = 0; i < PIT_TRIES; i++) {
		uint64_t found = measure_once();
		if (found == UINT64_MAX)
			break;
		if (found)
			return found;
	}
	return NS; /* a cycle is a nanosecond, then */
}

static uint64_t cycles_a_second(void)
{
	struct cpuid ratio = { 0 }, khz = { 0 };
	if (cpuid(0).a >= 0x15)
		ratio = cpuid(0x15);
	if (ratio.a && ratio.b && ratio.c)
		return (uint64_t)ratio.c * ratio.b / ratio.a;
	if ((cpuid(1).c >> 31) && cpuid(HYPERVISOR).a >= HYPERVISOR + 0x10)
		khz = cpuid(HYPERVISOR + 0x10);
	return khz.a ? (uint64_t)khz.a * 1000 : measure_cycles();
}

static uint32_t read_calendar(uint8_t index)
{
	port_write8(RTC_INDEX, index);
	uint8_t value = port_read8(RTC_DATA);
	port_write8(RTC_INDEX, 0x0b);
	bool is_binary = (port_read8(RTC_DATA) & 4) != 0;
	return is_binary ? value : (uint32_t)(value >> 4) * 10 + (value & 15);
}

/* Seconds since the epoch; the calendar of the proleptic kind, years from 2000 to 2099. */
static uint64_t calendar_seconds(void)
{
	static const uint16_t days_before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304,
		334 };
	uint32_t second = read_calendar(0), minute = read_calendar(2), hour = read_calendar(4);
	uint32_t day = read_calendar(7), month = read_calendar(8), year = read_calendar(9);
	if (month < 1 || month > 12 || day < 1)
		return 0;
	uint64_t days = UINT64_C(10957) + year * 365 + (year + 3) / 4 + days_before[month - 1] +
		day - 1 + (month > 2 && year % 4 == 0 ? 1 : 0);
	return ((days * 24 + hour) * 60 + minute) * 60 + second;
}

void clock_init(uint64_t cycles_per_second, uint64_t realtime_ns)
{
	if (has_kvm_clock())
		use_kvm_clock();
	if (kvm.version)
		return;
	uint64_t factor = (NS << 32) / (cycles_per_second ?: cycles_a_second());
	while (factor >> 32) {
		factor >>= 1;
		fixed.shift++;
	}
	fixed.factor = (uint32_t)factor;
	fixed.cycles = cycles_now();
	wall_ns = realtime_ns ?: calendar_seconds() * NS;
}

void clock_go_on(uint64_t then_ns, uint64_t cycles_per_second, uint64_t realtime_ns)
{
	kvm = (struct kvm_clock){};
	fixed = (struct kvm_clock){};
	ahead_ns = 0;
	clock_init(cycles_per_second, realtime_ns);
	uint64_t now = platform_clock_monotonic();
	ahead_ns = now < then_ns ? then_ns - now : 0;
	wall_ns -= ahead_ns;
}
