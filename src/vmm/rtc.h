/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtc.h - the clock and CMOS memory of a PC at ports 0x70 and 0x71, line 8.
 *
 * The clock shows the host's wall clock in UTC plus an offset that the guest sets by writing it. The
 * periodic, alarm and update interrupts come from the loop's timers.
 */
#pragma once

#include "base/loop.h"
#include "vmm/bus.h"
#include "vmm/state.h"
#include "vmm/wires.h"

#define RTC_BYTES 128

struct rtc {
	struct bus *bus;
	const struct wires *wires;
	struct region ports;
	uint8_t index;
	uint8_t memory[RTC_BYTES];
	int64_t offset_seconds;
	struct source *periodic, *second;
	uint64_t periodic_at_ns;
	bool level;
};

int rtc_init(struct rtc *rtc, struct bus *bus, const struct wires *wires, struct loop *loop,
	struct error *e) must_use;
void rtc_done(struct rtc *rtc);
/* What firmware reads: memory below and above 4 GiB. */
void rtc_set_memory(struct rtc *rtc, uint64_t low_bytes, uint64_t high_bytes, uint32_t cpus);
void rtc_save(const struct rtc *rtc, struct state *state);
int rtc_load(struct rtc *rtc, const struct state *state, struct error *e) must_use;
