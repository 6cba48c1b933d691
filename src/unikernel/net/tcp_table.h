/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_table.h - where a connection is found among thousands by the frame that it got.
 */
#pragma once

#include "unikernel/net/tcp_socket.h"

/* While it has a pcb that is connected. */
void tcp_table_add(struct tcp_socket *self);
void tcp_table_remove(struct tcp_socket *self);
