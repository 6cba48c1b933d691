/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redfish.h - the driver for BMCs that speak Redfish, DMTF's HTTP interface.
 */
#pragma once

#include "metal/bmc.h"

extern const struct bmc_driver redfish_driver;
