/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopt.h - after a start of the daemon: takes over what runs, clears away what died, starts what shall
 * start by itself.
 */
#pragma once

#include "daemon/service.h"

/* After instances, storage and networks have started. Nothing here fails the daemon. */
void adopt_all(struct service *service);

/* Lets go of all runners, which go on. */
void adopt_leave(struct service *service);
