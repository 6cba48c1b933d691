/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.h - a 16550A UART: what the guest writes goes to `output`, serial_input() goes to the guest.
 */
#pragma once

#include "vmm/bus.h"
#include "vmm/state.h"
#include "vmm/wires.h"

#define SERIAL_FIFO 16

struct serial {
	struct bus *bus;
	const struct wires *wires;
	uint32_t line;
	struct region ports;

	/* Bytes the guest has sent. The bus lock is held. */
	void (*output)(void *data, const uint8_t *bytes, size_t count);
	/* There is room for input again. The bus lock is held. */
	void (*drained)(void *data);
	void *data;

	uint16_t divisor;
	uint8_t interrupt_enable, line_control, modem_control, scratch, fifo_control;
	uint8_t interrupt_pending; /* bits of the causes below */
	uint8_t overrun;
	uint8_t fifo[SERIAL_FIFO];
	uint8_t fifo_count;
	bool level;
};

int serial_init(struct serial *serial, struct bus *bus, const struct wires *wires, uint16_t port,
	uint32_t line, struct error *e) must_use;
void serial_done(struct serial *serial);
void serial_reset(struct serial *serial);

/* The bus lock is held. Returns how many bytes there was room for. */
size_t serial_input(struct serial *serial, const uint8_t *bytes, size_t count);

void serial_save(const struct serial *serial, struct state *state);
int serial_load(struct serial *serial, const struct state *state, struct error *e) must_use;
