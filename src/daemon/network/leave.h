/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leave.h - what is left of cards that were detached: interfaces on their way out.
 *
 * An interface goes with its instance's network namespace, which the kernel takes apart in the background.
 * Until then it is a port of the bridge and stays filtered. One that is still there after some seconds,
 * because somebody holds the namespace, is deleted.
 */
#pragma once

#include "daemon/network/table.h"

void leaving_start(struct networks *networks);
/* Deletes what is still there. */
void leaving_stop(struct networks *networks);

/* Filters and limits of the card go with its interface, in about a second. */
void leaving_add(struct networks *networks, const struct card *card);
