/* SPDX-License-Identifier: Apache-2.0 */
/*
 * masked.h - vector moves that touch only some of their elements: masked moves and gathers.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind masked_bind;
