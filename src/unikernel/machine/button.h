/* SPDX-License-Identifier: Apache-2.0 */
/*
 * button.h - the machine's power button, which tells the program to end.
 */
#pragma once

#include "unikernel/machine/acpi.h"

/* From here on a press is `signal`. */
void button_start(const struct acpi_button *button, uint8_t signal);

/* Of trap.S: what an NMI says to the program, where there is no tender; and that one came. */
extern uint64_t machine_button_signals;
extern uint32_t machine_button_port; /* which says whether it was the button */
extern volatile uint32_t machine_button_pressed;

/* Lets go of the button, once what it said is noted. */
void button_release(void);
