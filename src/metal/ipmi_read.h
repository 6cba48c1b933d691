/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_read.h - the IPMI driver's sensors and event log.
 */
#pragma once

#include "metal/bmc.h"

void ipmi_sensors(struct bmc *bmc, bmc_json_done *done, void *data);
void ipmi_events(struct bmc *bmc, bmc_json_done *done, void *data);
