/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.h - the machine's consoles on two descriptors: what the guest writes to the serial port or the
 * virtio console goes out from the I/O thread; what comes in goes to the one that the guest wrote to last
 * (a guest may drive both, and ask for a name on one), and waits until there is room.
 */
#pragma once

#include "base/loop.h"
#include "vmm/serial.h"
#include "vmm/virtio/console.h"

#define TERMINAL_BUFFER 65536
#define TERMINAL_INPUT  4096

struct terminal {
	struct serial *serial;
	struct virtio_device *console;
	struct bus *bus;
	struct loop *loop;
	int in, out; /* -1: none; borrowed */
	struct source *input, *wake;
	void (*put)(void *data, const void *bytes, size_t count); /* in place of `out` */
	void *data;
	uint8_t pending[TERMINAL_INPUT]; /* input that has no room yet */
	size_t pending_count;
	uint8_t *buffer; /* output, under the bus lock */
	size_t count;
	bool is_virtio;   /* who wrote last, under the bus lock */
	void *saved_mode; /* of a real terminal */
};

int terminal_init(struct terminal *terminal, struct loop *loop, struct serial *serial,
	struct virtio_device *console, int in, int out, struct error *e) must_use;
/* Output goes to `put` from now on, on the I/O thread. */
void terminal_set_output(struct terminal *terminal,
	void (*put)(void *data, const void *bytes, size_t count), void *data);
/* Input for the guest; what it has no room for within TERMINAL_INPUT bytes is lost. */
void terminal_input(struct terminal *terminal, const uint8_t *bytes, size_t count);
/* Writes what is left and gives the real terminal its mode back. */
void terminal_done(struct terminal *terminal);
