/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.h - bodies of requests that are files of ours.
 */
#pragma once

#include "cli/context.h"

/* A file as the source of a request; `fd` must stay open. Its size is known if it is a regular file. */
struct transfer {
	int fd;
	uint64_t done, total; /* bytes; total 0: unknown */
	struct context *context;
	const char *what; /* progress is shown with it, NULL: none */
};
struct client_source transfer_source(struct transfer *transfer);

/* A client_write to the descriptor that `data` points to. */
int transfer_sink(void *data, const void *bytes, size_t length);
