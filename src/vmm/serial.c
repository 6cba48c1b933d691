/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.c - the registers of a 16550A; its transmitter is infinitely fast.
 */
#include "vmm/serial.h"

#include <errno.h>
#include <string.h>

enum {
	DATA,
	INTERRUPT_ENABLE,
	INTERRUPT_ID,
	LINE_CONTROL,
	MODEM_CONTROL,
	LINE_STATUS,
	MODEM_STATUS,
	SCRATCH
};

#define ENABLE_RECEIVED    1u
#define ENABLE_TRANSMITTED 2u
#define ENABLE_LINE_STATUS 4u
#define ID_NONE            1u
#define ID_TRANSMITTED     2u
#define ID_RECEIVED        4u
#define ID_LINE_STATUS     6u
#define ID_FIFO            0xc0u
#define DIVISOR_LATCH      0x80u
#define STATUS_DATA        1u
#define STATUS_OVERRUN     2u
#define STATUS_EMPTY       0x60u
#define MODEM_OUT2         8u
#define MODEM_LOOP         0x10u
#define CAUSE_TRANSMITTED  1u

static uint8_t interrupt_id(const struct serial *serial)
{
	if ((serial->interrupt_enable & ENABLE_LINE_STATUS) && serial->overrun)
		return ID_LINE_STATUS;
	if ((serial->interrupt_enable & ENABLE_RECEIVED) && serial->fifo_count)
		return ID_RECEIVED;
	if ((serial->interrupt_enable & ENABLE_TRANSMITTED) &&
		(serial->interrupt_pending & CAUSE_TRANSMITTED))
		return ID_TRANSMITTED;
	return ID_NONE;
}

static void update(struct serial *serial)
{
	bool level = interrupt_id(serial) != ID_NONE && (serial->modem_control & MODEM_OUT2);
	if (level == serial->level)
		return;
	serial->level = level;
	serial->wires->line(serial->wires->data, serial->line, level);
}

static void receive(struct serial *serial, uint8_t byte)
{
	if (serial->fifo_count < SERIAL_FIFO)
		serial->fifo[serial->fifo_count++] = byte;
	else
		serial->overrun = 1;
}

static uint8_t read_data(struct serial *serial)
{
	if (serial->fifo_count == 0)
		return 0;
	uint8_t byte = serial->fifo[0];
	memmove(serial->fifo, serial->fifo + 1, --serial->fifo_count);
	if (serial->fifo_count == 0 && serial->drained)
		serial->drained(serial->data);
	return byte;
}

static uint8_t read_id(struct serial *serial)
{
	uint8_t id = interrupt_id(serial);
	if (id == ID_TRANSMITTED)
		serial->interrupt_pending &= (uint8_t)~CAUSE_TRANSMITTED;
	return id | ((serial->fifo_control & 1) ? ID_FIFO : 0);
}

static uint8_t read_line_status(struct serial *serial)
{
	uint8_t status = STATUS_EMPTY;
	if (serial->fifo_count)
		status |= STATUS_DATA;
	if (serial->overrun)
		status |= STATUS_OVERRUN;
	serial->overrun = 0;
	return status;
}

static uint8_t read_modem_status(const struct serial *serial)
{
	uint8_t control = serial->modem_control;
	if (!(control & MODEM_LOOP))
		return 0xb0; /* carrier, data set ready, clear to send */
	/* In loopback the outputs come back as inputs. */
	return (uint8_t)((control & 2) << 3 | (control & 1) << 5 | (control & 4) << 4 |
		(control & 8) << 4);
}

static uint64_t serial_read(void *data, uint64_t offset, uint32_t bytes)
{
	struct serial *serial = data;
	uint8_t value = 0;
	if (bytes != 1)
		return UINT64_MAX;
	switch (offset) {
	case DATA:
		value = serial->line_control & DIVISOR_LATCH ? (uint8_t)serial->divisor
							     : read_data(serial);
		break;
	case INTERRUPT_ENABLE:
		value = serial->line_control & DIVISOR_LATCH ? (uint8_t)(serial->divisor >> 8)
							     : serial->interrupt_enable;
		break;
	case INTERRUPT_ID:
		value = read_id(serial);
		break;
	case LINE_CONTROL:
		value = serial->line_control;
		break;
	case MODEM_CONTROL:
		value = serial->modem_control;
		break;
	case LINE_STATUS:
		value = read_line_status(serial);
		break;
	case MODEM_STATUS:
		value = read_modem_status(serial);
		break;
	default:
		value = serial->scratch;
	}
	update(serial);
	return value;
}

