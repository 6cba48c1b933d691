/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bits.h - BMI, ADX, POPCNT and the like, CRC32, random numbers.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind bits_bind;
