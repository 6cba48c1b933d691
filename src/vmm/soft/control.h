/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - jumps, calls, returns within a segment; loops.
 */
#pragma once

#include "vmm/soft/bind.h"

op_bind control_bind;

/* A run() that goes on at the instruction behind it: the end of a block. */
op_run control_next;
