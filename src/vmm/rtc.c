/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc.c - an MC146818 with the host's time in it.
 */
#include "vmm/rtc.h"

#include <string.h>

#include "base/bytes.h"
#include "base/calendar.h"

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	STATUS_A,
	STATUS_B,
	STATUS_C,
	STATUS_D
};
#define CENTURY 0x32

#define RTC_LINE       8
#define B_24_HOURS     0x02
#define B_BINARY       0x04
#define B_UPDATE_IRQ   0x10
#define B_ALARM_IRQ    0x20
#define B_PERIODIC_IRQ 0x40
#define B_SET          0x80
#define C_IRQ          0x80
#define D_VALID        0x80

static uint8_t encode(const struct rtc *rtc, int value)
{
	if (rtc->memory[STATUS_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
	return rtc->memory[STATUS_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->memory[STATUS_B] & B_24_HOURS)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
}

static int decode_hour(const struct rtc *rtc, uint8_t value)
{
	if (rtc->memory[STATUS_B] & B_24_HOURS)
		return decode(rtc, value);
	return decode(rtc, value & 0x7f) % 12 + (value & 0x80 ? 12 : 0);
}

static void guest_time(const struct rtc *rtc, struct tm *time)
{
	calendar_split((int64_t)(loop_wall_clock() / NS_PER_SEC) + rtc->offset_seconds, time);
}

static void show_time(struct rtc *rtc)
{
	struct tm time;
	if (rtc->memory[STATUS_B] & B_SET)
		return;
	guest_time(rtc, &time);
	rtc->memory[SECONDS] = encode(rtc, time.tm_sec);
	rtc->memory[MINUTES] = encode(rtc, time.tm_min);
	rtc->memory[HOURS] = encode_hour(rtc, time.tm_hour);
	rtc->memory[WEEKDAY] = encode(rtc, time.tm_wday + 1);
	rtc->memory[DAY] = encode(rtc, time.tm_mday);
	rtc->memory[MONTH] = encode(rtc, time.tm_mon + 1);
	rtc->memory[YEAR] = encode(rtc, time.tm_year % 100);
	rtc->memory[CENTURY] = encode(rtc, time.tm_year / 100 + 19);
}

/* What the guest has written becomes an offset from the host's time. */
static void take_time(struct rtc *rtc)
{
	struct tm time = {
		.tm_sec = decode(rtc, rtc->memory[SECONDS]),
		.tm_min = decode(rtc, rtc->memory[MINUTES]),
		.tm_hour = decode_hour(rtc, rtc->memory[HOURS]),
		.tm_mday = decode(rtc, rtc->memory[DAY]),
		.tm_mon = decode(rtc, rtc->memory[MONTH]) - 1,
		.tm_year = decode(rtc, rtc->memory[YEAR]) +
			(decode(rtc, rtc->memory[CENTURY]) - 19) * 100,
	};
	rtc->offset_seconds = calendar_join(&time) - (int64_t)(loop_wall_clock() / NS_PER_SEC);
}

static void update(struct rtc *rtc)
{
	bool level = rtc->memory[STATUS_C] & rtc->memory[STATUS_B] &
		(B_UPDATE_IRQ | B_ALARM_IRQ | B_PERIODIC_IRQ);
	if (level)
		rtc->memory[STATUS_C] |= C_IRQ;
	if (level == rtc->level)
		return;
	rtc->level = level;
	rtc->wires->line(rtc->wires->data, RTC_LINE, level);
}

static uint64_t period_ns(const struct rtc *rtc)
{
	uint32_t rate = rtc->memory[STATUS_A] & 15;
	if (rate == 0)
		return 0;
	if (rate < 3)
		rate += 7;
	return NS_PER_SEC * (UINT64_C(1) << (rate - 1)) / 32768;
}

static void set_timers(struct rtc *rtc)
{
	uint8_t enabled = rtc->memory[STATUS_B];
	uint64_t period = period_ns(rtc), now = loop_now();
	if ((enabled & B_PERIODIC_IRQ) && period) {
		rtc->periodic_at_ns = now + period;
		timer_set(rtc->periodic, rtc->periodic_at_ns);
	} else {
		timer_stop(rtc->periodic);
	}
	if (enabled & (B_UPDATE_IRQ | B_ALARM_IRQ))
		timer_set(rtc->second, now + NS_PER_SEC - loop_wall_clock() % NS_PER_SEC);
	else
		timer_stop(rtc->second);
}

static void periodic_fired(void *data)
{
	struct rtc *rtc = data;
	bus_guard(rtc->bus);
	uint64_t period = period_ns(rtc), now = loop_now();
	if (!period)
		return;
	rtc->memory[STATUS_C] |= B_PERIODIC_IRQ;
	update(rtc);
	rtc->periodic_at_ns += period;
	if (rtc->periodic_at_ns < now)
		rtc->periodic_at_ns = now + period;
	timer_set(rtc->periodic, rtc->periodic_at_ns);
}

static bool alarm_matches(const struct rtc *rtc, int alarm, int now)
{
	uint8_t wanted = rtc->memory[alarm];
	return wanted >= 0xc0 || wanted == rtc->memory[now];
}

static void second_fired(void *data)
{
	struct rtc *rtc = data;
	bus_guard(rtc->bus);
	show_time(rtc);
	rtc->memory[STATUS_C] |= B_UPDATE_IRQ;
	if (alarm_matches(rtc, SECONDS_ALARM, SECONDS) &&
		alarm_matches(rtc, MINUTES_ALARM, MINUTES) &&
		alarm_matches(rtc, HOURS_ALARM, HOURS))
		rtc->memory[STATUS_C] |= B_ALARM_IRQ;
	update(rtc);
	timer_set(rtc->second, loop_now() + NS_PER_SEC - loop_wall_clock() % NS_PER_SEC);
}

static uint64_t rtc_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct rtc *rtc = data;
	if (offset != 1 || bytes != 1)
		return UINT64_MAX;
	if (rtc->index <= YEAR || rtc->index == CENTURY)
		show_time(rtc);
	uint8_t value = rtc->memory[rtc->index];
	if (rtc->index == STATUS_C) {
		rtc->memory[STATUS_C] = 0;
		update(rtc);
	}
	return value;
}

static void rtc_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct rtc *rtc = data;
	if (bytes != 1)
		return;
	if (offset == 0) {
		rtc->index = value & 0x7f;
		return;
	}
	if (rtc->index == STATUS_C || rtc->index == STATUS_D)
		return;
	bool is_time = rtc->index == SECONDS || rtc->index == MINUTES || rtc->index == HOURS ||
		(rtc->index >= WEEKDAY && rtc->index <= YEAR) || rtc->index == CENTURY;
	if (is_time)
		show_time(rtc);
	bool was_set = rtc->memory[STATUS_B] & B_SET;
	if (rtc->index == STATUS_B && !was_set)
		show_time(rtc);
	if (rtc->index == STATUS_A)
		value &= 0x7f;
	rtc->memory[rtc->index] = (uint8_t)value;
	if ((is_time && !was_set) || (rtc->index == STATUS_B && was_set && !(value & B_SET)))
		take_time(rtc);
	if (rtc->index == STATUS_A || rtc->index == STATUS_B)
		set_timers(rtc);
	update(rtc);
}

