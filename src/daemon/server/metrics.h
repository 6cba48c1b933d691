/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - servers in /1.0/metrics: power, draw, sensors, state.
 */
#pragma once

#include "daemon/service.h"

void server_metrics_start(struct service *service);
