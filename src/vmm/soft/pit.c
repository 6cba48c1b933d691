/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pit.c - counters that are worked out from the time that has passed when somebody looks.
 */
#include "vmm/soft/pit.h"

#include <string.h>

#define PIT_HZ UINT64_C(1193182)

/* Nobody has programmed the channel: it counts, but channel 0 interrupts nobody. */
#define ACCESS_UNSET 0
#define ACCESS_BOTH  3

static uint64_t to_ns(uint64_t ticks)
{
	return ticks * NS_PER_SEC / PIT_HZ;
}

static uint64_t elapsed(const struct soft *soft, uint32_t i)
{
	uint64_t ns = cpu_now() - soft->pit_start_ns[i];
	return (uint64_t)((unsigned __int128)ns * PIT_HZ / NS_PER_SEC);
}

static bool is_periodic(const struct pit_channel_state *channel)
{
	return channel->mode == 2 || channel->mode == 3;
}

void pit_reset(struct soft *soft)
{
	memset(soft->pit, 0, sizeof(soft->pit));
	for (int i = 0; i < 3; i++) {
		soft->pit[i].count = 65536;
		soft->pit[i].mode = 3;
		soft->pit[i].access = ACCESS_UNSET;
		soft->pit[i].gate = i != 2;
		soft->pit_start_ns[i] = cpu_now();
	}
	soft->pit_at_ns = 0;
}

static uint16_t counter(const struct soft *soft, uint32_t i)
{
	const struct pit_channel_state *channel = &soft->pit[i];
	uint64_t ticks = elapsed(soft, i);
	if (i == 2 && !channel->gate)
		ticks = 0;
	uint64_t count;
	if (channel->mode == 3)
		count = channel->count - (2 * ticks) % channel->count;
	else if (channel->mode == 2)
		count = channel->count - ticks % channel->count;
	else
		count = channel->count - ticks;
	count &= 0xffff;
	if (!channel->bcd)
		return (uint16_t)count;
	count %= 10000;
	return (uint16_t)(count / 1000 << 12 | count / 100 % 10 << 8 | count / 10 % 10 << 4 |
		count % 10);
}

static bool output(const struct soft *soft, uint32_t i)
{
	const struct pit_channel_state *channel = &soft->pit[i];
	uint64_t ticks = elapsed(soft, i);
	if (i == 2 && !channel->gate)
		return is_periodic(channel);
	switch (channel->mode) {
	case 0:
	case 1:
		return ticks >= channel->count;
	case 2:
		return ticks % channel->count != channel->count - 1;
	case 3:
		return ticks % channel->count < (channel->count + 1) / 2;
	default:
		return ticks != channel->count;
	}
}

static void start(struct soft *soft, uint32_t i, uint32_t count)
{
	struct pit_channel_state *channel = &soft->pit[i];
	if (channel->bcd)
		count = (count >> 12) * 1000 + (count >> 8 & 15) * 100 + (count >> 4 & 15) * 10 +
			(count & 15);
	if (count == 0)
		count = channel->bcd ? 10000 : 65536;
	if (channel->access == ACCESS_UNSET)
		channel->access = ACCESS_BOTH;
	channel->count = count;
	soft->pit_start_ns[i] = cpu_now();
	if (i == 0) {
		soft->pit_at_ns = soft->pit_start_ns[0] + to_ns(count);
		pthread_cond_signal(&soft->timer_wait);
	}
}

static void latch(struct soft *soft, uint32_t i)
{
	struct pit_channel_state *channel = &soft->pit[i];
	if (channel->latch_state)
		return;
	channel->latched = counter(soft, i);
	channel->latch_state = channel->access ?: ACCESS_BOTH;
}

static void read_back(struct soft *soft, uint8_t value)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct pit_channel_state *channel = &soft->pit[i];
		if (!(value >> (i + 1) & 1))
			continue;
		if (!(value & 0x20))
			latch(soft, i);
		if (!(value & 0x10) && !channel->status_latched) {
			channel->status = (uint8_t)(output(soft, i) << 7 | channel->access << 4 |
				channel->mode << 1 | channel->bcd);
			channel->status_latched = 1;
		}
	}
}

