/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nics.h - network cards: brought into a container by its parent, set up inside by itself.
 */
#pragma once

#include "container/container.h"

/* Makes each in the network namespace of `pid`, or moves it there from ours, under its new name. */
int nics_move(const struct container *container, pid_t pid, struct error *e) must_use;

/* In the container's namespace: `lo` up, and each card's address, mtu, addresses and routes. */
int nics_configure(const struct container *container, struct error *e) must_use;
