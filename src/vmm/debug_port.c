/* SPDX-License-Identifier: Apache-2.0 */
/*
 * debug_port.c - whole lines, written as they end. Without a log the port is not there, and firmware that
 * looks for it first saves itself the trouble.
 */
#include "vmm/debug_port.h"

#include <unistd.h>

#define PORT     0x402u
#define PRESENCE 0xe9 /* what it reads as */

static void flush(struct debug_port *debug)
{
	/* A full disk loses what the firmware says, not the guest. */
	if (write(debug->fd, debug->line, debug->count) < 0)
		debug->count = 0;
	debug->count = 0;
}

static uint64_t debug_read(void *data, uint64_t offset, uint32_t bytes)
{
	(void)data;
	(void)offset;
	(void)bytes;
	return PRESENCE;
}

static void debug_write(void *data, uint64_t offset, uint32_t bytes, uint64_t value)
{
	struct debug_port *debug = data;
	(void)offset;
	(void)bytes;
	debug->line[debug->count++] = (char)value;
	if ((char)value == '\n' || debug->count == sizeof(debug->line))
		flush(debug);
}

static const struct region_calls debug_calls = { debug_read, debug_write };

int debug_port_init(struct debug_port *debug, struct bus *bus, int fd, struct error *e)
{
	*debug = (struct debug_port){ .fd = fd, .port = { &debug_calls, debug, PORT, 1 } };
	int r = bus_add(bus, BUS_PORTS, &debug->port);
	if (r < 0)
		return error_code(e, r, "debug port 0x%x", PORT);
	debug->bus = bus;
	return 0;
}

void debug_port_done(struct debug_port *debug)
{
	if (!debug->bus)
		return;
	bus_remove(debug->bus, BUS_PORTS, &debug->port);
	flush(debug);
}
