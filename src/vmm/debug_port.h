/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debug_port.h - port 0x402, where SeaBIOS and OVMF say what they do: into a file, if one was named.
 */
#pragma once

#include "vmm/bus.h"

struct debug_port {
	struct bus *bus;
	struct region port;
	int fd; /* the caller's */
	uint32_t count;
	char line[256];
};

int debug_port_init(struct debug_port *debug, struct bus *bus, int fd, struct error *e) must_use;
void debug_port_done(struct debug_port *debug);
