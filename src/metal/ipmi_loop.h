/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipmi_loop.h - OpenIPMI's wishes (descriptors, timers, random bytes) carried out by our event loop.
 */
#pragma once

#include <OpenIPMI/os_handler.h>

#include "base/loop.h"

/* One a process, for its life: OpenIPMI keeps it. */
os_handler_t *ipmi_loop_new(struct loop *loop) must_use;
