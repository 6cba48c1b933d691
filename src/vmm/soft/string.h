/* SPDX-License-Identifier: Apache-2.0 */
/*
 * string.h - MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind string_bind;
