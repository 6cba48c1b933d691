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

/* The name of the card with that address ("52:54:..."). -ENODEV. */
#define NETWORK_NAME_SIZE 16
int network_card(const char *mac, char name[NETWORK_NAME_SIZE]) must_use;
