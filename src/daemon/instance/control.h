/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - what a client says on the control socket of a command or of a console.
 *
 *	{"command": "window-resize", "args": {"width": "120", "height": "50"}}
 *	{"command": "signal", "signal": 15}
 */
#pragma once

#include "base/base.h"

#define CONTROL_BYTES     4096
#define CONTROL_CELLS_MAX 10000

struct control_word {
	int signal; /* 0: it is a new size */
	uint16_t columns, rows;
};

/* False for what says neither. */
bool control_read(const char *bytes, size_t length, struct control_word *ret) must_use;
