/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.h - an instance's console: the last output in a ring, all of it in a log, one who is attached.
 *
 * The other side is a terminal, a pipe or a socket: `read_fd` and `write_fd`. An attached stream that
 * does not keep up is detached, so that nobody can stop the instance by not reading.
 */
#pragma once

#include "base/base.h"
#include "base/loop.h"

struct console;

struct console_options {
	struct loop *loop;
	int terminal; /* the instance's output and input; owned by the console from now on; -1: none */
	int log;      /* a file to which output is added, or -1; owned */
	uint64_t log_bytes; /* the file starts again when it has as much; 0: RUNNER_CONSOLE_MAX */
	void (*detached)(void *data); /* the attached stream has gone */
	void *data;
};

int console_new(
	const struct console_options *options, struct console **ret, struct error *e) must_use;
void console_free(struct console *console);
DEFINE_CLEANUP(struct console *, console_free);

/* Takes over the stream `fd`; -EBUSY if there is one and `steal` is false. It is replayed the ring first. */
int console_attach(struct console *console, int fd, bool steal, bool replay) must_use;

/* Output that does not come from the terminal: a device of the monitor. */
void console_put(struct console *console, const void *data, size_t length);

/* Called with what the attached stream sends, if there is no terminal. */
void console_set_input(struct console *console,
	void (*input)(void *data, const uint8_t *bytes, size_t length), void *data);

/* The last output, oldest first, at most `size` bytes; returns how many. */
size_t console_last(const struct console *console, void *bytes, size_t size);
uint64_t console_total(const struct console *console);
void console_clear(struct console *console);

/* Of the terminal; -errno. */
int console_resize(struct console *console, uint16_t columns, uint16_t rows) must_use;

/* Takes what the terminal still has; the instance has ended. */
void console_drain(struct console *console);

/* console_drain(), and what is left goes to who is attached, who has a few seconds to take it. */
void console_finish(struct console *console);
