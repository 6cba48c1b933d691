/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port_try.h - whether a program could serve a port of an address: it is bound, and let go at once.
 */
#pragma once

#include "model/address.h"

/*
 * `type`: SOCK_STREAM or SOCK_DGRAM; `is_foreign`: the address may be none of this host's yet. 0, or the negative errno that
 * the program would see.
 */
int port_try(const struct address *address, uint16_t port, int type, bool is_foreign) must_use;
