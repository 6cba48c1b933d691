/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbours.h - who is at the other end of the server's cables, told to the daemon as soon as they say so.
 */
#pragma once

#include "agent/call.h"

/*
 * Brings all cards up and listens beside whatever else is done, in a process of its own: switches say who they are
 * every 30 s, and nothing waits for that. POST /neighbour: lines of "nic NAME", "speed MBIT", "chassis WORD", "port
 * WORD", "system WORD", "vlan NUMBER".
 */
void neighbours_watch(const struct call_server *server);
void neighbours_unwatch(void);
