/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_acks.h - when what has come is acknowledged.
 */
#pragma once

#include "unikernel/net/tcp_socket.h"

/* `bytes` have come; lwIP has noted that they want an acknowledgement. */
void tcp_acks_received(struct tcp_socket *self, struct tcp_pcb *pcb, uint32_t bytes);
/* The program sends: the acknowledgement goes along. */
void tcp_acks_answered(struct tcp_socket *self);
/* Nobody has answered what came before this moment: it is acknowledged now. */
void tcp_acks_flush(void);
void tcp_acks_forget(struct tcp_socket *self);
