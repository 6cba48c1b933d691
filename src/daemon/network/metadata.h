/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metadata.h - the metadata service of each network: instances ask 169.254.169.254 who they are.
 *
 * A process berth-metadata a network reads what they send; it is told here, when it asks, of the instance that has
 * an address. It is there from the first card with an IPv4 address on.
 */
#pragma once

struct network;
struct networks;

/* Unless it is there. That it can't be is a warning: instances run without it. */
void metadata_start(struct networks *networks, struct network *network);
void metadata_stop(struct networks *networks, struct network *network);
/* At the daemon's end: the process ends by itself, the next daemon starts another. */
void metadata_leave(struct network *network);
