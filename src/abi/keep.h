/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.h - two ports by which berth-vmm asks a guest to stand still for its state, and tells it where it goes on.
 *
 * The guest is asked by an NMI. At a moment that it can go on from it writes 0 to the first port, else the errno why there is
 * none, and reads the second one until that says where it is.
 */
#pragma once

#define KEEP_PORTS 2

/* The first, read: it is asked. */
#define KEEP_WANTED 1

/* The second. */
#define KEEP_STANDS    0 /* its state is being written, or will be */
#define KEEP_HERE      1
#define KEEP_ELSEWHERE 2 /* from the state: what it was told at its start is told anew */