static const struct region_calls rtc_calls = { rtc_read, rtc_write };

int rtc_init(struct rtc *rtc, struct bus *bus, const struct wires *wires, struct loop *loop,
	struct error *e)
{
	*rtc = (struct rtc){
		.bus = bus,
		.wires = wires,
		.ports = { &rtc_calls, rtc, 0x70, 2 },
	};
	rtc->memory[STATUS_A] = 0x26;
	rtc->memory[STATUS_B] = B_24_HOURS;
	rtc->memory[STATUS_D] = D_VALID;
	int r = bus_add(bus, BUS_PORTS, &rtc->ports);
	if (r < 0)
		return error_code(e, r, "clock at port 0x70");
	rtc->periodic = loop_add_timer(loop, periodic_fired, rtc);
	rtc->second = loop_add_timer(loop, second_fired, rtc);
	return 0;
}

void rtc_done(struct rtc *rtc)
{
	if (!rtc->bus)
		return;
	bus_remove(rtc->bus, BUS_PORTS, &rtc->ports);
	source_free(rtc->periodic);
	source_free(rtc->second);
}

static uint32_t cut(uint64_t units)
{
	return units < UINT16_MAX ? (uint32_t)units : UINT16_MAX;
}

void rtc_set_memory(struct rtc *rtc, uint64_t low_bytes, uint64_t high_bytes, uint32_t cpus)
{
	uint64_t above_1m = low_bytes > MIB ? (low_bytes - MIB) / KIB : 0;
	uint64_t above_16m = low_bytes > 16 * MIB ? (low_bytes - 16 * MIB) / 65536 : 0;
	put_le16(rtc->memory + 0x15, 640);
	put_le16(rtc->memory + 0x17, cut(above_1m));
	put_le16(rtc->memory + 0x30, cut(above_1m));
	put_le16(rtc->memory + 0x34, cut(above_16m));
	uint64_t high = high_bytes / 65536;
	put_le16(rtc->memory + 0x5b, (uint32_t)high);
	rtc->memory[0x5d] = (uint8_t)(high >> 16);
	rtc->memory[0x5f] = (uint8_t)(cpus - 1);
	rtc->memory[0x38] = 0x30; /* boot order, first and second: disk, then nothing */
	rtc->memory[0x3d] = 0x02;
}

struct rtc_saved {
	int64_t offset_seconds;
	uint8_t memory[RTC_BYTES];
	uint8_t index, reserved[7];
};
static_assert(sizeof(struct rtc_saved) == 144, "layout");

void rtc_save(const struct rtc *rtc, struct state *state)
{
	struct rtc_saved saved = { .offset_seconds = rtc->offset_seconds, .index = rtc->index };
	memcpy(saved.memory, rtc->memory, sizeof(saved.memory));
	state_put(state, "rtc", 1, &saved, sizeof(saved));
}

int rtc_load(struct rtc *rtc, const struct state *state, struct error *e)
{
	struct rtc_saved saved;
	int r = state_get(state, "rtc", 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	rtc->offset_seconds = saved.offset_seconds;
	rtc->index = saved.index & 0x7f;
	memcpy(rtc->memory, saved.memory, sizeof(rtc->memory));
	set_timers(rtc);
	update(rtc);
	return 0;
}
