/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arithmetic.h - shifts, multiplication, division, bits, decimal digits, compare-and-exchange.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind arithmetic_bind;
