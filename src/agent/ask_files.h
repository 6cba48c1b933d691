/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask_files.h - the host's side of an agent for files: the requests of abi/files.h, a connection to an agent for each.
 */
#pragma once

#include <stdint.h>

#include "base/base.h"
#include "base/error.h"

struct ask_files {
	const char *kind; /* "machine": for sentences */
	/* A connection for a request of this enum files_type; or why there is none. */
	int (*connect)(void *data, uint32_t type, int *ret, struct error *e);
	void (*closed)(void *data); /* after it, before the answer; or NULL */
	void *data;
};

/* Says FILES_READY and serves until the channel ends; an exit status. */
int ask_files_serve(int channel, const struct ask_files *asks);

/* Instead: no request will be served. */
void ask_files_refuse(int channel, int code, const struct error *e);
