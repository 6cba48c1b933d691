/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch_openvswitch.h - ports of an Open vSwitch on this host.
 */
#pragma once

#include "daemon/server/switch.h"

extern const struct switch_driver switch_openvswitch;
