/* SPDX-License-Identifier: Apache-2.0 */
/*
 * integer.h - moves, addition and logic: what most programs mostly do.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind integer_bind;
