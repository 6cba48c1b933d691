/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - the first serial line, which is the program's console, and how the machine ends.
 */
#include "unikernel/machine/console.h"

#include "unikernel/kernel.h"
#include "unikernel/machine/port.h"
#include "unikernel/machine/trap.h"
#include "unikernel/machine/wait.h"

#define SERIAL        0x3f8
#define SERIAL_ENABLE (SERIAL + 1)
#define SERIAL_FIFO   (SERIAL + 2)
#define SERIAL_LINE   (SERIAL + 3)
#define SERIAL_MODEM  (SERIAL + 4)
#define SERIAL_STATUS (SERIAL + 5)
#define SERIAL_IRQ    4
#define HAS_INPUT     0x01
#define CAN_SEND      0x20
#define FIFO_BYTES    16
#define TRIES         1000000u

#define POWER_CONTROL  0x604 /* of the PCs that monitors show */
#define POWER_OFF      0x2000
#define KEYBOARD       0x64
#define KEYBOARD_RESET 0xfe

static uint16_t exit_port;
static volatile uint8_t *off_at;
static uint8_t off_value;

void console_set_exit_port(uint16_t port)
{
	exit_port = port;
}

void console_set_off(volatile uint8_t *at, uint8_t value)
{
	off_at = at;
	off_value = value;
}

void console_init(void)
{
	port_write8(SERIAL_ENABLE, 1); /* input interrupts */
	port_write8(SERIAL_FIFO, 0x07);
	port_write8(SERIAL_LINE, 0x03);
	port_write8(SERIAL_MODEM, 0x0b);
	wait_add_line(SERIAL_IRQ);
}

int64_t console_write(const void *data, size_t size)
{
	const uint8_t *bytes = data;
	for (size_t i = 0; i < size; i++) {
		for (uint32_t tries = 0; i % FIFO_BYTES == 0 && tries < TRIES; tries++)
			if (port_read8(SERIAL_STATUS) & CAN_SEND)
				break;
		port_write8(SERIAL, bytes[i]);
	}
	return (int64_t)size;
}

bool console_has_input(void)
{
	return (port_read8(SERIAL_STATUS) & HAS_INPUT) != 0;
}

int64_t console_read(void *data, size_t size)
{
	uint8_t *bytes = data;
	size_t count = 0;
	while (count < size && console_has_input())
		bytes[count++] = port_read8(SERIAL);
	return count || size == 0 ? (int64_t)count : -EAGAIN;
}

void console_exit(int status)
{
	if (exit_port)
		port_write8(exit_port, (uint8_t)status);
	if (off_at)
		*off_at = off_value;
	port_write16(POWER_CONTROL, POWER_OFF);
	port_write8(KEYBOARD, KEYBOARD_RESET);
	for (;;)
		wait_until(UINT64_MAX);
}
