/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.h - a client at a console: an operation with two websockets, and a stream from whoever has the console.
 */
#pragma once

#include "daemon/operation.h"

struct terminal;

/* Who has the console; `data` is in the options. */
struct terminal_source {
	/*
	 * Gives `fd` (borrowed) to it. terminal_attached() comes later, once, unless it was forgotten. A failure ends
	 * the operation.
	 */
	int (*attach)(void *data, struct terminal *terminal, int fd, struct error *e);
	/* The client's window has that size now; NULL if it has none. Failing ends the operation. */
	int (*resize)(void *data, uint16_t columns, uint16_t rows);
	/* `terminal` waits for nothing any more, and `data` is not used again. */
	void (*forget)(void *data, struct terminal *terminal);
};

struct terminal_options {
	const struct terminal_source *source;
	void *data;
	const char *project;
	json_t *resources; /* stolen; NULL */
};

/* The operation, whose sockets are 0 and control. */
struct operation *terminal_start(struct service *service, const struct terminal_options *options);
void terminal_attached(struct terminal *terminal, int code, const struct error *e);
