/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.h - listens for the host and serves each connection in a process of its own.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* Listens at AGENT_PORT of vsock; the descriptor or -errno. */
int serve_listen(struct error *e) must_use;

/* Serves for ever. */
void serve_run(int listener) __attribute__((__noreturn__));

/* One connection, to its end. */
void serve_connection(int fd);