static void write_data(struct serial *serial, uint8_t byte)
{
	if (serial->line_control & DIVISOR_LATCH) {
		serial->divisor = (uint16_t)((serial->divisor & 0xff00) | byte);
		return;
	}
	serial->interrupt_pending |= CAUSE_TRANSMITTED;
	if (serial->modem_control & MODEM_LOOP)
		receive(serial, byte);
	else
		serial->output(serial->data, &byte, 1);
}

static void write_enable(struct serial *serial, uint8_t value)
{
	if (serial->line_control & DIVISOR_LATCH) {
		serial->divisor = (uint16_t)((serial->divisor & 0xff) | value << 8);
		return;
	}
	if ((value & ENABLE_TRANSMITTED) && !(serial->interrupt_enable & ENABLE_TRANSMITTED))
		serial->interrupt_pending |= CAUSE_TRANSMITTED;
	serial->interrupt_enable = value & 0x0f;
}

static void serial_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct serial *serial = data;
	if (bytes != 1)
		return;
	switch (offset) {
	case DATA:
		write_data(serial, (uint8_t)value);
		break;
	case INTERRUPT_ENABLE:
		write_enable(serial, (uint8_t)value);
		break;
	case INTERRUPT_ID:
		serial->fifo_control = value & 0xc9;
		if (value & 2)
			serial->fifo_count = 0;
		break;
	case LINE_CONTROL:
		serial->line_control = (uint8_t)value;
		break;
	case MODEM_CONTROL:
		serial->modem_control = value & 0x1f;
		break;
	case SCRATCH:
		serial->scratch = (uint8_t)value;
		break;
	default:
		break;
	}
	update(serial);
}

static const struct region_calls serial_calls = { serial_read, serial_write };

int serial_init(struct serial *serial, struct bus *bus, const struct wires *wires, uint16_t port,
	uint32_t line, struct error *e)
{
	*serial = (struct serial){
		.bus = bus,
		.wires = wires,
		.line = line,
		.ports = { &serial_calls, serial, port, 8 },
		.divisor = 1,
	};
	int r = bus_add(bus, BUS_PORTS, &serial->ports);
	return r < 0 ? error_code(e, r, "serial port at 0x%x", port) : 0;
}

void serial_done(struct serial *serial)
{
	if (serial->bus)
		bus_remove(serial->bus, BUS_PORTS, &serial->ports);
}

void serial_reset(struct serial *serial)
{
	serial->divisor = 1;
	serial->interrupt_enable = serial->line_control = serial->modem_control = 0;
	serial->fifo_control = serial->interrupt_pending = serial->overrun = 0;
	serial->fifo_count = 0;
	update(serial);
}

size_t serial_input(struct serial *serial, const uint8_t *bytes, size_t count)
{
	size_t done = 0;
	while (done < count && serial->fifo_count < SERIAL_FIFO)
		receive(serial, bytes[done++]);
	update(serial);
	return done;
}

struct serial_saved {
	uint16_t divisor;
	uint8_t interrupt_enable, line_control, modem_control, scratch, fifo_control,
		interrupt_pending, overrun, fifo_count, reserved[6];
	uint8_t fifo[SERIAL_FIFO];
};
static_assert(sizeof(struct serial_saved) == 32, "layout");

void serial_save(const struct serial *serial, struct state *state)
{
	struct serial_saved saved = {
		.divisor = serial->divisor,
		.interrupt_enable = serial->interrupt_enable,
		.line_control = serial->line_control,
		.modem_control = serial->modem_control,
		.scratch = serial->scratch,
		.fifo_control = serial->fifo_control,
		.interrupt_pending = serial->interrupt_pending,
		.overrun = serial->overrun,
		.fifo_count = serial->fifo_count,
	};
	memcpy(saved.fifo, serial->fifo, sizeof(saved.fifo));
	state_put(state, "serial", 1, &saved, sizeof(saved));
}

int serial_load(struct serial *serial, const struct state *state, struct error *e)
{
	struct serial_saved saved;
	int r = state_get(state, "serial", 1, &saved, sizeof(saved), e);
	if (r < 0)
		return r;
	if (saved.fifo_count > SERIAL_FIFO)
		return error_set(e, -EINVAL, "saved state: serial has %u bytes in its fifo",
			saved.fifo_count);
	serial->divisor = saved.divisor;
	serial->interrupt_enable = saved.interrupt_enable;
	serial->line_control = saved.line_control;
	serial->modem_control = saved.modem_control;
	serial->scratch = saved.scratch;
	serial->fifo_control = saved.fifo_control;
	serial->interrupt_pending = saved.interrupt_pending;
	serial->overrun = saved.overrun;
	serial->fifo_count = saved.fifo_count;
	memcpy(serial->fifo, saved.fifo, sizeof(saved.fifo));
	update(serial);
	return 0;
}
