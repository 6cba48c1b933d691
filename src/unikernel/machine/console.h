/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - the first serial line, which is the program's console, and how the machine ends.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void console_init(void);
int64_t console_write(const void *data, size_t size);
int64_t console_read(void *data, size_t size); /* as platform_console_read() */
bool console_has_input(void);
void console_exit(int status) __attribute__((__noreturn__));

/* A byte v written to this port ends the machine with the status v, as far as its monitor knows one; 0: there is none. */
void console_set_exit_port(uint16_t port);

/* Where the machine has no fixed registers: `value`, written there, turns it off. */
void console_set_off(volatile uint8_t *at, uint8_t value);
