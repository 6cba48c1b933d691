/* SPDX-License-Identifier: Apache-2.0 */
/*
 * button.c - the machine's power button, which tells the program to end.
 *
 * Theory of operation. Its line is an NMI, which also reaches a program that computes. trap.S notes the signal at once, and
 * sends itself what ends a sleep: whoever was about to sleep does not. The line stays raised until somebody in ring 3 has
 * the time to let go of it.
 */
#include "unikernel/machine/button.h"

#include "unikernel/kernel.h"
#include "unikernel/machine/port.h"
#include "unikernel/machine/wait.h"

#define IS_PRESSED  0x100u
#define IS_LISTENED 1u /* of the control register */

static uint16_t event;

void button_start(const struct acpi_button *button, uint8_t signal)
{
	if (event)
		return;
	if (button->command && button->control && !(port_read16(button->control) & IS_LISTENED))
		port_write8(button->command, button->enable);
	if (!wait_add_outside(button->line))
		return;
	event = button->event;
	machine_button_port = event;
	machine_button_signals = UINT64_C(1) << (signal - 1);
	/* Pressed while we booted, it raises its line now. */
	port_write16((uint16_t)(event + button->event_bytes / 2), IS_PRESSED);
}

void button_release(void)
{
	if (!machine_button_pressed)
		return;
	machine_button_pressed = 0;
	port_write16(event, IS_PRESSED);
}
