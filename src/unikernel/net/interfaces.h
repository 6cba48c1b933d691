/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interfaces.h - what programs can find out about interfaces and name servers.
 */
#pragma once

#include "unikernel/net/net.h"

/*
 * What /etc/resolv.conf says: the servers that are not zero, IPv4 as mapped addresses. Who opens it waits for the
 * card's address with `wait`, because a lease may name servers. 0 or -ENOMEM.
 */
int interfaces_make_resolver(void (*wait)(void));
void interfaces_set_servers(const uint8_t servers[][16], uint32_t count);
