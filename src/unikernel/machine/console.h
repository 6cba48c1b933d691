/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - the first serial line, which is the program's console, and how the machine ends.
 */
#pragma once

#include <stdint.h>

void console_init(void);

/* A byte v written to this port ends the machine with the status v, as far as its monitor knows one; 0: there is none. */
void console_set_exit_port(uint16_t port);
