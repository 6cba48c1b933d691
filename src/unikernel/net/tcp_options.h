/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_options.h - the options of a stream socket over TCP: those of SOL_SOCKET that concern it, and IPPROTO_TCP's.
 */
#pragma once

#include "unikernel/net/socket.h"

/* As they are before the program sets any. */
struct tcp_socket;
void tcp_first_options(struct tcp_socket *self);

int64_t tcp_get_option(struct socket *socket, int level, int name, int *ret);
int64_t tcp_set_option(
	struct socket *socket, int level, int name, const void *value, uint32_t bytes);
