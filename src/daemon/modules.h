/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules.h - starts and stops the modules of berthd in their order.
 */
#pragma once

#include "daemon/service.h"

/* What was started is stopped again if one fails. */
int modules_start(struct service *service, struct error *e) must_use;
void modules_stop(struct service *service);
