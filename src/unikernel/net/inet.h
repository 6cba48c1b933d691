/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inet.h - addresses of IPv4 and IPv6 as a program writes them and as lwIP does.
 */
#pragma once

#include <lwip/err.h>
#include <lwip/ip_addr.h>

#include "unikernel/net/socket.h"

/* 0, -EINVAL if it is too short, -EAFNOSUPPORT. A mapped address becomes one of IPv4. */
int inet_from(int domain, const struct address *address, ip_addr_t *ret, uint16_t *ret_port);
void inet_to(int domain, const ip_addr_t *address, uint16_t port, struct address *ret);

/* What an error of lwIP is on Linux. */
int inet_error(err_t error);

/* Whether the address is this instance itself: no need to wait for the card's address. */
bool inet_is_local(const ip_addr_t *address);
