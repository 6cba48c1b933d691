/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi.h - the driver for BMCs that speak IPMI 2.0 over the network, by OpenIPMI.
 *
 * Only numbers are taken as addresses. The session is opened with the first question and kept.
 */
#pragma once

#include "metal/bmc.h"

extern const struct bmc_driver ipmi_driver;
