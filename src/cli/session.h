/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - standard input and output joined to the websockets of an operation: exec and console.
 */
#pragma once

#include <jansson.h>

#include "cli/context.h"

struct session_options {
	bool has_terminal;    /* one stream for all, our terminal in raw mode */
	bool can_detach;      /* ctrl-a q ends it */
	bool is_input_closed; /* standard input is not read */
};

/*
 * Joins them until the other side ends. `operation` is the one that was started, whose
 * metadata/metadata/fds names the secrets. Returns 0 (ended) or 1 (detached), or a negative errno.
 */
int session_run(struct context *context, const char *path, const json_t *fds,
	const struct session_options *options, struct error *e) must_use;

/* The size of our terminal; false if we have none. */
bool session_size(unsigned *ret_width, unsigned *ret_height);
