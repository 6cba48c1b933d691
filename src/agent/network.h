/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.h - host name, addresses, gateways and name servers, as CONFIGURE says (abi/agent.h).
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/* Carries out the lines; stops at the first that fails and says which. `text` is changed. */
int network_configure(char *text, struct error *e) must_use;

/* Brings the loopback card up. */
void network_loopback(void);
