/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - the network as the rest of the library OS sees it: one card, loopback, and who asks for names.
 *
 * TCP/IP is lwIP, without threads: net_poll() is all that makes it move. Only the files in this folder know lwIP.
 */
#pragma once

#include "unikernel/kernel.h"

/* The card that `boot` tells of, if any, and loopback. 0 or -ENOMEM. */
int net_init(const struct boot *boot);

/* The same card for what began without one. */
int net_plug(const struct boot *boot);

/* What the unikernel calls itself; never empty. */
const char *net_host_name(void);

/* Takes what the card has and lets time pass for TCP. */
void net_poll(void);

/* Waits, some seconds at most, until the card has the address that it asks for; at once if it has one. */
void net_wait_address(void);

/* Before the end: what was written and not yet sent gets a moment. All sockets are closed. */
void net_drain(void);

/* The text of /proc/net/NAME: dev, route, if_inet6, or what is not kept (empty). */
int64_t net_proc(const char *name, char *to, uint64_t size);

/* SIOCGIF*: what a program asks of interfaces through any socket. -ENOTTY: not such a request. */
int64_t net_ioctl(uint64_t request, uint64_t argument);
