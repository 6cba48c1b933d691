/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tcp_large.h - segments inside that are many on the wire.
 */
#pragma once

#include <lwip/tcp.h>

#include "unikernel/kernel.h"

/* 44 whole segments of Ethernet, which with all headers still have a length of 16 bits. */
#define TCP_LARGE_MOST 64240u

/* Of a connection that has not sent anything: RFC 6928, as Linux; a page of some KiB goes out at once, not in three rounds. */
void tcp_large_begin(struct tcp_pcb *pcb);

/* tcp_write(), in segments as large as window and card allow. */
err_t tcp_large_write(struct tcp_pcb *pcb, const void *from, uint16_t count, uint8_t flags);
