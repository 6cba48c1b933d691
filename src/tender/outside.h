/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outside.h - the signals that come to a unikernel's process from outside, and the tick of what it computes.
 */
#pragma once

#include "base/base.h"
#include "base/error.h"

/*
 * `catch` sets the handler of each: those that are a program's, BOOT_TICK, and SUSPEND_SIGNAL if it can be kept; 0, or -1 and
 * errno. What the library OS answers otherwise is ignored.
 */
int outside_catch(int (*catch)(int number), bool can_suspend, struct error *e) must_use;