static void control(struct soft *soft, uint8_t value)
{
	uint32_t i = value >> 6, access = value >> 4 & 3;
	if (i == 3) {
		read_back(soft, value);
		return;
	}
	if (access == 0) {
		latch(soft, i);
		return;
	}
	struct pit_channel_state *channel = &soft->pit[i];
	channel->access = (uint8_t)access;
	channel->mode = value >> 1 & 7;
	if (channel->mode > 5)
		channel->mode &= 3;
	channel->bcd = value & 1;
	channel->read_state = channel->write_state = 0;
	channel->latch_state = 0;
	channel->status_latched = 0;
	if (i == 0)
		soft->pit_at_ns = 0;
}

static void write_channel(struct soft *soft, uint32_t i, uint8_t value)
{
	struct pit_channel_state *channel = &soft->pit[i];
	if (channel->access == 1) {
		start(soft, i, value);
	} else if (channel->access == 2) {
		start(soft, i, (uint32_t)value << 8);
	} else if (!channel->write_state) {
		channel->write_low = value;
		channel->write_state = 1;
	} else {
		channel->write_state = 0;
		start(soft, i, (uint32_t)value << 8 | channel->write_low);
	}
}

void pit_write(struct soft *soft, uint32_t port, uint8_t value)
{
	if (port == 0x61) {
		bool was = soft->pit[2].gate;
		soft->speaker = value & 3;
		soft->pit[2].gate = value & 1;
		if (!was && soft->pit[2].gate)
			soft->pit_start_ns[2] = cpu_now();
	} else if (port == 0x43) {
		control(soft, value);
	} else {
		write_channel(soft, port & 3, value);
	}
}

static uint8_t read_channel(struct soft *soft, uint32_t i)
{
	struct pit_channel_state *channel = &soft->pit[i];
	if (channel->status_latched) {
		channel->status_latched = 0;
		return channel->status;
	}
	if (channel->latch_state) {
		if (channel->latch_state == 3) {
			channel->latch_state = 2;
			return (uint8_t)channel->latched;
		}
		uint32_t shift = channel->latch_state == 2 ? 8 : 0;
		channel->latch_state = 0;
		return (uint8_t)(channel->latched >> shift);
	}
	uint16_t now = counter(soft, i);
	if (channel->access == 1)
		return (uint8_t)now;
	if (channel->access == 2)
		return (uint8_t)(now >> 8);
	channel->read_state ^= 1;
	return (uint8_t)(channel->read_state ? now : now >> 8);
}

uint8_t pit_read(struct soft *soft, uint32_t port)
{
	if (port == 0x61) {
		uint8_t refresh = cpu_now() / 15085 & 1;
		return (uint8_t)(soft->speaker | refresh << 4 | output(soft, 2) << 5);
	}
	return port == 0x43 ? 0xff : read_channel(soft, port & 3);
}

bool pit_tick(struct soft *soft, uint64_t now, uint64_t *next)
{
	bool ticks = soft->pit_at_ns != 0 && soft->pit_at_ns <= now;
	if (ticks && is_periodic(&soft->pit[0])) {
		uint64_t period = to_ns(soft->pit[0].count);
		if (period < 10000)
			period = 10000; /* a guest cannot keep the timer thread busy */
		soft->pit_at_ns += ((now - soft->pit_at_ns) / period + 1) * period;
	} else if (ticks) {
		soft->pit_at_ns = 0;
	}
	*next = soft->pit_at_ns ? soft->pit_at_ns : UINT64_MAX;
	return ticks;
}

void pit_save(const struct soft *soft, struct chips_state *state)
{
	for (int i = 0; i < 3; i++) {
		state->pit[i] = soft->pit[i];
		state->pit[i].elapsed_ns = cpu_now() - soft->pit_start_ns[i];
	}
	state->speaker = soft->speaker;
}

void pit_load(struct soft *soft, const struct chips_state *state)
{
	for (int i = 0; i < 3; i++) {
		soft->pit[i] = state->pit[i];
		soft->pit[i].mode = state->pit[i].mode % 6;
		if (soft->pit[i].count == 0 || soft->pit[i].count > 65536)
			soft->pit[i].count = 65536;
		soft->pit_start_ns[i] = cpu_now() - state->pit[i].elapsed_ns;
	}
	soft->speaker = state->speaker & 3;
	soft->pit_at_ns = 0;
	if (is_periodic(&soft->pit[0]) && soft->pit[0].access != ACCESS_UNSET)
		soft->pit_at_ns = cpu_now() + to_ns(soft->pit[0].count);
	pthread_cond_signal(&soft->timer_wait);
}
