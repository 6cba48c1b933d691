/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fleet.h - all instances together, as the daemon's other modules see them: who uses what, the ratios of
 * promises, metrics; what happens to them when the daemon starts and ends.
 */
#pragma once

#include "daemon/service.h"

/* After instances, storage, images and networks. */
int fleet_start(struct service *service, struct error *e) must_use;
void fleet_stop(struct service *service);
